// What a call of the cloud means for this node: which server, and whether it may be called; what an app's request means. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <kubeedge/message.h>
#include <kubeedge/result.h>

#include "net/url.h"
#include "wire/http_content.h"

namespace kubeedge::edge {

inline constexpr std::size_t kMaxServiceBodyBytes = 5'000'000;   // upstream's, both ways

// Servers beside the loopback and the node's own addresses.
class AllowedTargets {
 public:
  // Addresses, networks ("10.88.0.0/16") and host names. Errors name the entry.
  static Result<AllowedTargets> parse(const std::vector<std::string>& entries);
  bool allows(const std::string& host, const std::vector<std::string>& own_addresses) const;

 private:
  struct Network {
    std::string address;   // 4 or 16 bytes
    unsigned bits = 0;
  };
  std::vector<Network> networks_;
  std::vector<std::string> names_;
};

// Where a message of source router_servicebus leads. "<port>:<path>" is http on 127.0.0.1, as upstream; a url in the content
// (our Router's) says more. kInvalidArgument: malformed; kPermissionDenied: not allowed, and what to do about it.
Result<net::Url> service_target(const Message& message, const wire::HttpCall& call, const AllowedTargets& allowed, const std::vector<std::string>& own_addresses);

// The status for a call that got no answer: 504 for time, 502 for a server that is away, 400 and 403 as above.
int status_of(const Error& error);
wire::HttpAnswer edge_error(int status, const std::string& text);

// What an app posts to the local server.
struct AppRequest {
  std::string target_url;
};
Result<AppRequest> app_request(const Bytes& body);
// What it gets, always with HTTP status 200: the code is inside.
Bytes app_answer(int code, std::string_view text, std::string_view body);

}  // namespace kubeedge::edge
