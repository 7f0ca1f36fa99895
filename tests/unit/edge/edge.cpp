// The Edge assembly: what it needs to start, what it does without a cloud and without a broker, how it ends, and a whole
// life beside an in-process cloud.
#include <doctest/doctest.h>
#include <kubeedge/edge.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>

#include "../cloud_edgecontroller/scripted_api.h"
#include "cloud/cloud.h"

using namespace kubeedge;
using namespace kubeedge::cloud_test;

namespace {

constexpr std::uint16_t kNobody = 1;  // a port where nobody listens

// Removed at the end.
struct Folder {
  Folder() {
    char name[] = "/tmp/ke-edge-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return path + "/" + name; }
  std::string path;
};

// For a while not root, whom no permission stops. Nothing where the tests run as somebody else.
struct Nobody {
  Nobody() { changed = geteuid() == 0 && seteuid(65534) == 0; }
  ~Nobody() {
    if (changed && seteuid(0) != 0) std::abort();
  }
  Nobody(const Nobody&) = delete;
  Nobody& operator=(const Nobody&) = delete;
  bool changed;
};

class Lines final : public Logger {
 public:
  bool enabled(LogLevel) const override { return true; }
  void write(LogLevel, std::string_view part, std::string_view line) override {
    const std::scoped_lock lock(mutex_);
    lines_.push_back(std::string(part) + ": " + std::string(line));
  }
  std::size_t count(const std::string& text) const {
    const std::scoped_lock lock(mutex_);
    return static_cast<std::size_t>(
        std::count_if(lines_.begin(), lines_.end(), [&](const auto& line) { return line.find(text) != std::string::npos; }));
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

struct Loop {
  asio::io_context io;
  Lines log;
  Runtime runtime{io.get_executor(), log};

  void until(const std::function<bool()>& done) {
    const auto end = runtime.clock().steady() + Milliseconds{20'000};
    while (!done() && runtime.clock().steady() < end) {
      io.run_one_for(Milliseconds{20});
      io.restart();
    }
    REQUIRE(done());
  }
  void run(Milliseconds longest) {
    io.restart();
    io.run_for(longest);
  }
  void stop(Edge& edge) {
    bool stopped = false;
    edge.stop([&] { stopped = true; });
    until([&] { return stopped; });
  }
};

// Neither cloud nor broker is there.
EdgeOptions alone(const Folder& folder, const std::string& node = "edge-1") {
  EdgeOptions options;
  options.node_name = node;
  options.cloud = "127.0.0.1";
  options.hub_port = options.join_port = kNobody;
  options.data_dir = folder.path;
  options.mqtt = MqttOptions::broker("127.0.0.1", kNobody);
  return options;
}

std::string refusal(Loop& loop, EdgeOptions options) {
  auto made = Edge::create(loop.runtime, std::move(options));
  return made ? "" : made.error().message;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// A cloud in the same process, on a scripted API.
struct World : Loop {
  ScriptedApi api{io};
  pki::KeyPair ca = *pki::new_ca(now());
  pki::KeyPair server = *pki::new_server_certificate(ca, {{"localhost"}, {"127.0.0.1"}}, now());
  std::unique_ptr<cloud::Cloud> cloud;

  World() {
    cloud::CloudOptions options;
    options.ca = ca;
    options.server = server;
    options.hub_address = options.join_address = "127.0.0.1";
    options.hub_port = options.join_port = options.stream_port = 0;
    auto made = cloud::Cloud::create(runtime, api, std::move(options));
    REQUIRE(made);
    cloud = std::move(*made);
    REQUIRE(cloud->start());
  }
  ~World() {
    bool stopped = false;
    cloud->stop([&] { stopped = true; });
    until([&] { return stopped; });
    run(Milliseconds{50});  // the sockets' last words
  }
  std::int64_t now() const { return system_clock().unix_ms() / 1000; }
  std::string token(std::int64_t seconds = 3600) const { return pki::new_token(ca, now() + seconds); }
  EdgeOptions options(const Folder& folder, const std::string& node, const std::string& token) const {
    EdgeOptions made = alone(folder, node);
    made.hub_port = cloud->hub_port();
    made.join_port = cloud->join_port();
    made.token = Secret(token);
    return made;
  }
  // Runs the edge until it is ready, then stops it.
  void join_and_stop(const EdgeOptions& with) {
    auto edge = Edge::create(runtime, with);
    REQUIRE(edge);
    bool ready = false;
    edge->on_ready([&] { ready = true; });
    edge->start();
    until([&] { return ready; });
    stop(*edge);
  }
  // Runs the edge until its first permanent error.
  Error failure(const EdgeOptions& with) {
    auto edge = Edge::create(runtime, with);
    REQUIRE(edge);
    std::optional<Error> error;
    edge->on_failure([&](Error failed) { error = std::move(failed); });
    edge->start();
    until([&] { return error.has_value(); });
    stop(*edge);
    return *error;
  }
};

}  // namespace

// ---- what it needs

TEST_CASE("C20: a node's name is lowered where that makes it valid, else refused at start with the rule") {
  Loop loop;
  const Folder folder;
  const auto name_of = [&](const std::string& wanted) -> std::string {
    EdgeOptions options = alone(folder, wanted);
    auto edge = Edge::create(loop.runtime, options);
    return edge ? edge->node_name() : "";
  };
  CHECK(name_of("UPPER") == "upper");
  CHECK(name_of("Box-01.Site-7.Example") == "box-01.site-7.example");
  CHECK(name_of("7") == "7");
  CHECK(name_of(std::string(253, 'a')).size() == 253);
  for (const std::string& wrong : {std::string("Edge_Box-01"), std::string("-a"), std::string("a-"), std::string("."), std::string("a..b"),
                                   std::string("a.-b"), std::string("a b"), std::string("a/b"), std::string("../a"),
                                   std::string("caf\xc3\xa9"), std::string("a\0b", 3), std::string(254, 'a'), std::string(300, 'a')}) {
    CAPTURE(wrong);
    const std::string why = refusal(loop, alone(folder, wrong));
    CHECK(has(why, wrong.substr(0, 80)));
    CHECK(has(why, "lower-case letters, digits, '-' and '.'"));
    CHECK(has(why, "253"));
    CHECK(why.size() < 500);
  }
  CHECK(refusal(loop, alone(folder, "Edge_Box-01")).find('\n') == std::string::npos);
}

TEST_CASE("without a name it is the host's") {
  char host[256] = {};
  REQUIRE(gethostname(host, sizeof host - 1) == 0);
  std::string lowered = host;
  for (char& c : lowered) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  Loop loop;
  const Folder folder;
  auto edge = Edge::create(loop.runtime, alone(folder, ""));
  if (edge) {
    CHECK(edge->node_name() == lowered);
  } else {
    CHECK(has(edge.error().message, host));
  }
}

TEST_CASE("a data_dir that cannot be made or written is named") {
  Loop loop;
  const Folder folder;
  EdgeOptions options = alone(folder);
  SUBCASE("a file stands in its way") {
    std::ofstream(folder / "file") << "x";
    options.data_dir = folder / "file/data";
    const std::string why = refusal(loop, options);
    CHECK(has(why, folder / "file"));
    CHECK(has(why, "Not a directory"));
  }
  SUBCASE("it is a file") {
    std::ofstream(folder / "file") << "x";
    options.data_dir = folder / "file";
    CHECK(has(refusal(loop, options), folder / "file"));
  }
  SUBCASE("it is read-only") {
    options.data_dir = folder / "data";
    std::filesystem::create_directory(options.data_dir);
    ::chmod(folder.path.c_str(), 0755);
    ::chmod(options.data_dir.c_str(), 0555);
    const Nobody nobody;
    const std::string why = refusal(loop, options);
    CHECK(has(why, options.data_dir));
    CHECK_FALSE(why.empty());
  }
  SUBCASE("its parent is read-only") {
    ::chmod(folder.path.c_str(), 0555);
    options.data_dir = folder / "data";
    const Nobody nobody;
    const std::string why = refusal(loop, options);
    CHECK(has(why, options.data_dir));
    CHECK(has(why, "Permission denied"));
  }
}

TEST_CASE("a database that is none is set aside; the node goes on with a new one") {
  Loop loop;
  const Folder folder;
  EdgeOptions options = alone(folder);
  std::ofstream(folder / "edgecore.db") << std::string(8192, 'x');
  auto edge = Edge::create(loop.runtime, options);
  REQUIRE(edge);
  struct stat facts {};
  REQUIRE(::stat((folder / "edgecore.db.damaged").c_str(), &facts) == 0);
  CHECK(facts.st_size == 8192);
}

TEST_CASE("a data_dir is made with all that is above it; what is in it is the owner's alone") {
  Loop loop;
  const Folder folder;
  EdgeOptions options = alone(folder);
  options.data_dir = folder / "a/b//c/";
  auto edge = Edge::create(loop.runtime, options);
  REQUIRE(edge);
  struct stat facts {};
  REQUIRE(::stat((folder / "a/b/c/edgecore.db").c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
}

TEST_CASE("options that make no sense are refused, each by name") {
  Loop loop;
  const Folder folder;
  EdgeOptions options = alone(folder);
  std::string part;
  SUBCASE("no cloud") { options.cloud.clear(), part = "cloud"; }
  SUBCASE("an address without a port") { options.hub_server = "cloud.example", part = "cloud.example"; }
  SUBCASE("a port that is none") { options.join_server = "cloud.example:99999", part = "cloud.example:99999"; }
  SUBCASE("labels that are no JSON") { options.node_labels_json = "a=b", part = "node_labels_json"; }
  SUBCASE("labels that are no object") { options.node_labels_json = "[]", part = "node_labels_json"; }
  if (part.empty()) return;
  CHECK(has(refusal(loop, options), part));
}

TEST_CASE("Secret: a file's text without its line end; an absent, empty or unreadable one is named") {
  const Folder folder;
  std::ofstream(folder / "token") << "abc.def\r\n";
  std::ofstream(folder / "empty") << "\n";
  auto token = Secret::from_file(folder / "token");
  REQUIRE(token);
  CHECK(token->reveal() == "abc.def");
  for (const std::string& path : {folder / "absent", folder / "empty", folder.path}) {
    auto wrong = Secret::from_file(path);
    REQUIRE_FALSE(wrong);
    CHECK(has(wrong.error().message, path));
  }
}

// ---- alone

TEST_CASE("without a cloud and without a broker it runs, answers locally, says each reason once, and ends") {
  Loop loop;
  const Folder folder;
  EdgeOptions options = alone(folder);
  options.token = Secret(pki::new_token(*pki::new_ca(system_clock().unix_ms() / 1000), system_clock().unix_ms() / 1000 + 3600));
  {
    auto edge = Edge::create(loop.runtime, options);
    REQUIRE(edge);
    bool ready = false, failed = false, linked = false;
    edge->on_ready([&] { ready = true; });
    edge->on_failure([&](Error) { failed = true; });
    edge->hub().on_link([&](LinkState) { linked = true; });
    edge->start();
    CHECK(edge->hub().link() == LinkState::kDown);
    std::optional<Errc> code;
    edge->twin().report({"default", "ghost"}, {{"temperature", "21"}},
                        [&](Result<TwinResult> result) { code = result ? Errc::kInternal : result.error().code; });
    loop.until([&] { return code.has_value(); });
    CHECK(*code == Errc::kNotFound);
    loop.run(Milliseconds{300});
    CHECK_FALSE(ready);
    CHECK_FALSE(failed);  // an absent cloud is not for ever
    CHECK_FALSE(linked);
    CHECK(loop.log.count("hub: ") == 1);
    CHECK(loop.log.count("127.0.0.1:1") >= 1);
    CHECK(loop.log.count("broker tcp://127.0.0.1:1: ") == 1);
    loop.stop(*edge);
    loop.stop(*edge);  // once more does no harm
  }
  loop.run(Milliseconds{50});
}

TEST_CASE("an edge may end at any time: never started, not stopped, while it stops, moved over") {
  Loop loop;
  const Folder folder, other;
  SUBCASE("never started") { CHECK(Edge::create(loop.runtime, alone(folder))); }
  SUBCASE("stopped before it was started") {
    auto edge = Edge::create(loop.runtime, alone(folder));
    REQUIRE(edge);
    loop.stop(*edge);
  }
  SUBCASE("not stopped, at once") {
    auto edge = Edge::create(loop.runtime, alone(folder));
    REQUIRE(edge);
    edge->start();
  }
  SUBCASE("not stopped, after a while") {
    auto edge = Edge::create(loop.runtime, alone(folder));
    REQUIRE(edge);
    edge->start();
    loop.run(Milliseconds{100});
  }
  SUBCASE("inside its stop's answer") {
    auto made = Edge::create(loop.runtime, alone(folder));
    REQUIRE(made);
    std::optional<Edge> edge(std::move(*made));
    edge->start();
    edge->stop([&] { edge.reset(); });
    loop.until([&] { return !edge; });
  }
  SUBCASE("moved over") {
    auto edge = Edge::create(loop.runtime, alone(folder));
    auto second = Edge::create(loop.runtime, alone(other, "edge-2"));
    REQUIRE(edge);
    REQUIRE(second);
    edge->start();
    second->start();
    *edge = std::move(*second);
    CHECK(edge->node_name() == "edge-2");
    loop.run(Milliseconds{50});
    loop.stop(*edge);
  }
  loop.run(Milliseconds{50});
}

TEST_CASE("an edge may be stopped inside on_failure") {
  Loop loop;
  const Folder folder;
  auto edge = Edge::create(loop.runtime, alone(folder));  // no token: a permanent error, at once
  REQUIRE(edge);
  bool stopped = false;
  int failures = 0;
  edge->on_failure([&, canary = std::string(64, 'c')](Error error) {
    ++failures;
    CHECK(error.code == Errc::kUnauthenticated);
    edge->stop([&] { stopped = true; });
    CHECK(canary.back() == 'c');
  });
  edge->start();
  loop.until([&] { return stopped; });
  CHECK(failures == 1);
}

TEST_CASE("two edges in one process, on one loop and one store thread, know nothing of each other") {
  Loop loop;
  const Folder first_folder, second_folder;
  auto first = Edge::create(loop.runtime, alone(first_folder, "edge-1"));
  auto second = Edge::create(loop.runtime, alone(second_folder, "edge-2"));
  REQUIRE(first);
  REQUIRE(second);
  first->start();
  second->start();
  loop.run(Milliseconds{100});
  loop.stop(*first);
  CHECK(first->node_name() == "edge-1");
  CHECK(second->node_name() == "edge-2");
  loop.run(Milliseconds{50});
  loop.stop(*second);
}

// ---- with a cloud

TEST_CASE("join, registration, ready: a node without pods; then again without a token") {
  World world;
  const Folder folder;
  {
    EdgeOptions options = world.options(folder, "edge-1", world.token());
    options.node_labels_json = R"({"site":"north"})";
    auto edge = Edge::create(world.runtime, options);
    REQUIRE(edge);
    int ready = 0;
    std::vector<LinkState> states;
    edge->on_ready([&] { ++ready; });
    edge->hub().on_link([&](LinkState state) { states.push_back(state); });
    edge->start();
    world.until([&] { return ready > 0 && world.api.find("leases", "kube-node-lease", "edge-1") != nullptr; });
    const json node = *world.api.find("nodes", "", "edge-1");
    CHECK(node["metadata"]["labels"]["site"] == "north");
    CHECK(node["status"]["capacity"]["pods"] == "0");
    CHECK(node["spec"]["taints"][0]["effect"] == "NoSchedule");
    CHECK(node["status"]["addresses"][0]["address"] == "127.0.0.1");
    CHECK(ready == 1);
    CHECK(states == std::vector<LinkState>{LinkState::kUp});
    for (const char* file : {"server.crt", "server.key", "rootCA.crt"}) {
      struct stat facts {};
      REQUIRE(::stat((folder / "pki/" + file).c_str(), &facts) == 0);
      CHECK((facts.st_mode & 0777) == 0600);
    }
    world.stop(*edge);
    CHECK(edge->hub().link() == LinkState::kDown);
  }
  auto edge = Edge::create(world.runtime, world.options(folder, "edge-1", ""));
  REQUIRE(edge);
  bool ready = false;
  edge->on_ready([&] { ready = true; });
  edge->start();
  world.until([&] { return ready; });
  world.stop(*edge);
}

TEST_CASE("two edges join one cloud; one ends, the other stays") {
  World world;
  const Folder folders[2];
  std::optional<Edge> edges[2];
  int ready = 0;
  for (int i = 0; i < 2; ++i) {
    auto made = Edge::create(world.runtime, world.options(folders[i], "edge-" + std::to_string(i), world.token()));
    REQUIRE(made);
    edges[i].emplace(std::move(*made));
    edges[i]->on_ready([&] { ++ready; });
    edges[i]->start();
  }
  world.until([&] { return ready == 2; });
  CHECK(world.cloud->connected_nodes() == 2);
  world.stop(*edges[0]);
  edges[0].reset();
  world.until([&] { return world.cloud->connected_nodes() == 1; });
  CHECK(edges[1]->hub().link() == LinkState::kUp);
  edges[1].reset();  // without a stop
  world.until([&] { return world.cloud->connected_nodes() == 0; });
}

TEST_CASE("an edge may be stopped inside on_ready, and inside on_link") {
  World world;
  const Folder folder;
  auto edge = Edge::create(world.runtime, world.options(folder, "edge-1", world.token()));
  REQUIRE(edge);
  bool stopped = false;
  const auto stop = [&, canary = std::string(64, 'c')] {
    edge->stop([&] { stopped = true; });
    CHECK(canary.back() == 'c');
  };
  SUBCASE("on_ready") { edge->on_ready(stop); }
  SUBCASE("on_link, up") {
    edge->hub().on_link([stop](LinkState) { stop(); });
    edge->hub().on_link([](LinkState) {});
  }
  SUBCASE("on_link, down") {
    edge->hub().on_link([&, stop](LinkState state) {
      if (state == LinkState::kDown) stop();
    });
    edge->on_ready([&] { world.api.erase("nodes", "", "edge-1"); });  // the cloud ends the session
  }
  SUBCASE("on_link, which asks for more") {
    edge->hub().on_link([&, stop, more = std::string(64, 'm')](LinkState) {
      for (int i = 0; i < 100; ++i) edge->hub().on_link([](LinkState) {});
      CHECK(more.back() == 'm');
      stop();
    });
  }
  edge->start();
  world.until([&] { return stopped; });
  CHECK(edge->hub().link() == LinkState::kDown);
}

TEST_CASE("C18: a join that can never work says why in one line, and never the token") {
  World world;
  const Folder folder;
  std::string token = world.token(), part;
  Errc code = Errc::kUnauthenticated;
  SUBCASE("none") { token.clear(), part = "no certificate and no token"; }
  SUBCASE("malformed") { token = "abcdef.not-a-token", part = "malformed", code = Errc::kInvalidArgument; }
  SUBCASE("expired") { token = world.token(-60), part = "expired"; }
  SUBCASE("of another cloud") { token = pki::new_token(*pki::new_ca(world.now()), world.now() + 3600), part = "CA hash differs"; }
  SUBCASE("one character changed in the hash") { token[3] = token[3] == 'a' ? 'b' : 'a', part = "CA hash differs"; }
  SUBCASE("one character changed in the signature") {
    token[token.size() - 5] = token[token.size() - 5] == 'a' ? 'b' : 'a', part = "signature";
  }
  if (part.empty()) return;
  const Error error = world.failure(world.options(folder, "edge-1", token));
  CAPTURE(error.message);
  CHECK(error.code == code);
  CHECK(has(error.message, part));
  CHECK(error.message.find('\n') == std::string::npos);
  if (token.empty()) return;
  for (std::size_t at = 0; at + 12 <= token.size(); at += 6) {
    CHECK_FALSE(has(error.message, token.substr(at, 12)));
    CHECK(world.log.count(token.substr(at, 12)) == 0);
  }
}

TEST_CASE("a certificate of an earlier name does not stand in the way of a token") {
  World world;
  const Folder folder;
  for (const char* name : {"edge-1", "edge-2"}) world.join_and_stop(world.options(folder, name, world.token()));
  CHECK(world.api.find("nodes", "", "edge-2") != nullptr);
  CHECK(world.log.count("the certificate is for system:node:edge-1, not for node edge-2") >= 1);
}

TEST_CASE("a long node name joins as well") {
  World world;
  const Folder folder;
  const std::string name = std::string(60, 'a') + ".example";  // past X.509's own bound for a CN, which Go does not keep
  world.join_and_stop(world.options(folder, name, world.token()));
}
