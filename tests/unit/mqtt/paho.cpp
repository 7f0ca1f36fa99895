#include "mqtt/paho_transport.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <utility>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <doctest/doctest.h>

#include "base/text.h"

using namespace kubeedge;
using namespace kubeedge::mqtt;

namespace {

// A mosquitto of this test's own; absent binary = the test says so and passes.
class Mosquitto {
 public:
  explicit Mosquitto(std::uint16_t port) : port_(port) {}
  ~Mosquitto() { kill(); }
  bool start() {
    config_ = "/tmp/ke-mosquitto-" + base::random_hex(4) + ".conf";
    std::ofstream(config_) << "listener " << port_ << " 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nlog_type none\n";
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execlp("mosquitto", "mosquitto", "-c", config_.c_str(), nullptr);
      ::_exit(127);
    }
    for (int i = 0; i < 100; ++i) {
      asio::io_context io;
      asio::ip::tcp::socket probe(io);
      asio::error_code error;
      (void)probe.connect({asio::ip::make_address("127.0.0.1"), port_}, error);
      if (!error) return true;
      if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = -1;
        return false;
      }
      ::usleep(20'000);
    }
    return false;
  }
  void kill() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
    ::unlink(config_.c_str());
  }

 private:
  std::uint16_t port_;
  pid_t pid_ = -1;
  std::string config_;
};

// The connections of this process to `port`: how many, and how many of them send small packets at once.
std::pair<int, int> connections(std::uint16_t port) {
  std::pair<int, int> out;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0 || peer.sin_family != AF_INET || ntohs(peer.sin_port) != port) continue;
    int on = 0;
    size = sizeof on;
    ++out.first;
    out.second += ::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size) == 0 && on != 0;
  }
  return out;
}

std::uint16_t free_port() {
  asio::io_context io;
  asio::ip::tcp::acceptor acceptor(io, {asio::ip::make_address("127.0.0.1"), 0});
  return acceptor.local_endpoint().port();
}

template <class Until>
bool run_until(asio::io_context& loop, Until until, int seconds = 15) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (!until() && std::chrono::steady_clock::now() < end) {
    loop.restart();
    loop.run_for(std::chrono::milliseconds(20));
  }
  return until();
}

}  // namespace

TEST_CASE("Paho: a missing broker blocks nothing; messages pass; a broker that comes back is found and subscribed again") {
  const std::uint16_t port = free_port();
  Mosquitto broker(port);
  asio::io_context loop;
  const Runtime runtime{loop.get_executor()};
  auto transport = paho_transport(runtime, MqttOptions::broker("127.0.0.1", port), "ke-test-" + base::random_hex(4));
  std::vector<std::string> got;
  std::vector<bool> states;
  transport->subscribe("a/#", 1);
  const auto before = std::chrono::steady_clock::now();
  transport->start({[&](const std::string& topic, const Bytes& payload, int, const std::function<void()>& acknowledge) {
                      got.push_back(topic + "=" + payload.str());
                      acknowledge();
                    },
                    [&](bool up, const std::string& why) {
                      CHECK(why.find(std::to_string(port)) != std::string::npos);
                      states.push_back(up);
                    }});
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(1));
  transport->publish("a/early", "kept", 1);
  transport->publish("a/early", "never", 0);
  CHECK(run_until(loop, [&] { return states.size() == 1; }));
  CHECK_FALSE(states.at(0));
  if (!broker.start()) {
    MESSAGE("mosquitto is not there: only the missing broker was tested");
    return;
  }
  CHECK(run_until(loop, [&] { return got.size() == 1; }));
  CHECK(got.at(0) == "a/early=kept");
  CHECK(states == std::vector<bool>{false, true});
  CHECK(connections(port) == std::pair(1, 1));
  broker.kill();
  CHECK(run_until(loop, [&] { return states.size() == 3; }));
  transport->publish("a/down", "later", 1);
  REQUIRE(broker.start());
  CHECK(run_until(loop, [&] { return got.size() == 2; }));
  CHECK(got.back() == "a/down=later");
  CHECK(connections(port) == std::pair(1, 1));
  transport->publish("a/now", "once", 0);   // before the burst: a broker drops QoS 0 first where its queue is full
  CHECK(run_until(loop, [&] { return got.size() == 3; }));
  CHECK(got.back() == "a/now=once");
  for (int i = 0; i < 2000; ++i) transport->publish("a/n", std::to_string(i), 1);
  CHECK(run_until(loop, [&] { return got.size() == 2003; }));
  CHECK(got.back() == "a/n=1999");
  transport->stop();
}
