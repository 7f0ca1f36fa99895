#include "edge/bus/uploads.h"

#include <algorithm>

#include "base/text.h"
#include "runtime/timer.h"
#include "wire/message_codec.h"

namespace kubeedge::edge {
namespace {

constexpr std::size_t kMaxUnsentBytes = 64 * 1024;   // queued to the connection: what is behind it is not ours alone
constexpr Milliseconds kUnsentPoll{50};              // until there is room again
constexpr Milliseconds kDeleteRetry{1'000};
constexpr std::size_t kMaxDeletes = 500;             // rows in one write
constexpr std::int64_t kLoadRows = 1'000;            // read at once at the start
constexpr std::int64_t kClockWasSet = 1'700'000'000'000;   // before it (ms) a board had not been told the time: no age follows from that

const char* const kInsert = "INSERT INTO ke_uploads(id, topic, received, msg_id, payload) VALUES (?1, ?2, ?3, ?4, ?5)";
const char* const kDelete = "DELETE FROM ke_uploads WHERE id = ?1";

std::size_t cost(std::size_t topic, std::size_t payload) { return UploadQueue::kRowBytes + topic + payload; }

}  // namespace

std::string_view uploads_schema() {
  return "CREATE TABLE IF NOT EXISTS ke_uploads (id integer PRIMARY KEY, topic text NOT NULL, received integer NOT NULL, msg_id text NOT NULL, "
         "payload text NOT NULL);\n";
}

struct Uploads::Impl : std::enable_shared_from_this<Uploads::Impl> {
  Impl(const Runtime& r, store::Store& s, CloudLink& l, UploadLimits limits) : runtime(r), store(s), link(l), queue(limits), timer(r), delete_timer(r) {}

  Runtime runtime;
  store::Store& store;
  CloudLink& link;
  UploadQueue queue;
  runtime::Timer timer, delete_timer;
  Counters counted;
  std::vector<UploadQueue::Id> doomed;   // rows to delete
  std::uint64_t drops_told = 0;
  bool deleting = false, stopped = false;

  Milliseconds now() const { return runtime.clock().steady(); }

  // A callback that does nothing once we are gone.
  template <class F>
  auto safe(F f) {
    return [weak = weak_from_this(), f = std::move(f)](auto&&... args) mutable {
      const auto self = weak.lock();
      if (self && !self->stopped) f(*self, std::forward<decltype(args)>(args)...);
    };
  }

  Result<void> load() {
    std::int64_t last = -1;
    for (;;) {
      auto rows = store.query({"SELECT id, topic, received, length(CAST(payload AS BLOB)) FROM ke_uploads WHERE id > ?1 ORDER BY id LIMIT ?2", {last, kLoadRows}});
      if (!rows) return rows.error().in("ke_uploads");
      for (const auto& row : *rows) {
        last = store::integer(row.at(0));
        const std::string topic = store::text(row.at(1));
        const std::int64_t received = store::integer(row.at(2)), today = runtime.clock().unix_ms();
        const Milliseconds age{received >= kClockWasSet && received < today ? today - received : 0};
        queue.load(last, topic, cost(topic.size(), static_cast<std::size_t>(store::integer(row.at(3)))), age, now());
      }
      if (rows->size() < static_cast<std::size_t>(kLoadRows)) break;
    }
    if (queue.messages() > 0) base::log(runtime.log(), LogLevel::kInfo, "bus", "{} uploads of an earlier run wait for the cloud", queue.messages());
    return {};
  }

  void put(std::string topic, const Bytes& payload, unique_function<void(Result<void>)> done) {
    auto id = queue.admit(topic, cost(topic.size(), payload.size()), now());
    if (!id) return done(std::move(id).error());
    tell_drops();
    // What makes room goes with what takes it: the file stays within its limit.
    const auto removed = queue.take_removed();
    std::vector<store::Statement> batch;
    for (const auto old : removed) batch.push_back({kDelete, {old}});
    batch.push_back({kInsert, {*id, std::move(topic), runtime.clock().unix_ms(), wire::new_message_id().str(), payload.str()}});
    store.write(std::move(batch), safe([id = *id, removed, done = std::move(done)](Impl& self, Result<void> result) mutable {
      if (result) {
        ++self.counted.stored;
        self.queue.stored(id);
      } else {
        self.queue.not_stored(id);
        self.doomed.insert(self.doomed.end(), removed.begin(), removed.end());
      }
      done(std::move(result));
      self.run();
    }));
  }

  void tell_drops() {
    if (queue.dropped() == drops_told) return;
    if (drops_told / 1000 != queue.dropped() / 1000 || drops_told == 0)
      base::log(runtime.log(), LogLevel::kWarning, "bus", "the room for uploads is full and the cloud takes none: the oldest are dropped ({} so far)", queue.dropped());
    drops_told = queue.dropped();
  }

  void expire() {
    const std::uint64_t before = queue.expired();
    queue.expire(now());
    if (queue.expired() != before)
      base::log(runtime.log(), LogLevel::kWarning, "bus", "{} uploads dropped: older than the limit, and neither the cloud nor their target took them", queue.expired() - before);
  }

  void run() {
    expire();
    // What may not even have left is not taken yet.
    if (link.unsent_bytes() == 0) queue.on_time(now());
    bool full = false;
    while (!full) {
      const auto id = queue.next(now());
      if (!id) break;
      full = link.unsent_bytes() > kMaxUnsentBytes;
      if (!full) send(*id);
    }
    delete_rows();
    arm(full);
  }

