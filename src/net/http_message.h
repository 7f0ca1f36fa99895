// One HTTP/1.1 message from bytes, either side; no socket. http-parser is seen by http_message.cpp only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "net/http.h"

namespace kubeedge::net {

// One message at a time; pauses after each so that pipelined bytes wait.
class HttpParser {
 public:
  enum class Kind { kRequest, kResponse };
  HttpParser(Kind kind, const HttpLimits& limits);
  ~HttpParser();
  HttpParser(const HttpParser&) = delete;
  HttpParser& operator=(const HttpParser&) = delete;

  // What the owner wants to know. All may be empty.
  std::function<void()> on_head;                      // request line / status and headers are complete
  std::function<void(std::string_view)> on_body;      // if set, body is not collected
  bool head_request = false;                          // client: the answer to a HEAD has no body

  enum class State { kMore, kDone, kTooLargeHeader, kTooLargeBody, kBad };

  // Consumes from `data`; what belongs to the next message (or the upgraded protocol) stays in rest().
  State feed(std::string_view data);
  // The peer's end: an answer without a length ends here.
  State finish();
  // Ready for the next message.
  void next();

  bool started() const;
  bool head_done() const;
  bool keep_alive() const;
  bool upgrade() const;
  int status() const;
  std::string method() const;
  std::string_view rest() const;
  const std::string& failure() const;

  std::string target;
  Headers headers;
  std::string body;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

const char* http_reason(int status);

}  // namespace kubeedge::net
