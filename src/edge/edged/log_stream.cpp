#include "edge/edged/log_stream.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/text.h"
#include "edge/edged/log_file.h"
#include "edge/edged/log_filter.h"

namespace kubeedge::edged {

struct LogStream::Impl final : LogStream::Ender, std::enable_shared_from_this<LogStream::Impl> {
  Impl(const Runtime& r, std::shared_ptr<LogWatch> w, Source s, const LogQuery& q, std::shared_ptr<edge::NodeAnswer> a)
      : runtime(r), watch(std::move(w)), source(std::move(s)), query(q), filter(q), answer(std::move(a)), running(source.running) {}

  // What the blocking thread works on; nothing else touches it meanwhile.
  struct Work {
    std::unique_ptr<LogFile> file;
    bool sought = false;
    bool follow = false;
    std::optional<Error> failed;
    LogFile::Piece piece;
  };

  Runtime runtime;
  std::shared_ptr<LogWatch> watch;
  Source source;
  LogQuery query;
  LogFilter filter;
  std::shared_ptr<edge::NodeAnswer> answer;
  std::shared_ptr<void> watching;
  std::shared_ptr<Work> work = std::make_shared<Work>();
  std::string pending;             // filtered, not sent yet
  bool running;                    // the container may still write
  bool begun = false, busy = false, changed = false, last_look = false, at_end = false, over = false;

  const std::string& container_id() const override { return source.container_id; }
  void container_ended() override {
    if (!std::exchange(running, false)) return;
    pump_again();
  }

  void pump_again() {
    changed = true;
    pump();
  }

  // Sends what there is room for, then reads on.
  void pump() {
    if (over || busy) return;
    while (!pending.empty()) {
      const std::size_t now = std::min(pending.size(), answer->room());
      if (now == 0) return;
      const Bytes part(pending.substr(0, now));
      pending.erase(0, now);
      answer->data(part);
      if (over) return;
    }
    if (filter.full()) return end();
    if (at_end) {
      if (!query.follow || last_look) return end();
      if (!changed && running) return;
      last_look = !running;        // it ended before this look: what is read now is all
    }
    changed = false;
    read();
  }

  void read() {
    busy = true;
    work->follow = query.follow;
    runtime.run_blocking([work = work, path = source.file, tail = query.tail] { step(*work, path, tail); },
                         [weak = weak_from_this()] {
                           if (const auto self = weak.lock()) self->have_read();
                         });
  }

  static void step(Work& work, const std::string& path, const std::optional<std::int64_t>& tail) {
    work.piece = {};
    if (!work.file) {
      auto opened = LogFile::open(path);
      if (!opened) {
        work.failed = std::move(opened).error();
        return;
      }
      work.file = std::move(*opened);
    }
    if (!work.sought) {
      work.sought = !tail || work.file->seek_tail(*tail);
      return;
    }
    auto piece = work.file->read(work.follow);
    if (!piece) {
      work.failed = std::move(piece).error();
    } else {
      work.piece = std::move(*piece);
    }
  }

  void have_read() {
    busy = false;
    if (over) return;
    if (work->failed) return fail();
    if (!begun) {
      begun = true;
      answer->head(200);
      if (query.follow && running) watch_folder();
      if (over) return;
    }
    LogFile::Piece& piece = work->piece;
    if (piece.rotated) filter.finish(pending);
    filter.feed(piece.bytes, pending);
    at_end = piece.end;
    if (at_end && (!query.follow || last_look)) filter.finish(pending);
    pump();
  }

  void watch_folder() {
    watching = watch->watch(source.file.substr(0, source.file.rfind('/')), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->pump_again();
    });
    changed = true;   // what came between the open and now
  }

  void fail() {
    over = true;
    base::log(runtime.log(), LogLevel::kWarning, "edged", "log of container {}: {}", source.container_id, work->failed->message);
    if (begun) return answer->end();
    answer->refuse(work->failed->code == Errc::kNotFound ? 404 : 500, "the log is not there: " + work->failed->message);
  }

  void end() {
    over = true;
    watching.reset();
    answer->end();
  }
};

LogStream::LogStream(const Runtime& runtime, std::shared_ptr<LogWatch> watch, Source source, const LogQuery& query, std::shared_ptr<edge::NodeAnswer> answer)
    : impl_(std::make_shared<Impl>(runtime, std::move(watch), std::move(source), query, std::move(answer))) {}
LogStream::~LogStream() {
  impl_->over = true;
  impl_->watching.reset();
}
void LogStream::start() { impl_->read(); }
std::weak_ptr<LogStream::Ender> LogStream::ender() const { return impl_; }
void LogStream::on_room() { impl_->pump(); }

}  // namespace kubeedge::edged
