// The gRPC client: an absent socket, a silent peer, and a real runtime where KE_CRI_SOCKET names one.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>

#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>

#include "cri.pb.h"
#include "net/grpc.h"

using namespace kubeedge;

namespace {
Result<std::string> ask(const std::string& socket, std::string path, std::string message, Milliseconds deadline) {
  asio::io_context io;
  Runtime runtime(io.get_executor());
  net::GrpcChannel channel(runtime, socket);
  Result<std::string> got = Error{Errc::kInternal, "no callback"};
  channel.call(std::move(path), std::move(message), deadline, [&](Result<std::string> r) {
    got = std::move(r);
    io.stop();
  });
  io.run_for(std::chrono::seconds(10));
  return got;
}
}  // namespace

TEST_CASE("grpc: an absent socket is kUnavailable and names the path") {
  auto got = ask("/tmp/ke-no-such.sock", "/runtime.v1.RuntimeService/Version", "", Milliseconds(2000));
  REQUIRE(!got.ok());
  CHECK(got.error().code == Errc::kUnavailable);
  CHECK(got.error().message.find("/tmp/ke-no-such.sock") != std::string::npos);
}

TEST_CASE("grpc: a peer that never answers is kTimeout") {
  const std::string path = "/tmp/ke-grpc-" + std::to_string(::getpid()) + ".sock";
  std::filesystem::remove(path);
  asio::io_context peer;
  asio::local::stream_protocol::acceptor silent(peer, asio::local::stream_protocol::endpoint(path));
  auto got = ask(path, "/runtime.v1.RuntimeService/Version", "", Milliseconds(100));
  REQUIRE(!got.ok());
  CHECK(got.error().code == Errc::kTimeout);
  std::filesystem::remove(path);
}

TEST_CASE("grpc: a real container runtime answers Version, and says NotFound for an unknown container") {
  const char* socket = std::getenv("KE_CRI_SOCKET");
  if (socket == nullptr) {
    MESSAGE("not run: KE_CRI_SOCKET is not set");
    return;
  }
  auto got = ask(socket, "/runtime.v1.RuntimeService/Version", ::runtime::v1::VersionRequest().SerializeAsString(), Milliseconds(5000));
  REQUIRE_MESSAGE(got.ok(), (got.ok() ? "" : got.error().message));
  ::runtime::v1::VersionResponse version;
  REQUIRE(version.ParseFromString(*got));
  CHECK(version.runtime_name() == "containerd");
  CHECK(version.runtime_api_version() == "v1");
  ::runtime::v1::ContainerStatusRequest unknown;
  unknown.set_container_id("no-such-container");
  auto missing = ask(socket, "/runtime.v1.RuntimeService/ContainerStatus", unknown.SerializeAsString(), Milliseconds(5000));
  REQUIRE(!missing.ok());
  CHECK(missing.error().code == Errc::kNotFound);
  CHECK(missing.error().message.find("no-such-container") != std::string::npos);
}
