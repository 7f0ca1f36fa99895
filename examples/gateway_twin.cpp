// A gateway's own firmware process with an edge inside: hub, meta store, twins and the MQTT bus; no containers.
//   gateway_twin CLOUD TOKEN_FILE DATA_DIR BROKER_PORT NAMESPACE/DEVICE PROPERTY VALUE [HUB_PORT JOIN_PORT]
// Reports VALUE once the device is known, prints each desired value and reports it back as done.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

#include <kubeedge/edge.h>

int main(int argc, char** argv) {
  if (argc != 8 && argc != 10) {
    std::fprintf(stderr, "usage: gateway_twin CLOUD TOKEN_FILE DATA_DIR BROKER_PORT NAMESPACE/DEVICE PROPERTY VALUE [HUB_PORT JOIN_PORT]\n");
    return 2;
  }
  asio::io_context loop;   // the firmware's own loop
  kubeedge::Runtime runtime{loop.get_executor()};

  auto token = kubeedge::Secret::from_file(argv[2]);
  if (!token) {
    std::fprintf(stderr, "gateway_twin: %s\n", token.error().message.c_str());
    return 1;
  }
  kubeedge::EdgeOptions options;
  options.node_name = "gw-17";
  options.cloud = argv[1];
  if (argc == 10) {
    options.hub_port = static_cast<std::uint16_t>(std::atoi(argv[8]));
    options.join_port = static_cast<std::uint16_t>(std::atoi(argv[9]));
  }
  options.token = *token;
  options.data_dir = argv[3];
  options.mqtt = kubeedge::MqttOptions::broker("127.0.0.1", static_cast<std::uint16_t>(std::atoi(argv[4])));

  auto edge = kubeedge::Edge::create(runtime, options);
  if (!edge) {
    std::fprintf(stderr, "gateway_twin: %s\n", edge.error().message.c_str());
    return 1;
  }
  const std::string name = argv[5], property = argv[6], value = argv[7];
  const auto slash = name.find('/');
  if (slash == std::string::npos) {
    std::fprintf(stderr, "gateway_twin: %s is not NAMESPACE/DEVICE\n", name.c_str());
    return 2;
  }
  const kubeedge::DeviceId device{name.substr(0, slash), name.substr(slash + 1)};

  edge->hub().on_link([](kubeedge::LinkState state) {
    std::printf("link %s\n", state == kubeedge::LinkState::kUp ? "up" : "down");
    std::fflush(stdout);
  });
  edge->on_failure([](const kubeedge::Error& error) { std::fprintf(stderr, "gateway_twin: %s\n", error.message.c_str()); });
  edge->twin().on_desired([&](const kubeedge::DeviceId& id, const kubeedge::TwinDelta& delta) {
    for (const auto& [key, wanted] : delta) std::printf("desired %s %s=%s\n", id.str().c_str(), key.c_str(), wanted.c_str());
    std::fflush(stdout);
    edge->twin().report(id, delta, [](auto&&) {});   // this pump obeys at once
  });

  // The device is known here once the cloud has sent it: try until then.
  asio::steady_timer retry(loop);
  kubeedge::unique_function<void()> report;
  report = [&] {
    edge->twin().report(device, {{property, value}}, [&](kubeedge::Result<kubeedge::TwinResult> result) {
      if (result) {
        std::printf("durable %s %s=%s\n", device.str().c_str(), property.c_str(), value.c_str());
        std::fflush(stdout);
        return;
      }
      retry.expires_after(std::chrono::milliseconds(500));
      retry.async_wait([&](asio::error_code error) {
        if (!error) report();
      });
    });
  };

  edge->start();
  report();
  asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](asio::error_code, int) {
    retry.cancel();
    edge->stop([&] { loop.stop(); });
  });
  loop.run();
  return 0;
}
