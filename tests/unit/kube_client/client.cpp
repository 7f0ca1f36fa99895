#include <asio/io_context.hpp>
#include <doctest/doctest.h>

#include "kube/client/api_wire.h"
#include "kube/client/informer.h"

using namespace kubeedge;
using namespace kubeedge::kube;

namespace {

// Answers lists from a script; the watch is driven by hand.
class FakeClient final : public KubeClient {
 public:
  std::vector<ObjectList> lists;
  unique_function<void(WatchEvent)> on_event;
  unique_function<void(ApiError)> on_end;
  std::string watched_from;

  void list(const Resource&, ListOptions, Done<ObjectList> done) override {
    if (lists.empty()) return;
    ObjectList next = lists.front();
    lists.erase(lists.begin());
    done(std::move(next));
  }
  std::unique_ptr<Watch> watch(const Resource&, ListOptions, const std::string& version, unique_function<void(WatchEvent)> event,
                               unique_function<void(ApiError)> end) override {
    watched_from = version;
    on_event = std::move(event);
    on_end = std::move(end);
    return std::make_unique<Watch>();
  }
  void get(const Resource&, const std::string&, const std::string&, Done<Bytes>) override {}
  void create(const Resource&, const std::string&, const std::string&, const std::string&, Bytes, Done<Bytes>) override {}
  void update(const Resource&, const std::string&, const std::string&, const std::string&, Bytes, Done<Bytes>) override {}
  void patch(const Resource&, const std::string&, const std::string&, const std::string&, PatchType, Bytes, Done<Bytes>) override {}
  void remove(const Resource&, const std::string&, const std::string&, Bytes, Done<Bytes>) override {}
};

Bytes pod(const std::string& name, const std::string& uid, const std::string& version) {
  return Bytes(R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"d","name":")" + name + R"(","uid":")" + uid + R"(","resourceVersion":")" + version + R"("}})");
}

}  // namespace

TEST_CASE("api wire: paths, lists with kinds put in, watch lines, errors") {
  CHECK(object_path({"", "v1", "pods"}, "d", "web", "status") == "/api/v1/namespaces/d/pods/web/status");
  CHECK(object_path({"devices.kubeedge.io", "v1beta1", "devices"}, "", "", "") == "/apis/devices.kubeedge.io/v1beta1/devices");
  std::string more;
  const auto list = parse_list(Bytes(R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"c"},"items":[{"metadata":{"name":"a]}\""}}, {}]})"), more);
  REQUIRE(list);
  CHECK(list->resource_version == "7");
  CHECK(more == "c");
  REQUIRE(list->items.size() == 2);
  CHECK(list->items[0].view() == R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a]}\""}})");
  CHECK(list->items[1].view() == R"({"apiVersion":"v1","kind":"Pod"})");
  CHECK(parse_watch_line(Bytes(R"({"type":"DELETED","object":{"kind":"Pod"}})"))->type == WatchEventType::kDeleted);
  CHECK(parse_watch_line(Bytes(R"({"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}})")).error().code == 410);
  CHECK(parse_watch_line(Bytes("junk")).error().code == 500);
  CHECK(parse_error(404, Bytes(R"({"reason":"NotFound","message":"pods \"x\" not found"})")).message == "pods \"x\" not found");
  for (const char* junk : {"{", "[1,", "{\"a\"", "{\"a\":\"", "", "[[", "{\"a\":1,}"}) CHECK_FALSE(members(Bytes(junk)));
}

TEST_CASE("informer: tells only what changed, over lists and watches") {
  asio::io_context loop;
  FakeClient client;
  std::vector<std::string> told;
  client.lists.push_back({"5", {pod("a", "1", "2"), pod("b", "2", "3")}});
  client.lists.push_back({"9", {pod("a", "1", "2"), pod("b", "9", "8"), pod("d", "4", "7")}});
  const auto name = [](const Bytes& object) { return string_member(*member(object, "metadata"), "name") + string_member(*member(object, "metadata"), "uid"); };
  Informer informer(Runtime{loop.get_executor()}, client, {"", "v1", "pods"}, {},
                    {[&](Bytes object) { told.push_back("+" + name(object)); }, [&](Bytes object) { told.push_back("-" + name(object)); },
                     [&] { told.push_back("synced"); }});
  informer.start();
  CHECK(told == std::vector<std::string>{"+a1", "+b2", "synced"});
  CHECK(client.watched_from == "5");
  client.on_event({WatchEventType::kAdded, pod("c", "3", "6")});
  client.on_event({WatchEventType::kAdded, pod("d", "4", "7")});
  told.clear();
  client.on_end({410, "Expired", "too old", {}});
  loop.run_for(std::chrono::milliseconds(400));
  CHECK(told == std::vector<std::string>{"-b2", "+b9", "-c3", "synced"});
  CHECK(client.watched_from == "9");
}
