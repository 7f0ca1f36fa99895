#include "machines.h"

namespace kubeedge::model {
namespace {

std::unique_ptr<store::Store> open(VirtualLoop& loop, const std::string& file) {
  auto opened = store::Store::open(loop.runtime, file, edge::meta_schema());
  REQUIRE_MESSAGE(opened, (opened.ok() ? std::string() : opened.error().message));
  return std::move(*opened);
}

}  // namespace

CloudMachine::CloudMachine(VirtualLoop& loop, cloud_test::ScriptedApi& api)
    : sync_(loop.runtime, api), hub_(loop.runtime, api, sync_, {}), edge_(loop.runtime, api, hub_, sync_) {
  hub_.attach({&edge_, nullptr, nullptr, {&edge_}});
  hub_.start();
  sync_.start();
  edge_.start();
}

CloudMachine::~CloudMachine() {
  hub_.stop();
  edge_.stop();
  sync_.stop();
}

void CloudMachine::accept(const std::string& store_id, std::unique_ptr<net::WebSocket> socket) { hub_.open(kNode, 1, store_id, std::move(socket)); }

EdgeMachine::EdgeMachine(VirtualLoop& loop, SimNetwork& network, const std::string& file, std::uint64_t seed)
    : loop_(loop), network_(network), store_(open(loop, file)), link_(loop.runtime, {kNode, store_.id(), Milliseconds{15'000}, 30, 60, seed}) {
  loop_.store = &store_;
  meta_ = edge::MetaManager::create(loop.runtime, store_, kNode);
  meta_->set_link(&link_);
  meta_->set_pod_sink(this);
  link_.set_meta_sink(meta_.get());
  link_.add_observer(meta_.get());
  store_.on_loss([this] { link_.set_store_id(store_.id()); });
  link_.start([this](const std::string& store_id) { dial(store_id); });
  meta_->start();
  renew_lease();
  check_store();
}

EdgeMachine::~EdgeMachine() {
  self_.reset();
  meta_->set_pod_sink(nullptr);
  link_.stop();
  loop_.store = nullptr;
}

void EdgeMachine::later(Milliseconds wait, unique_function<void()> then) {
  loop_.after(wait, [weak = std::weak_ptr(self_), then = std::move(then)]() mutable {
    if (!weak.expired()) then();
  });
}

void EdgeMachine::dial(const std::string& store_id) {
  network_.dial(store_id, [this, weak = std::weak_ptr(self_)](Result<std::unique_ptr<net::WebSocket>> dialled) {
    if (weak.expired()) return;
    if (dialled) link_.opened(std::move(*dialled));
    else link_.down(dialled.error().message);
  });
}

void EdgeMachine::renew_lease() {
  if (link_.up()) meta_->update_lease(Bytes(R"({"metadata":{"name":"edge-1","namespace":"kube-node-lease"},"spec":{}})"), [](auto) {});
  later(kLeaseRenewal, [this] { renew_lease(); });
}

void EdgeMachine::check_store() {
  later(kStoreCheck, [this] {
    store_.check_next();
    check_store();
  });
}

void EdgeMachine::on_pod_set(std::vector<Bytes> pods) {
  for (Bytes& pod : pods) on_pod(std::move(pod));
}

void EdgeMachine::on_pod(Bytes text) {
  const json pod = json::parse(text.view());
  const std::string name = pod["metadata"].value("name", "");
  if (name.empty()) return;   // altered by hand
  pods_[name] = pod;
  for (const auto& volume : pod["spec"].value("volumes", json::array())) ask_config(volume["configMap"]["name"]);
  if (pod["metadata"].contains("deletionTimestamp")) end_pod(name, pod["metadata"]["uid"]);
}

void EdgeMachine::on_pod_removed(const std::string&, const std::string& name, const std::string& uid) {
  const auto found = pods_.find(name);
  if (found != pods_.end() && (uid.empty() || found->second["metadata"]["uid"] == uid)) pods_.erase(found);
}

bool EdgeMachine::needed(const std::string& config) const {
  for (const auto& [name, pod] : pods_)
    for (const auto& volume : pod["spec"].value("volumes", json::array()))
      if (volume["configMap"]["name"] == config) return true;
  return false;
}

// Until it is there: a pod that waits for its ConfigMap asks for ever.
void EdgeMachine::ask_config(const std::string& name) {
  if (!asked_.insert(name).second) return;
  meta_->get_config_map("default", name, [this, weak = std::weak_ptr(self_), name](edge::MetaResult<Bytes> got) {
    if (weak.expired()) return;
    later(got ? Milliseconds{60'000} : kAskAgain, [this, name] {   // as Edged's own look at its volumes
      asked_.erase(name);
      if (needed(name)) ask_config(name);
    });
  });
}

void EdgeMachine::end_pod(const std::string& name, const std::string& uid) {
  meta_->delete_pod("default", name, uid, [this, weak = std::weak_ptr(self_), name, uid](edge::MetaResult<Bytes> done) {
    if (weak.expired() || done) return;
    later(kAskAgain, [this, name, uid] {
      const auto found = pods_.find(name);
      if (found != pods_.end() && found->second["metadata"]["uid"] == uid) end_pod(name, uid);
    });
  });
}

}  // namespace kubeedge::model