  void arm(bool full) {
    auto next = queue.next_deadline();
    if (full) next = now() + kUnsentPoll;
    if (!next) return timer.cancel();
    timer.start(std::max(kUnsentPoll, *next - now()), safe([](Impl& self) { self.run(); }));
  }

  void send(UploadQueue::Id id) {
    auto rows = store.query({"SELECT topic, received, msg_id, payload FROM ke_uploads WHERE id = ?1", {id}});
    // A file is trusted once: text that is none would end the link, again and again.
    const bool readable = rows && !rows->empty() && base::is_utf8(store::text(rows->front().at(0))) && base::is_utf8(store::text(rows->front().at(3)));
    if (!readable) {
      base::log(runtime.log(), LogLevel::kError, "bus", "upload {} is lost: {}", id, rows ? "its row is gone or damaged" : rows.error().message);
      return queue.forget(id);
    }
    const auto& row = rows->front();
    Message message;
    message.id = MessageId(store::text(row.at(2)));
    message.timestamp_ms = store::integer(row.at(1));
    message.source = "bus";
    message.group = "user";
    message.operation = "upload";
    message.resource = store::text(row.at(0));
    message.content = wire::json_string(store::text(row.at(3)));
    queue.sent(id, message.id, now());
    ++counted.sent;
    link.send(std::move(message));
  }

  void delete_rows() {
    const auto removed = queue.take_removed();
    doomed.insert(doomed.end(), removed.begin(), removed.end());
    if (doomed.empty() || deleting) return;
    deleting = true;
    const auto count = static_cast<std::ptrdiff_t>(std::min(doomed.size(), kMaxDeletes));
    std::vector<UploadQueue::Id> going(doomed.begin(), doomed.begin() + count);
    doomed.erase(doomed.begin(), doomed.begin() + count);
    std::vector<store::Statement> batch;
    for (const auto id : going) batch.push_back({kDelete, {id}});
    store.write(std::move(batch), safe([going = std::move(going)](Impl& self, const Result<void>& result) {
      self.deleting = false;
      if (result) return self.delete_rows();
      // A row that stays is sent again after a restart, which is allowed and costs: once more when the disk takes it.
      self.doomed.insert(self.doomed.end(), going.begin(), going.end());
      self.delete_timer.start(kDeleteRetry, self.safe([](Impl& again) { again.delete_rows(); }));
    }));
  }
};

Uploads::Uploads(const Runtime& runtime, store::Store& store, CloudLink& link, UploadLimits limits)
    : impl_(std::make_shared<Impl>(runtime, store, link, limits)) {}
Uploads::~Uploads() { stop(); }

Result<void> Uploads::start() {
  if (Result<void> loaded = impl_->load(); !loaded) return loaded;
  on_link(impl_->link.up());
  return {};
}

void Uploads::stop() {
  impl_->stopped = true;
  impl_->timer.cancel();
  impl_->delete_timer.cancel();
}

void Uploads::put(std::string topic, const Bytes& payload, unique_function<void(Result<void>)> done) {
  impl_->put(std::move(topic), payload, std::move(done));
}

void Uploads::on_link(bool up) {
  if (impl_->stopped) return;
  impl_->queue.on_link(up, impl_->now());
  impl_->run();
}

void Uploads::on_confirms() { impl_->queue.confirms(); }

void Uploads::on_answer(const Message& message) {
  const bool taken = message.operation == "response";
  if (impl_->stopped || !impl_->queue.answered(message.parent_id, taken, impl_->now())) return;
  ++(taken ? impl_->counted.confirmed : impl_->counted.refused);
  impl_->run();
}

Uploads::Counters Uploads::counters() const {
  Counters out = impl_->counted;
  out.dropped = impl_->queue.dropped();
  out.expired = impl_->queue.expired();
  return out;
}

std::size_t Uploads::waiting() const { return impl_->queue.messages(); }

void Uploads::collect(base::MetricsPage& page) const {
  const Counters c = counters();
  page.counter("kubeedge_eventbus_uploads_total", "Uploads of MQTT apps that were stored", c.stored);
  page.counter("kubeedge_eventbus_sent_uploads_total", "Uploads on the wire, those sent again included", c.sent);
  page.counter("kubeedge_eventbus_confirmed_uploads_total", "Uploads that the cloud has confirmed", c.confirmed);
  page.counter("kubeedge_eventbus_postponed_uploads_total", "Uploads that the cloud wanted later", c.refused);
  page.counter("kubeedge_eventbus_queue_drops_total", "Uploads let go of, by policy: the oldest, where their room was full", c.dropped, {{"policy", "oldest"}});
  page.counter("kubeedge_eventbus_queue_drops_total", "", c.expired, {{"policy", "age"}});
  page.gauge("kubeedge_eventbus_waiting_uploads", "Uploads that the cloud has not confirmed", static_cast<std::int64_t>(impl_->queue.messages()));
  page.gauge("kubeedge_eventbus_postponed_topics", "Topics whose uploads wait because their target did not take one", static_cast<std::int64_t>(impl_->queue.parked_topics()));
  page.gauge("kubeedge_eventbus_waiting_upload_bytes", "What they take in the store", static_cast<std::int64_t>(impl_->queue.bytes()));
}

}  // namespace kubeedge::edge
