#include "edge/node/node_agent.h"

#include <algorithm>

#include "base/json.h"
#include "base/json_member.h"
#include "base/text.h"
#include "runtime/timer.h"

namespace kubeedge::edge {
namespace {

using Json = nlohmann::json;

}  // namespace

struct NodeAgent::Impl : std::enable_shared_from_this<NodeAgent::Impl> {
  Impl(const Runtime& r, MetaClient& m, NodeOptions o, std::function<RuntimeState()> state, std::function<std::string()> ip)
      : runtime(r), meta(m), options(std::move(o)), runtime_state(std::move(state)), local_ip(std::move(ip)), retry(r), status_timer(r), lease_timer(r),
        retry_after(options.retry_first) {}

  Runtime runtime;
  MetaClient& meta;
  NodeOptions options;
  std::function<RuntimeState()> runtime_state;
  std::function<std::string()> local_ip;
  runtime::Timer retry, status_timer, lease_timer;
  unique_function<void()> on_ready;
  Milliseconds retry_after;
  Milliseconds last_report{0};
  bool up = false, registered = false, status_busy = false, lease_busy = false, status_again = false;
  Json lease;          // as the cloud has it; null = not known

  std::string node_key() const { return "null/node/" + options.identity.name; }
  std::int64_t now_s() const { return runtime.clock().unix_ms() / 1000; }

  NodeIdentity identity() const {
    NodeIdentity out = options.identity;
    if (out.address.empty()) out.address = local_ip();
    return out;
  }

  void log(LogLevel level, std::string_view text) { base::log(runtime.log(), level, "node", "{}: {}", options.identity.name, text); }

  void link(bool is_up) {
    up = is_up;
    retry.cancel();
    if (!up) {
      status_timer.cancel();
      lease_timer.cancel();
      // Answers that were under way will not come: their callbacks say so, and find `up` false.
      return;
    }
    retry_after = options.retry_first;
    if (registered) {
      begin();
    } else {
      do_register();
    }
  }

  // ---- registration

  void do_register() {
    const Json node = new_node(identity(), read_node_facts(options.data_dir), runtime_state(), now_s());
    meta.create_node(Bytes(base::dump_json(node)), [weak = weak_from_this()](MetaResult<Bytes> answer) {
      const auto self = weak.lock();
      if (!self || !self->up) return;
      if (answer) return self->accepted();
      if (answer.error.reason == "AlreadyExists") return self->known_already();
      self->again("cannot register: " + answer.error.message);
    });
  }

  // The name is known in the cloud. The Node object comes by a push of its own after the connect (hub-protocol 5.4).
  void known_already() {
    const auto stored = meta.local(node_key());
    if (!stored) return again("");
    const Json node = base::parse_json(*stored);
    if (!node.is_object()) return again("the stored node is damaged");
    const NodeIdentity me = identity();
    Json wanted = node_labels(me, read_node_facts(options.data_dir));
    const Json& labels = base::member(base::member(node, "metadata"), "labels");
    const bool same = std::all_of(wanted.items().begin(), wanted.items().end(), [&](const auto& item) { return base::member(labels, item.key().c_str()) == item.value(); });
    if (same) return accepted();
    const Json update = {{"apiVersion", "v1"}, {"kind", "Node"}, {"metadata", {{"name", me.name}, {"labels", wanted}, {"annotations", {{"volumes.kubernetes.io/controller-managed-attach-detach", "true"}}}}}};
    meta.update_node(Bytes(base::dump_json(update)), [weak = weak_from_this()](MetaResult<Bytes> answer) {
      const auto self = weak.lock();
      if (!self || !self->up) return;
      answer ? self->accepted() : self->again("cannot update labels: " + answer.error.message);
    });
  }

  void again(const std::string& why) {
    if (!why.empty()) log(LogLevel::kWarning, why);
    retry.start(retry_after, [this] { do_register(); });
    retry_after = std::min(retry_after * 2, options.retry_last);
  }

  void accepted() {
    registered = true;
    retry_after = options.retry_first;
    log(LogLevel::kInfo, "registered");
    begin();
  }

  void begin() {
    last_report = Milliseconds{0};
    report_status();
    renew_lease();
  }

  // ---- status

