// An HTTP exchange as content of a message between Router and ServiceBus (hub-protocol 7.2). Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <kubeedge/message.h>
#include <kubeedge/result.h>

namespace kubeedge::wire {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// Upstream's edge gives its own errors (no server answered) this header, and nothing else tells them from a server's answer.
inline constexpr const char* kEdgeServer = "kubeedge-edgecore";

// {"header":{k:[v]},"body":BASE64,"method":"POST","url":""}
struct HttpCall {
  HttpHeaders headers;
  std::string body, method;
  std::string url;          // upstream leaves it empty; ours names a server that "<port>:<path>" cannot (https, another host)
};

// {"header":{k:[v]},"status_code":200,"body":BASE64}
struct HttpAnswer {
  HttpHeaders headers;
  int status = 0;
  std::string body;
};

Bytes http_content(const HttpCall& call);
Bytes http_content(const HttpAnswer& answer);
// From a message that decode() has validated; its content may be a string that holds the same JSON.
Result<HttpCall> http_call(const Message& message);
Result<HttpAnswer> http_answer(const Message& message);

// Headers that belong to one connection (RFC 9110 7.6.1), and those that whoever sends the message on writes itself.
HttpHeaders end_to_end(const HttpHeaders& headers);

}  // namespace kubeedge::wire
