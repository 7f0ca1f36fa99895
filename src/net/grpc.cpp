#include "net/grpc.h"

#include <array>
#include <map>
#include <vector>

#include <asio/local/stream_protocol.hpp>
#include <asio/write.hpp>
#include <nghttp2/nghttp2.h>

#include "base/text.h"
#include "runtime/timer.h"

namespace kubeedge::net {
namespace {

Errc code_of(std::int64_t status) {
  switch (status) {
    case 1: return Errc::kCancelled;
    case 3: case 9: case 11: return Errc::kInvalidArgument;
    case 4: return Errc::kTimeout;
    case 5: return Errc::kNotFound;
    case 6: return Errc::kAlreadyExists;
    case 7: return Errc::kPermissionDenied;
    case 8: return Errc::kLimitExceeded;
    case 10: return Errc::kConflict;
    case 12: return Errc::kUnimplemented;
    case 14: return Errc::kUnavailable;
    case 16: return Errc::kUnauthenticated;
    default: return Errc::kInternal;
  }
}

nghttp2_nv header(std::string_view name, std::string_view value) {
  auto bytes = [](std::string_view text) {
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));  // nghttp2 copies, it never writes
  };
  return nghttp2_nv{bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

struct GrpcChannel::Impl : std::enable_shared_from_this<GrpcChannel::Impl> {
  struct Call {
    std::string path, body, answer, status, message;
    std::size_t sent = 0;
    unique_function<void(Result<std::string>)> done;
    std::unique_ptr<runtime::Timer> timer;
    std::int32_t stream = 0;
    Milliseconds deadline{};
    bool too_big = false;
  };

  Impl(const Runtime& r, std::string p) : runtime(r), path(std::move(p)), socket(r.executor()) {}
  ~Impl() { nghttp2_session_del(session); }

  Runtime runtime;
  std::string path;
  asio::local::stream_protocol::socket socket;
  nghttp2_session* session = nullptr;
  bool connected = false, connecting = false, writing = false, closed = false;
  std::uint64_t generation = 0, next_id = 1;
  std::map<std::uint64_t, std::unique_ptr<Call>> calls;
  std::map<std::int32_t, std::uint64_t> by_stream;
  std::array<std::uint8_t, 32 * 1024> input{};
  std::string output;

  void call(std::unique_ptr<Call> c) {
    if (calls.size() >= kMaxCalls) {
      runtime::post(runtime, [c = std::move(c)] {
        c->done(base::error(Errc::kLimitExceeded, "gRPC {}: more than {} calls at once", c->path, kMaxCalls));
      });
      return;
    }
    const std::uint64_t id = next_id++;
    c->timer = std::make_unique<runtime::Timer>(runtime);
    c->timer->start(c->deadline, [weak = weak_from_this(), id] {
      auto self = weak.lock();
      if (!self) return;
      auto it = self->calls.find(id);
      if (it == self->calls.end()) return;
      if (it->second->stream != 0 && self->session != nullptr)
        nghttp2_submit_rst_stream(self->session, NGHTTP2_FLAG_NONE, it->second->stream, NGHTTP2_CANCEL);
      self->finish(id, base::error(Errc::kTimeout, "gRPC {} on {}: no answer in {} ms", it->second->path, self->path,
                                   it->second->deadline.count()));
      self->flush();
    });
    calls.emplace(id, std::move(c));
    if (connected) {
      submit(id);
      flush();
    } else {
      connect();
    }
  }

  void finish(std::uint64_t id, Result<std::string> result) {
    auto it = calls.find(id);
    if (it == calls.end()) return;
    auto c = std::move(it->second);
    calls.erase(it);
    by_stream.erase(c->stream);
    runtime::post(runtime, [weak = weak_from_this(), c = std::move(c), result = std::move(result)]() mutable {
      if (auto self = weak.lock(); self && !self->closed) c->done(std::move(result));
    });
  }

  void connect() {
    if (connecting) return;
    connecting = true;
    socket = asio::local::stream_protocol::socket(runtime.executor());
    const auto mine = ++generation;
    if (path.size() > 107) {  // sun_path; asio would throw
      runtime::post(runtime, [self = shared_from_this()] { self->lost("the path is longer than 107 characters"); });
      return;
    }
    socket.async_connect(asio::local::stream_protocol::endpoint(path), [self = shared_from_this(), mine](std::error_code e) {
      if (mine != self->generation || self->closed) return;
      self->connecting = false;
      if (e) return self->lost(e.message());
      self->connected = true;
      self->open_session();
      std::vector<std::uint64_t> waiting;
      for (auto& [id, c] : self->calls) waiting.push_back(id);
      for (auto id : waiting) self->submit(id);
      self->flush();
      self->read();
    });
  }

  void lost(const std::string& why) {
    ++generation;
    connected = connecting = writing = false;
    std::error_code ignored;
    socket.close(ignored);
    nghttp2_session_del(session);
    session = nullptr;
    output.clear();
    by_stream.clear();
    while (!calls.empty()) {
      auto& [id, c] = *calls.begin();
      finish(id, base::error(Errc::kUnavailable, "gRPC {}: socket {}: {}", c->path, path, why));
    }
  }

  void open_session() {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, size_t name_size, const std::uint8_t* value,
                      size_t value_size, std::uint8_t, void* user) {
          auto* c = static_cast<Impl*>(user)->find(frame->hd.stream_id);
          const std::string_view key(reinterpret_cast<const char*>(name), name_size);
          if (c != nullptr && key == "grpc-status") c->status.assign(reinterpret_cast<const char*>(value), value_size);
          if (c != nullptr && key == "grpc-message") c->message.assign(reinterpret_cast<const char*>(value), value_size);
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, std::uint8_t, std::int32_t stream, const std::uint8_t* data, size_t size, void* user) {
          auto* c = static_cast<Impl*>(user)->find(stream);
          if (c == nullptr) return 0;
          if (c->answer.size() + size > kMaxMessage + 5) c->too_big = true;
          else c->answer.append(reinterpret_cast<const char*>(data), size);
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        callbacks, [](nghttp2_session*, std::int32_t stream, std::uint32_t code, void* user) {
          static_cast<Impl*>(user)->stream_closed(stream, code);
          return 0;
        });
    nghttp2_session_client_new(&session, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}, {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, 1 << 22);
  }

  Call* find(std::int32_t stream) {
    auto it = by_stream.find(stream);
    if (it == by_stream.end()) return nullptr;
    auto c = calls.find(it->second);
    return c == calls.end() ? nullptr : c->second.get();
  }

  void stream_closed(std::int32_t stream, std::uint32_t code) {
    auto* c = find(stream);
    if (c == nullptr) return;
    const auto id = by_stream[stream];
    const auto status = base::to_int(c->status);
    if (c->too_big) return finish(id, base::error(Errc::kLimitExceeded, "gRPC {}: the answer is over {} bytes", c->path, kMaxMessage));
    if (!status)
      return finish(id, base::error(Errc::kUnavailable, "gRPC {} on {}: stream closed without a status (HTTP/2 code {})", c->path, path, code));
    if (*status != 0)
      return finish(id, Error{code_of(*status), fmt::format("{}: {}", c->path.substr(c->path.rfind('/') + 1),
                                                            base::percent_decode(c->message).value_or(c->message))});
    if (c->answer.size() < 5 || c->answer[0] != 0)
      return finish(id, base::error(Errc::kInternal, "gRPC {}: the answer has no plain message", c->path));
    finish(id, c->answer.substr(5));
  }

  void submit(std::uint64_t id) {
    auto it = calls.find(id);
    if (it == calls.end() || it->second->stream != 0) return;
    Call& c = *it->second;
    nghttp2_data_provider body{};
    body.source.ptr = &c;
    body.read_callback = [](nghttp2_session*, std::int32_t stream, std::uint8_t* out, size_t size, std::uint32_t* flags,
                            nghttp2_data_source*, void* user) -> ssize_t {
      Call* call = static_cast<Impl*>(user)->find(stream);  // by id: the call may have timed out
      if (call == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      const std::size_t n = std::min(size, call->body.size() - call->sent);
      call->body.copy(reinterpret_cast<char*>(out), n, call->sent);
      call->sent += n;
      if (call->sent == call->body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return static_cast<ssize_t>(n);
    };
    const std::string timeout = fmt::format("{}m", c.deadline.count());
    const nghttp2_nv headers[] = {header(":method", "POST"), header(":scheme", "http"), header(":path", c.path),
                                  header(":authority", "localhost"), header("content-type", "application/grpc"),
                                  header("te", "trailers"), header("grpc-timeout", timeout)};
    const std::int32_t stream = nghttp2_submit_request(session, nullptr, headers, std::size(headers), &body, nullptr);
    if (stream < 0) return finish(id, base::error(Errc::kUnavailable, "gRPC {}: {}", c.path, nghttp2_strerror(stream)));
    c.stream = stream;
    by_stream[stream] = id;
  }

  void flush() {
    if (session == nullptr || writing) return;
    output.clear();
    for (;;) {
      const std::uint8_t* data = nullptr;
      const ssize_t n = nghttp2_session_mem_send(session, &data);
      if (n < 0) return lost(nghttp2_strerror(static_cast<int>(n)));
      if (n == 0) break;
      output.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(n));
    }
    if (output.empty()) return;
    writing = true;
    asio::async_write(socket, asio::buffer(output), [self = shared_from_this(), mine = generation](std::error_code e, std::size_t) {
      if (mine != self->generation || self->closed) return;
      self->writing = false;
      if (e) return self->lost(e.message());
      self->flush();
    });
  }

  void read() {
    socket.async_read_some(asio::buffer(input), [self = shared_from_this(), mine = generation](std::error_code e, std::size_t n) {
      if (mine != self->generation || self->closed) return;
      if (e) return self->lost(e.message());
      const ssize_t used = nghttp2_session_mem_recv(self->session, self->input.data(), n);
      if (used < 0) return self->lost(nghttp2_strerror(static_cast<int>(used)));
      self->flush();
      if (mine == self->generation && self->connected) self->read();
    });
  }
};

GrpcChannel::GrpcChannel(const Runtime& runtime, std::string socket_path)
    : impl_(std::make_shared<Impl>(runtime, std::move(socket_path))) {}

GrpcChannel::~GrpcChannel() {
  impl_->closed = true;
  std::error_code ignored;
  impl_->socket.close(ignored);
}

void GrpcChannel::call(std::string path, std::string message, Milliseconds deadline, unique_function<void(Result<std::string>)> done) {
  auto c = std::make_unique<Impl::Call>();
  c->path = std::move(path);
  const auto size = static_cast<std::uint32_t>(message.size());
  c->body = {'\0', static_cast<char>(size >> 24), static_cast<char>(size >> 16), static_cast<char>(size >> 8), static_cast<char>(size)};
  c->body += message;
  c->deadline = deadline;
  c->done = std::move(done);
  impl_->call(std::move(c));
}

}  // namespace kubeedge::net
