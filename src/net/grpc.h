// A unary gRPC client over HTTP/2 on a Unix socket (h2c, prior knowledge): what CRI needs.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/result.h>
#include <kubeedge/runtime.h>

namespace kubeedge::net {

// One connection for all calls, opened at the first one and again after it broke. Lives on the runtime's executor.
// Destroying it ends every pending call without an answer.
class GrpcChannel {
 public:
  static constexpr std::size_t kMaxMessage = 16 * 1024 * 1024;  // one answer; CRI's own limit
  static constexpr std::size_t kMaxCalls = 256;                 // at once; past it kLimitExceeded

  GrpcChannel(const Runtime& runtime, std::string socket_path);
  ~GrpcChannel();
  GrpcChannel(const GrpcChannel&) = delete;
  GrpcChannel& operator=(const GrpcChannel&) = delete;

  // `path` = "/package.Service/Method"; `message` is a serialised protobuf. `done` gets the answer's bytes,
  // kTimeout after `deadline`, kUnavailable when the socket is away, else the gRPC status with its grpc-message.
  void call(std::string path, std::string message, Milliseconds deadline, unique_function<void(Result<std::string>)> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::net
