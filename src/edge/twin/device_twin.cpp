#include "edge/twin/device_twin.h"

#include <array>
#include <deque>

#include "base/json.h"
#include "base/text.h"
#include "edge/twin/twin_engine.h"
#include "runtime/timer.h"

namespace kubeedge::edge {
namespace {

constexpr std::size_t kMaxDeferred = 10'000;
// After a broker's return its other clients come back a little later than we do, and deltas are not retained (C54).
constexpr std::array kDeltaRepeats{Milliseconds{2'000}, Milliseconds{10'000}, Milliseconds{60'000}};

// The JSON text of a content that may be an object or a string holding one (hub-protocol 2).
std::string inner_text(const Message& message) {
  const std::string_view raw = message.content.view();
  if (raw.empty() || raw.front() != '"') return std::string(raw);
  const auto json = base::parse_json(raw);
  return json.is_string() ? json.get<std::string>() : std::string();
}

Result<std::vector<std::vector<store::Row>>> read_tables(store::Store& store) {
  std::vector<std::vector<store::Row>> tables;
  for (const auto& query : TwinEngine::load_queries()) {
    auto rows = store.query(query);
    if (!rows) return rows.error().in("device twin tables");
    tables.push_back(std::move(*rows));
  }
  return tables;
}

}  // namespace

std::string_view device_twin_schema() { return TwinEngine::schema(); }

struct DeviceTwin::Impl : std::enable_shared_from_this<DeviceTwin::Impl> {
  using After = unique_function<void(const Effects&, bool ok)>;

  // Effects wait here in their order: what follows an uncommitted change may tell of it only after its commit.
  struct Pending {
    Effects effects;
    After after;
    bool writes = false;
    bool done = false;
    bool ok = true;
  };

  Impl(const Runtime& runtime_in, store::Store& store_in, CloudLink& link_in, TwinEngineOptions options)
      : runtime(runtime_in), store(store_in), link(link_in), engine(std::move(options)), timer(runtime_in), repeat(runtime_in) {}

  TwinTime now() const { return {runtime.clock().unix_ms(), runtime.clock().steady().count()}; }

  void submit(Effects effects, After after = nullptr) {
    for (const auto& line : effects.warnings) base::log(runtime.log(), LogLevel::kWarning, "twin", "{}", line);
    auto entry = std::make_shared<Pending>();
    entry->effects = std::move(effects);
    entry->after = std::move(after);
    entry->writes = !entry->effects.statements.empty();
    queue.push_back(entry);
    if (!entry->writes) {
      entry->done = true;
      return pump();
    }
    store.write(std::move(entry->effects.statements), [weak = weak_from_this(), entry](Result<void> result) {
      const auto self = weak.lock();
      if (!self) return;
      entry->done = true;
      entry->ok = result.ok();
      if (!result.ok()) {
        base::log(self->runtime.log(), LogLevel::kError, "twin", "a change was not stored: {}", result.error().message);
        self->reload = true;
      }
      self->pump();
    });
  }

  // A change of the twins. While memory is ahead of the store (a write failed) it waits for the reload: what is computed
  // from an unstored value would be acknowledged and lost.
  void input(unique_function<void()> change) {
    if (!reload) return change();
    if (deferred.size() >= kMaxDeferred)
      return base::log(runtime.log(), LogLevel::kError, "twin", "the store takes nothing and {} changes wait: one is dropped", kMaxDeferred);
    deferred.push_back(std::move(change));
  }

  void pump() {
    if (pumping) return;   // a handler reported from inside: the outer loop goes on
    pumping = true;
    const auto self = shared_from_this();
    while (!queue.empty() && queue.front()->done) {
      const auto entry = queue.front();
      queue.pop_front();
      deliver(*entry);
    }
    pumping = false;
    // Memory is ahead of the store after a failed write; once nothing is under way the store is the truth.
    if (reload && queue.empty()) {
      auto tables = read_tables(store);
      if (tables) {
        reload = false;
        engine.load(*tables);
        engine.on_link(link_up, now());
      } else {
        base::log(runtime.log(), LogLevel::kError, "twin", "{}", tables.error().message);
      }
    }
    drain_cloud();
    arm();
    if (draining) return;   // a change below that writes nothing comes back here at once
    draining = true;
    while (!reload && !deferred.empty()) {   // one may fail again: the rest waits on
      auto change = std::move(deferred.front());
      deferred.pop_front();
      change();
    }
    draining = false;
  }

  void deliver(Pending& entry) {
    const Effects& effects = entry.effects;
    // Equal to a value that was not stored after all.
    if (reload && !entry.writes && !effects.on_failure.empty()) entry.ok = false;
    for (const auto& publication : entry.ok ? effects.publications : effects.on_failure)
      if (output) output->publish(publication.topic, publication.payload);
    if (entry.ok) {
      for (const auto& note : effects.deltas)
        for (std::size_t i = 0; i < handlers.size(); ++i) handlers[i](note.device, note.delta);   // a handler may add one
      engine.committed(effects.marks, now());
    }
    drain_cloud();
    if (entry.after) entry.after(effects, entry.ok);
  }

  void drain_cloud() {
    for (auto& message : engine.take_messages()) link.send(std::move(message));
  }

  void arm() {
    const std::optional<std::int64_t> wanted = reload ? TwinEngine::kTickMs : engine.tick_in_ms();
    if (!wanted) return;
    const std::int64_t due = now().steady_ms + *wanted;
    if (timer.running() && armed_for <= due) return;
    armed_for = due;
    timer.start(Milliseconds{*wanted}, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      self->submit(self->engine.tick(self->now()));
    });
  }

  // Those that still stand; an app that has done as it was told hears nothing.
  void repeat_deltas(std::size_t from) {
    submit(engine.all_deltas(now(), false));
    if (from == kDeltaRepeats.size()) return;
    repeat.start(kDeltaRepeats[from], [weak = weak_from_this(), from] {
      if (const auto self = weak.lock()) self->repeat_deltas(from + 1);
    });
  }

  Runtime runtime;
  store::Store& store;
  CloudLink& link;
  TwinEngine engine;
  runtime::Timer timer, repeat;
  TwinOutput* output = nullptr;
  std::deque<unique_function<void(const DeviceId&, const TwinDelta&)>> handlers;   // deque: adding moves none
  std::deque<std::shared_ptr<Pending>> queue;   // bounded by Store::kMaxQueuedWrites
  std::deque<unique_function<void()>> deferred;
  bool pumping = false, draining = false;
  std::int64_t armed_for = 0;   // steady ms, when the timer runs
  bool reload = false;
  bool started = false;
  bool link_up = false;
};

Result<std::unique_ptr<DeviceTwin>> DeviceTwin::create(const Runtime& runtime, store::Store& store, CloudLink& link,
                                                       DeviceTwinOptions options) {
  auto tables = read_tables(store);
  if (!tables) return tables.error();
  TwinEngineOptions engine_options{options.node.str(), options.strict, [] { return base::uuid4(); }};
  auto impl = std::make_shared<Impl>(runtime, store, link, std::move(engine_options));
  impl->engine.load(*tables);
  return std::unique_ptr<DeviceTwin>(new DeviceTwin(std::move(impl)));
}

DeviceTwin::DeviceTwin(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

DeviceTwin::~DeviceTwin() {
  impl_->output = nullptr;
  impl_->handlers.clear();
}

void DeviceTwin::set_output(TwinOutput* output) { impl_->output = output; }

void DeviceTwin::start() {
  if (impl_->started) return;
  impl_->started = true;
  if (impl_->store.lost_rows()) impl_->submit(impl_->engine.recover());
  impl_->submit(impl_->engine.all_deltas(impl_->now(), true));
  if (impl_->link.up()) on_link(true);
}

void DeviceTwin::on_mqtt(std::string_view topic, Bytes payload) {
  impl_->input([self = impl_.get(), topic = std::string(topic), payload = std::move(payload)] {
    self->submit(self->engine.on_mqtt(topic, payload.view(), self->now()));
  });
}

void DeviceTwin::on_broker_up() {
  if (impl_->started) impl_->repeat_deltas(0);
}

void DeviceTwin::on_device(Bytes device) {
  impl_->input([self = impl_.get(), device = std::move(device)] { self->submit(self->engine.on_device(device.view(), self->now())); });
}

void DeviceTwin::on_device_removed(const DeviceId& id) {
  impl_->input([self = impl_.get(), id] { self->submit(self->engine.on_device_removed(id, self->now())); });
}

// Types of twins come from the apps (design: device rules); models matter to mappers, which come with DMI.
void DeviceTwin::on_device_model(Bytes) {}

void DeviceTwin::on_message(Message message) {
  if (!message.parent_id.empty()) {
    if (message.operation == "error") return;   // not confirmed: sent again later
    impl_->engine.on_confirm(message.parent_id, impl_->now());
    impl_->drain_cloud();
    impl_->arm();
    return;
  }
  const auto part = base::split(message.resource, '/');
  if (message.resource.find("membership") != std::string::npos)
    return impl_->input([self = impl_.get(), whole = message.resource.ends_with("membership/detail"), text = inner_text(message)] {
      self->submit(self->engine.on_membership(text, whole, self->now()));
    });
  if (part.size() == 5 && part[0] == "device" && part[3] == "twin" && part[4] == "cloud_updated")
    return impl_->input([self = impl_.get(), id = DeviceId{part[1], part[2]}, text = inner_text(message)] {
      self->submit(self->engine.on_cloud_updated(id, text, self->now()));
    });
  base::log(impl_->runtime.log(), LogLevel::kWarning, "twin", "message {} {} from {} is not known: dropped", message.operation,
            message.resource, message.source);
}

void DeviceTwin::on_link(bool up) {
  if (impl_->link_up == up) return;
  impl_->link_up = up;
  impl_->engine.on_link(up, impl_->now());
  impl_->drain_cloud();
  impl_->arm();
}

void DeviceTwin::on_desired(unique_function<void(const DeviceId&, const TwinDelta&)> handler) {
  impl_->handlers.push_back(std::move(handler));
  // Registered late: it still gets each standing delta once, as the others did at start.
  if (!impl_->started) return;
  const Effects standing = impl_->engine.all_deltas(impl_->now(), true);
  for (const auto& note : standing.deltas) impl_->handlers.back()(note.device, note.delta);
}

void DeviceTwin::report(const DeviceId& device, const std::map<std::string, std::string>& values,
                        unique_function<void(Result<TwinResult>)> done) {
  impl_->input([self = impl_.get(), device, values, done = std::move(done)]() mutable {
    self->submit(self->engine.report(device, values, self->now()), [done = std::move(done)](const Effects& effects, bool ok) mutable {
      if (!done) return;
      if (!ok) return done(Error{Errc::kIo, "the report could not be stored"});
      if (effects.error) return done(*effects.error);
      done(effects.result);
    });
  });
}

Result<TwinResult> DeviceTwin::get(const DeviceId& device) const { return impl_->engine.get(device); }

void DeviceTwin::set_state(const DeviceId& device, std::string state, unique_function<void(Result<void>)> done) {
  impl_->input([self = impl_.get(), device, state = std::move(state), done = std::move(done)]() mutable {
    self->submit(self->engine.set_state(device, state, self->now()), [done = std::move(done)](const Effects& effects, bool ok) mutable {
      if (!done) return;
      if (!ok) return done(Error{Errc::kIo, "the state could not be stored"});
      if (effects.error) return done(*effects.error);
      done({});
    });
  });
}

}  // namespace kubeedge::edge
