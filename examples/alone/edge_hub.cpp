// kubeedge/edge_hub.h by itself: speaks the hub's wire for a node and prints what the cloud sends.
//   edge_hub CLOUD TOKEN_FILE DATA_DIR [HUB_PORT JOIN_PORT]
#include <cstdio>
#include <cstdlib>

#include <asio/io_context.hpp>
#include <kubeedge/edge_hub.h>

int main(int argc, char** argv) {
  if (argc != 4 && argc != 6) {
    std::fprintf(stderr, "usage: edge_hub CLOUD TOKEN_FILE DATA_DIR [HUB_PORT JOIN_PORT]\n");
    return 2;
  }
  asio::io_context loop;
  const kubeedge::Runtime runtime{loop.get_executor()};
  kubeedge::EdgeHubOptions options;
  options.node_name = "gw-hub";
  options.cloud = argv[1];
  if (auto token = kubeedge::Secret::from_file(argv[2])) options.token = *token;
  options.data_dir = argv[3];
  if (argc == 6) {
    options.hub_port = static_cast<std::uint16_t>(std::atoi(argv[4]));
    options.join_port = static_cast<std::uint16_t>(std::atoi(argv[5]));
  }
  auto hub = kubeedge::HubConnection::create(runtime, options);
  if (!hub) {
    std::fprintf(stderr, "edge_hub: %s\n", hub.error().message.c_str());
    return 1;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  hub->hub().on_link([](kubeedge::LinkState state) { std::printf("link %s\n", state == kubeedge::LinkState::kUp ? "up" : "down"); });
  hub->on_failure([](const kubeedge::Error& error) { std::fprintf(stderr, "edge_hub: %s\n", error.message.c_str()); });
  hub->on_message([](const kubeedge::Message& message) {
    std::printf("%s %s: %zu bytes\n", message.operation.c_str(), message.resource.c_str(), message.content.size());
  });
  hub->start();
  loop.run();
}