  void report_status() {
    if (!up || !registered) return;
    if (status_busy) {
      status_again = true;
      return;
    }
    const auto stored = meta.local(node_key());
    const Json node = stored ? base::parse_json(*stored) : Json();
    const Json before = base::member(node, "status").is_object() ? base::member(node, "status") : Json::object();
    const Json after = node_status(identity(), read_node_facts(options.data_dir), runtime_state(), before, now_s());
    const Milliseconds now = runtime.clock().steady();
    const bool due = last_report.count() == 0 || now - last_report >= options.status_report;
    const auto patch = node_patch(comparable(before, after), after, due);
    if (!patch) return schedule_status();
    status_busy = true;
    meta.patch_node_status(*patch, [weak = weak_from_this(), now](MetaResult<Bytes> answer) {
      const auto self = weak.lock();
      if (!self) return;
      self->status_busy = false;
      bool compare_again = std::exchange(self->status_again, false);
      if (answer) {
        // What the cloud wrote during a silence (Ready is Unknown) shows in the answer to the first report after it.
        compare_again |= self->last_report.count() == 0;
        self->last_report = now;
        if (auto ready = std::move(self->on_ready)) {
          self->on_ready = nullptr;
          ready();
        }
      } else if (self->up) {
        self->log(LogLevel::kWarning, "status was not taken: " + answer.error.message);
        if (answer.error.reason == "NotFound") {  // deleted in the cloud: it is registered again, as a kubelet's would be after a restart
          self->registered = false;
          self->lease = Json();
          return self->again("the node is gone from the cloud");
        }
      }
      if (compare_again) return self->report_status();
      self->schedule_status();
    });
  }

  // Free disk moves all the time: capacity and allocatable count as changed only when a kubelet would say so. What we do
  // not own (daemonEndpoints, images, volumes) never stands in `after` and so is never patched.
  static Json comparable(const Json& before, const Json& after) {
    Json out = Json::object();
    for (const auto& [key, value] : after.items())
      if (before.contains(key)) out[key] = before[key];
    return out;
  }

  void schedule_status() {
    if (up) status_timer.start(options.status_update, [this] { report_status(); });
  }

  // ---- lease

  void renew_lease() {
    if (!up || !registered || lease_busy) return;
    lease_busy = true;
    if (lease.is_null()) {
      meta.get_lease([weak = weak_from_this()](MetaResult<Bytes> answer) {
        if (const auto self = weak.lock()) self->lease_found(std::move(answer));
      });
      return;
    }
    lease["spec"]["renewTime"] = base::rfc3339_micro(runtime.clock().unix_ms());
    meta.update_lease(Bytes(base::dump_json(lease)), [weak = weak_from_this()](MetaResult<Bytes> answer) {
      if (const auto self = weak.lock()) self->lease_written(std::move(answer));
    });
  }

  void lease_found(MetaResult<Bytes> answer) {
    lease_busy = false;
    if (!up) return;
    if (answer) {
      lease = base::parse_json(*answer.value);
      if (lease.is_object()) {
        if (!base::member(lease, "spec").is_object()) lease["spec"] = new_lease()["spec"];  // made by hand, without one
        return renew_lease();
      }
      lease = Json();
    }
    if (answer || answer.error.reason != "NotFound") return schedule_lease();
    lease_busy = true;
    meta.create_lease(Bytes(base::dump_json(new_lease())), [weak = weak_from_this()](MetaResult<Bytes> made) {
      if (const auto self = weak.lock()) self->lease_written(std::move(made));
    });
  }

  Json new_lease() const {
    Json out = {{"apiVersion", "coordination.k8s.io/v1"}, {"kind", "Lease"},
                {"metadata", {{"name", options.identity.name}, {"namespace", "kube-node-lease"}, {"creationTimestamp", nullptr}}},
                {"spec", {{"holderIdentity", options.identity.name}, {"leaseDurationSeconds", options.lease_duration_s},
                          {"renewTime", base::rfc3339_micro(runtime.clock().unix_ms())}}}};
    const auto stored = meta.local(node_key());
    const Json node = stored ? base::parse_json(*stored) : Json();
    if (const std::string uid = base::text_of(base::member(node, "metadata"), "uid"); !uid.empty()) {
      out["metadata"]["ownerReferences"] = Json::array({{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", options.identity.name}, {"uid", uid}}});
    }
    return out;
  }

  void lease_written(MetaResult<Bytes> answer) {
    lease_busy = false;
    if (!up) return;
    if (answer) {
      lease = base::parse_json(*answer.value);
      if (!base::member(lease, "spec").is_object()) lease = Json();
    } else {
      log(LogLevel::kWarning, "lease was not renewed: " + answer.error.message);
      lease = Json();  // read it again: another writer, or it is gone
    }
    schedule_lease();
  }

  void schedule_lease() {
    lease_timer.start(Milliseconds{options.lease_duration_s * 1000 / 4}, [this] { renew_lease(); });
  }
};

NodeAgent::NodeAgent(const Runtime& runtime, MetaClient& meta, NodeOptions options, std::function<RuntimeState()> runtime_state, std::function<std::string()> local_ip)
    : impl_(std::make_shared<Impl>(runtime, meta, std::move(options), std::move(runtime_state), std::move(local_ip))) {}

NodeAgent::~NodeAgent() { impl_->link(false); }
void NodeAgent::on_link(bool up) { impl_->link(up); }
void NodeAgent::status_changed() { impl_->report_status(); }
void NodeAgent::on_ready(unique_function<void()> handler) { impl_->on_ready = std::move(handler); }

}  // namespace kubeedge::edge
