// kubeedge/meta_store.h by itself: what a cloud would send, durable.   meta_store FILE
#include <cstdio>

#include <asio/io_context.hpp>
#include <kubeedge/meta_store.h>

int main(int argc, char** argv) {
  asio::io_context loop;
  const kubeedge::Runtime runtime{loop.get_executor()};
  auto store = kubeedge::MetaStore::open(runtime, argc > 1 ? argv[1] : "meta.db", kubeedge::NodeId("gw-17"));
  if (!store) {
    std::fprintf(stderr, "meta_store: %s\n", store.error().message.c_str());
    return 1;
  }
  if (const auto before = store->get("default/configmap/limits")) std::printf("known: %s\n", before->str().c_str());
  store->on_answer([&](const kubeedge::Message& answer) {
    std::printf("durable: %s answers %s\n", answer.resource.c_str(), answer.parent_id.str().c_str());
    loop.stop();
  });
  kubeedge::Message message;
  message.id = kubeedge::MessageId("m-1");
  message.source = "edgecontroller";
  message.group = "resource";
  message.operation = "insert";
  message.resource = "default/configmap/limits";
  message.resource_version = "1";
  message.content = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"default","name":"limits","resourceVersion":"1"},"data":{"rpm":"1500"}})";
  store->apply(message);
  loop.run();
}
