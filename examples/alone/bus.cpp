// kubeedge/bus.h by itself: a broker connection that heals itself.   bus SERVER
#include <cstdio>

#include <asio/io_context.hpp>
#include <kubeedge/bus.h>

int main(int argc, char** argv) {
  asio::io_context loop;
  const kubeedge::Runtime runtime{loop.get_executor()};
  kubeedge::MqttOptions options;
  if (argc > 1) options.server = argv[1];
  auto bus = kubeedge::Bus::create(runtime, options, "alone-bus");
  if (!bus) {
    std::fprintf(stderr, "bus: %s\n", bus.error().message.c_str());
    return 1;
  }
  auto subscribed = bus->subscribe("alone/+", [&](const std::string& topic, const kubeedge::Bytes& payload) {
    std::printf("%s %s\n", topic.c_str(), payload.str().c_str());
    bus->stop();
    loop.stop();
  });
  bus->on_state([&](bool connected, const std::string&) {
    if (connected) (void)bus->publish("alone/greeting", "hello");
  });
  bus->start();
  if (subscribed) loop.run();
}
