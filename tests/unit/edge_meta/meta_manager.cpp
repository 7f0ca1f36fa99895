#include "edge/meta/meta_manager.h"

#include <asio/io_context.hpp>
#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

#include "wire/message_codec.h"

using namespace kubeedge;
using namespace kubeedge::edge;

namespace {

std::string golden(const std::string& name) {
  std::ifstream in(std::string(KE_GOLDEN_DIR) + "/hub/" + name);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

struct FakeLink final : CloudLink {
  bool is_up = true;
  std::vector<Message> sent;
  Message asked;
  unique_function<void(Result<Message>)> waiter;
  bool up() const override { return is_up; }
  void send(Message message) override { sent.push_back(std::move(message)); }
  void request(Message message, Milliseconds, unique_function<void(Result<Message>)> done) override {
    asked = std::move(message);
    waiter = std::move(done);
  }
};

struct FakePods final : PodSink {
  std::vector<std::string> seen;
  void on_pod_set(std::vector<Bytes> pods) override { seen.push_back("set " + std::to_string(pods.size())); }
  void on_pod(Bytes) override { seen.emplace_back("pod"); }
  void on_pod_removed(const std::string& ns, const std::string& name, const std::string&) override { seen.push_back("removed " + ns + "/" + name); }
  void on_object(const std::string& type, const std::string&, const std::string& name) override { seen.push_back(type + " " + name); }
};

struct Fixture {
  asio::io_context loop;
  Runtime runtime{loop.get_executor()};
  std::unique_ptr<store::Store> store;
  FakeLink link;
  FakePods pods;
  std::unique_ptr<MetaManager> meta;
  Fixture() {
    auto opened = store::Store::open(runtime, ":memory:", meta_schema());
    REQUIRE(opened);
    store = std::move(*opened);
    meta = MetaManager::create(runtime, *store, NodeId("edge-1"));
    meta->set_link(&link);
    meta->set_pod_sink(&pods);
    settle();
  }
  // A round trip through the writer: everything queued before it is committed and told.
  void settle() {
    bool over = false;
    store->write({{"DELETE FROM ke_store WHERE key='none'", {}}}, [&](Result<void>) { over = true; });
    while (!over) {
      loop.restart();
      loop.run_for(std::chrono::milliseconds(20));
    }
  }
  void deliver(const std::string& file) {
    auto message = wire::decode(Bytes(golden(file)));
    REQUIRE(message);
    meta->on_message(std::move(*message));
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a pod is stored, then handed on, then acknowledged; nothing before the commit") {
  deliver("ws-down-10-pod-insert.json");
  CHECK(link.sent.empty());
  settle();
  REQUIRE(link.sent.size() == 1);
  CHECK(link.sent[0].operation == "response");
  CHECK(link.sent[0].group == "resource");
  CHECK(wire::content_text(link.sent[0]) == "OK");
  CHECK(pods.seen == std::vector<std::string>{"pod"});
  CHECK(meta->local("default/pod/web"));
  CHECK(meta->local_list("pod").size() == 1);
  auto v2 = store->query({"SELECT key, group_version_resource FROM meta_v2", {}});
  REQUIRE(v2);
  REQUIRE(v2->size() == 1);
  CHECK(store::text((*v2)[0][0]) == "/core/v1/pods/default/web");
  CHECK(store::text((*v2)[0][1]) == "/v1, Resource=pods");
}

TEST_CASE_FIXTURE(Fixture, "a delete of another UID leaves the row; its own delete removes it from both tables") {
  deliver("ws-down-10-pod-insert.json");
  settle();
  Message other;
  other.id = MessageId("x");
  other.group = "resource";
  other.source = "edgecontroller";
  other.operation = "delete";
  other.resource = "default/pod/web";
  other.content = R"({"metadata":{"name":"web","namespace":"default","uid":"an-older-one"}})";
  meta->on_message(other);
  settle();
  CHECK(meta->local("default/pod/web"));
  deliver("ws-down-11-pod-delete.json");
  settle();
  CHECK_FALSE(meta->local("default/pod/web"));
  auto v2 = store->query({"SELECT key FROM meta_v2", {}});
  REQUIRE(v2);
  CHECK(v2->empty());
}

TEST_CASE_FIXTURE(Fixture, "a delete without any UID (the cloud does not know the pod) removes the row") {
  deliver("ws-down-10-pod-insert.json");
  settle();
  deliver("ws-down-12-pod-delete-unknown-uid.json");
  settle();
  CHECK_FALSE(meta->local("default/pod/web"));
  CHECK(pods.seen.back() == "removed default/web");
}

TEST_CASE_FIXTURE(Fixture, "a config map comes from the cloud once, then from the store, also offline") {
  std::string got;
  meta->get_config_map("default", "cfg", [&](MetaResult<Bytes> result) { got = result ? result.value->str() : result.error.message; });
  CHECK(link.asked.operation == "query");
  CHECK(link.asked.source == "edged");
  CHECK(link.asked.group == "meta");
  auto answer = wire::decode(Bytes(golden("ws-down-20a-configmap-query-resp.json")));
  REQUIRE(answer);
  link.waiter(*answer);
  CHECK(got.empty());
  settle();
  CHECK(got.find("ConfigMap") != std::string::npos);
  CHECK(link.sent.size() == 1);   // it carries a resourceversion: the cloud waits for the ACK
  link.is_up = false;
  got.clear();
  meta->get_config_map("default", "cfg", [&](MetaResult<Bytes> result) { got = result ? result.value->str() : ""; });
  CHECK(got.find("ConfigMap") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "a bare ErrStatus is an error and is never stored") {
  std::string reason;
  meta->get_config_map("default", "cfg", [&](MetaResult<Bytes> result) { reason = result.error.reason; });
  auto answer = wire::decode(Bytes(golden("ws-down-20b-configmap-query-resp-notfound.json")));
  REQUIRE(answer);
  link.waiter(*answer);
  settle();
  CHECK(reason == "NotFound");
  CHECK_FALSE(meta->local("default/configmap/cfg"));
}

TEST_CASE_FIXTURE(Fixture, "node answers: good ones are stored with their type, AlreadyExists is a reason, offline has none") {
  std::string reason = "-";
  auto done = [&](MetaResult<Bytes> result) { reason = result ? "good" : result.error.reason; };
  for (auto [file, expected] : {std::pair{"ws-down-02b-node-insert-resp-exists.json", "AlreadyExists"},
                                std::pair{"ws-down-02c-node-insert-resp-plainerr.json", "Unknown"},
                                std::pair{"ws-down-02a-node-insert-resp-ok.json", "good"}}) {
    CHECK_FALSE(meta->local("null/node/edge-1"));
    meta->create_node("{}", done);
    auto answer = wire::decode(Bytes(golden(file)));
    REQUIRE(answer);
    link.waiter(*answer);
    settle();
    CHECK(reason == expected);
  }
  auto row = meta->local("null/node/edge-1");
  REQUIRE(row);
  CHECK(row->str().rfind(R"({"kind":"Node","apiVersion":"v1",)", 0) == 0);
  link.is_up = false;
  meta->create_node("{}", done);
  CHECK(reason.empty());
}

TEST_CASE_FIXTURE(Fixture, "a patch answer becomes the pod row, but brings no deleted pod back") {
  auto answer = wire::decode(Bytes(golden("ws-down-13-podpatch-resp.json")));
  REQUIRE(answer);
  meta->patch_pod_status("default", "web", R"({"status":{"phase":"Running"}})", [](MetaResult<Bytes>) {});
  CHECK(link.asked.content.view().front() == '"');
  link.waiter(*answer);
  settle();
  CHECK_FALSE(meta->local("default/pod/web"));
  CHECK_FALSE(meta->local("default/podpatch/web"));   // nor is a row made that nothing would delete
  deliver("ws-down-10-pod-insert.json");
  settle();
  CHECK(meta->local("default/pod/web")->str().find(R"("phase":"Running")") == std::string::npos);
  auto text = answer->content.str();   // the recorded answer is still Pending
  auto phase = text.find(R"("phase":"Pending")");
  REQUIRE(phase != std::string::npos);
  answer->content = Bytes(text.replace(phase, 17, R"("phase":"Running")"));
  meta->patch_pod_status("default", "web", R"({"status":{"phase":"Running"}})", [](MetaResult<Bytes>) {});
  link.waiter(*answer);
  settle();
  CHECK(meta->local("default/pod/web")->str().find(R"("phase":"Running")") != std::string::npos);
  CHECK(meta->local("default/podpatch/web"));
}

TEST_CASE_FIXTURE(Fixture, "a doubled or overtaken message of one connection is acknowledged and not applied; the next connection starts anew") {
  const auto pod = [](const char* operation, const char* version, const char* uid) {
    Message message;
    message.id = MessageId(std::string(operation) + version + uid);
    message.group = "resource";
    message.source = "edgecontroller";
    message.operation = operation;
    message.resource = "default/pod/web";
    message.resource_version = version;
    message.content = Bytes(std::string(R"({"metadata":{"name":"web","namespace":"default","uid":")") + uid + R"(","labels":{"v":")" + version + R"("}}})");
    return message;
  };
  const auto held = [&] {
    settle();
    const auto row = meta->local("default/pod/web");
    return row ? row->str() : std::string();
  };
  meta->on_link(true);
  meta->on_message(pod("insert", "10", "a"));
  meta->on_message(pod("update", "9", "a"));
  CHECK(held().find(R"("v":"10")") != std::string::npos);
  meta->on_message(pod("delete", "11", "a"));
  meta->on_message(pod("update", "10", "a"));
  CHECK(held().empty());
  meta->on_message(pod("insert", "12", "b"));
  meta->on_message(pod("insert", "10", "a"));
  CHECK(held().find(R"("uid":"b")") != std::string::npos);
  CHECK(link.sent.size() == 6);
  meta->on_link(false);
  meta->on_link(true);
  meta->on_message(pod("update", "8", "b"));   // a cloud from a backup
  CHECK(held().find(R"("v":"8")") != std::string::npos);
}
