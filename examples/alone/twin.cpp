// kubeedge/twin.h by itself: twins in a file, no cloud, no broker.   twin FILE
#include <cstdio>
#include <cstdlib>

#include <asio/io_context.hpp>
#include <kubeedge/runtime.h>
#include <kubeedge/twin.h>

int main(int argc, char** argv) {
  asio::io_context loop;
  const kubeedge::Runtime runtime{loop.get_executor()};
  auto store = kubeedge::TwinStore::open(runtime, argc > 1 ? argv[1] : "twins.db", kubeedge::NodeId("gw-17"));
  if (!store) {
    std::fprintf(stderr, "twin: %s\n", store.error().message.c_str());
    return 1;
  }
  const kubeedge::DeviceId pump{"default", "pump-1"};
  if (const auto before = store->twin().get(pump)) std::printf("known: rpm %s\n", before->at("rpm").actual.value_or("none").c_str());
  store->twin().on_desired([&](const kubeedge::DeviceId& device, const kubeedge::TwinDelta& delta) {
    std::printf("wished for: rpm %s\n", delta.at("rpm").c_str());
    store->twin().report(device, delta, [&](const kubeedge::Result<kubeedge::TwinResult>& result) {
      if (result) std::printf("durable: rpm %s\n", result->at("rpm").actual.value_or("none").c_str());
      loop.stop();
    });
  });
  store->start();
  const int rpm = argc > 2 ? std::atoi(argv[2]) : 1480;
  store->set_device(R"({"metadata":{"namespace":"default","name":"pump-1","generation":)" + std::to_string(rpm) +
                    R"(},"spec":{"properties":[{"name":"rpm","desired":{"value":")" + std::to_string(rpm) + R"("}}]}})");
  loop.run();
}
