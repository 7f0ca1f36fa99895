#include "net/stream.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <list>
#include <map>

#include <asio/basic_socket_acceptor.hpp>
#include <asio/generic/stream_protocol.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/write.hpp>

#include "base/text.h"
#include "net/resolver.h"
#include "net/tls.h"
#include "runtime/timer.h"

namespace kubeedge::net {
namespace {

Error last_error(std::string_view what, int number) { return base::error(Errc::kIo, "{}: {}", what, std::strerror(number)); }

std::string address_text(const sockaddr_storage& address) {
  char host[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address);
    inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    return fmt::format("{}:{}", host, ntohs(v4->sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address);
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    return fmt::format("[{}]:{}", host, ntohs(v6->sin6_port));
  }
  return "unix";
}

std::string name_of(int fd, int (*ask)(int, sockaddr*, socklen_t*), std::string otherwise = "unknown") {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (ask(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return otherwise;
  return address_text(address);
}

// A dead peer is found by the kernel: probes on an idle connection, TCP_USER_TIMEOUT on one with unsent data.
void tune_tcp(int fd, Milliseconds dead_after) {
  const int on = 1;
  const int seconds = std::max(1, static_cast<int>(dead_after.count() / 4000));
  const int probes = 3;
  const auto user_timeout = static_cast<unsigned>(dead_after.count());
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof user_timeout);
}

struct Socket {
  int fd = -1;
  Socket() = default;
  explicit Socket(int descriptor) : fd(descriptor) {}
  Socket(Socket&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    if (this != &other) {
      if (fd >= 0) ::close(fd);
      fd = std::exchange(other.fd, -1);
    }
    return *this;
  }
  ~Socket() {
    if (fd >= 0) ::close(fd);
  }
  int release() { return std::exchange(fd, -1); }
};

// One connection: a descriptor, optionally a TLS session on it. Readiness comes from asio, bytes move by recv/send or SSL.
class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  // `peer`: its name where the connection broke before the kernel could be asked.
  Connection(const Runtime& runtime, int fd, std::unique_ptr<TlsSession> tls, std::string peer = "unknown")
      : runtime_(runtime), descriptor_(runtime.executor(), fd), tls_(std::move(tls)) {
    local_ = name_of(fd, getsockname);
    peer_ = name_of(fd, getpeername, std::move(peer));
    if (tls_) tls_->attach(fd);
  }

  void handshake(Milliseconds timeout, unique_function<void(Result<void>)> done) {
    if (!tls_) {
      runtime::post(runtime_, [self = shared_from_this(), done = std::move(done)]() mutable { done({}); });
      return;
    }
    handshake_done_ = std::move(done);
    deadline_.emplace(runtime_);
    deadline_->start(timeout, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->end_handshake(base::error(Errc::kTimeout, "TLS handshake with {}: time-out", self->peer_));
    });
    step_handshake();
  }

  void read(Stream::ReadHandler done) {
    read_done_ = std::move(done);
    // Data may wait inside the TLS session, so the first try does not wait for the descriptor.
    runtime::post(runtime_, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->step_read();
    });
  }

  void write(Bytes data, Stream::WriteHandler done) {
    queued_ += data.size();
    writes_.push_back({std::move(data), 0, std::move(done)});
    if (writes_.size() == 1) {
      runtime::post(runtime_, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->step_write();
      });
    }
  }

  void close() {
    if (closed_) return;
    closed_ = true;
    deadline_.reset();
    if (tls_) tls_->shutdown();
    asio::error_code ignored;
    descriptor_.close(ignored);
    const Error cancelled = base::error(Errc::kCancelled, "connection to {} closed", peer_);
    // Handlers run later, never inside the call that closed.
    runtime::post(runtime_, [self = shared_from_this(), cancelled] {
      if (self->gone_) return;
      self->fail_all(cancelled);
    });
  }

  // The owner is gone: no handler runs any more.
  void forget() {
    gone_ = true;
    handshake_done_ = nullptr;
    read_done_ = nullptr;
    writes_.clear();
    if (!closed_) {
      closed_ = true;
      deadline_.reset();
      if (tls_) tls_->shutdown();
      asio::error_code ignored;
      descriptor_.close(ignored);
    }
  }

  std::size_t queued() const { return queued_; }
  const std::string& peer() const { return peer_; }
  const std::string& local() const { return local_; }
  std::optional<PeerCertificate> take_certificate() { return tls_ ? tls_->take_peer_certificate() : std::nullopt; }

 private:
  struct PendingWrite {
    Bytes data;
    std::size_t sent;
    Stream::WriteHandler done;
  };

  using Wait = asio::posix::descriptor_base::wait_type;

  template <class Next>
  void wait_for(Wait what, Next next) {
    descriptor_.async_wait(what, [weak = weak_from_this(), next](const asio::error_code& failed) {
      const auto self = weak.lock();
      if (!self || failed || self->closed_) return;
      (self.get()->*next)();
    });
  }

  // While it shakes hands a connection belongs to its wait: whoever dials holds it weakly, so nothing is a circle.
  void wait_handshake(Wait what) {
    descriptor_.async_wait(what, [self = shared_from_this()](const asio::error_code& failed) {
      if (!failed && !self->closed_) self->step_handshake();
    });
  }

  void step_handshake() {
    if (closed_ || !handshake_done_) return;
    switch (tls_->handshake()) {
      case TlsSession::Io::kDone: end_handshake({}); break;
      case TlsSession::Io::kWantRead: wait_handshake(Wait::wait_read); break;
      case TlsSession::Io::kWantWrite: wait_handshake(Wait::wait_write); break;
      case TlsSession::Io::kEnd: end_handshake(base::error(Errc::kUnavailable, "TLS with {}: {}", peer_, tls_->failure())); break;
      case TlsSession::Io::kFailed: end_handshake(base::error(Errc::kUnauthenticated, "TLS with {}: {}", peer_, tls_->failure())); break;
    }
  }

  void end_handshake(Result<void> result) {
    if (!handshake_done_) return;
    deadline_.reset();
    auto done = std::move(handshake_done_);
    handshake_done_ = nullptr;
    const auto self = shared_from_this();
    done(std::move(result));
  }

  void step_read() {
    if (closed_ || !read_done_) return;
    char buffer[Stream::kReadChunk];
    std::size_t got = 0;
    TlsSession::Io io = TlsSession::Io::kDone;
    std::string why;
    if (tls_) {
      io = tls_->read(buffer, sizeof buffer, got);
      if (io == TlsSession::Io::kFailed) why = tls_->failure();
    } else {
      const ssize_t count = ::recv(descriptor_.native_handle(), buffer, sizeof buffer, 0);
      if (count >= 0) {
        got = static_cast<std::size_t>(count);
        if (count == 0) io = TlsSession::Io::kEnd;
      } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        io = TlsSession::Io::kWantRead;
      } else {
        io = TlsSession::Io::kFailed;
        why = std::strerror(errno);
      }
    }
    switch (io) {
      case TlsSession::Io::kDone:
        finish_read(Bytes(std::string(buffer, got)));
        break;
      case TlsSession::Io::kEnd: finish_read(Bytes()); break;
      case TlsSession::Io::kWantRead: wait_for(Wait::wait_read, &Connection::step_read); break;
      case TlsSession::Io::kWantWrite: wait_for(Wait::wait_write, &Connection::step_read); break;
      case TlsSession::Io::kFailed: finish_read(base::error(Errc::kUnavailable, "reading from {}: {}", peer_, why)); break;
    }
  }

  void finish_read(Result<Bytes> result) {
    auto done = std::move(read_done_);
    read_done_ = nullptr;
    const auto self = shared_from_this();
    done(std::move(result));
  }

  void step_write() {
    while (!closed_ && !writes_.empty()) {
      PendingWrite& front = writes_.front();
      const std::string_view rest = front.data.view().substr(front.sent);
      std::size_t sent = 0;
      TlsSession::Io io = TlsSession::Io::kDone;
      std::string why;
      if (rest.empty()) {
        // An empty write only asks to be told when all before it is out.
      } else if (tls_) {
        io = tls_->write(rest.data(), rest.size(), sent);
        if (io == TlsSession::Io::kFailed) why = tls_->failure();
      } else {
        const ssize_t count = ::send(descriptor_.native_handle(), rest.data(), rest.size(), MSG_NOSIGNAL);
        if (count >= 0) {
          sent = static_cast<std::size_t>(count);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
          io = TlsSession::Io::kWantWrite;
        } else {
          io = TlsSession::Io::kFailed;
          why = std::strerror(errno);
        }
      }
      front.sent += sent;
      queued_ -= sent;
      if (io == TlsSession::Io::kWantRead) return wait_for(Wait::wait_read, &Connection::step_write);
      if (io == TlsSession::Io::kWantWrite) return wait_for(Wait::wait_write, &Connection::step_write);
      if (io != TlsSession::Io::kDone) return fail_writes(base::error(Errc::kUnavailable, "writing to {}: {}", peer_, why.empty() ? "closed" : why));
      if (front.sent < front.data.size()) continue;
      auto done = std::move(front.done);
      writes_.pop_front();
      const auto self = shared_from_this();
      if (done) done({});
    }
  }

  void fail_all(const Error& error) {
    const auto self = shared_from_this();
    auto read = std::move(read_done_);
    read_done_ = nullptr;
    auto handshake = std::move(handshake_done_);
    handshake_done_ = nullptr;
    if (handshake) handshake(error);
    if (!gone_ && read) read(error);
    if (!gone_) fail_writes(error);
  }

  // What the peer said before it stopped to listen can still be read (an early 413): the read ends by itself.
  void fail_writes(const Error& error) {
    const auto self = shared_from_this();
    auto writes = std::move(writes_);
    writes_.clear();
    queued_ = 0;
    for (PendingWrite& pending : writes)
      if (!gone_ && pending.done) pending.done(error);
  }

  Runtime runtime_;
  asio::posix::stream_descriptor descriptor_;
  std::unique_ptr<TlsSession> tls_;
  std::string peer_, local_;
  std::optional<runtime::Timer> deadline_;
  unique_function<void(Result<void>)> handshake_done_;
  Stream::ReadHandler read_done_;
  std::list<PendingWrite> writes_;   // an empty std::deque is 600 bytes, and most connections write nothing most of the time
  std::size_t queued_ = 0;
  bool closed_ = false;
  bool gone_ = false;
};

class ConnectionStream final : public Stream {
 public:
  explicit ConnectionStream(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  ~ConnectionStream() override { connection_->forget(); }
  void read(ReadHandler done) override { connection_->read(std::move(done)); }
  void write(Bytes data, WriteHandler done) override { connection_->write(std::move(data), std::move(done)); }
  std::size_t queued_bytes() const override { return connection_->queued(); }
  void close() override { connection_->close(); }
  std::optional<PeerCertificate> take_peer_certificate() override { return connection_->take_certificate(); }
  std::string peer_address() const override { return connection_->peer(); }
  std::string local_address() const override { return connection_->local(); }

 private:
  std::shared_ptr<Connection> connection_;
};

std::optional<Address> literal(const Endpoint& endpoint) {
  Address address;
  if (endpoint.port == 0 && endpoint.host.starts_with('/')) {
    auto* local = reinterpret_cast<sockaddr_un*>(&address.storage);
    if (endpoint.host.size() >= sizeof local->sun_path) return std::nullopt;
    local->sun_family = AF_UNIX;
    std::memcpy(local->sun_path, endpoint.host.c_str(), endpoint.host.size() + 1);
    address.size = sizeof(sockaddr_un);
    return address;
  }
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  if (inet_pton(AF_INET, endpoint.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(endpoint.port);
    address.size = sizeof(sockaddr_in);
    return address;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET6, endpoint.host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(endpoint.port);
    address.size = sizeof(sockaddr_in6);
    return address;
  }
  return std::nullopt;
}

std::string endpoint_text(const Endpoint& endpoint) {
  return endpoint.port == 0 ? endpoint.host : fmt::format("{}:{}", endpoint.host, endpoint.port);
}

// One dial: resolve, then each address in turn, then TLS. It belongs to what it waits for, never to itself.
class Dial final : public std::enable_shared_from_this<Dial> {
 public:
  using Done = unique_function<void(Result<std::unique_ptr<Stream>>)>;
  Dial(const Runtime& runtime, Endpoint endpoint, DialOptions options, Done done)
      : runtime_(runtime), endpoint_(std::move(endpoint)), options_(std::move(options)), done_(std::move(done)), deadline_(runtime) {}

  void start() {
    deadline_.start(options_.timeout, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->finish(base::error(Errc::kTimeout, "connecting to {}: time-out", endpoint_text(self->endpoint_)));
    });
    if (const auto address = literal(endpoint_)) {
      addresses_ = {*address};
      runtime::post(runtime_, [self = shared_from_this()] { self->next_address(); });
      return;
    }
    Resolver::of(runtime_.executor()).resolve(runtime_.executor(), endpoint_, [self = shared_from_this()](Result<std::vector<Address>> found) {
      if (!found) return self->finish(found.error());
      self->addresses_ = std::move(*found);
      self->next_address();
    });
  }

 private:
  void next_address() {
    if (!done_) return;
    if (at_ == addresses_.size()) return finish(failure_.value_or(base::error(Errc::kUnavailable, "{} has no address", endpoint_.host)));
    const Address& address = addresses_[at_++];
    Socket socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (socket.fd < 0) return finish(last_error("socket", errno));
    if (address.storage.ss_family != AF_UNIX) tune_tcp(socket.fd, options_.dead_after);
    const int code = ::connect(socket.fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size);
    if (code != 0 && errno != EINPROGRESS) return failed(errno);
    connecting_.emplace(runtime_.executor(), socket.release());
    connecting_->async_wait(asio::posix::descriptor_base::wait_write, [self = shared_from_this()](const asio::error_code& wrong) {
      if (!wrong) self->connected();
    });
  }

  void failed(int number) {
    failure_ = base::error(Errc::kUnavailable, "connecting to {}: {}", endpoint_text(endpoint_), std::strerror(number));
    runtime::post(runtime_, [self = shared_from_this()] { self->next_address(); });
  }

  void connected() {
    if (!done_) return;
    int number = 0;
    socklen_t size = sizeof number;
    getsockopt(connecting_->native_handle(), SOL_SOCKET, SO_ERROR, &number, &size);
    if (number != 0) {
      connecting_.reset();
      return failed(number);
    }
    Socket socket(connecting_->release());
    connecting_.reset();
    std::unique_ptr<TlsSession> tls;
    if (options_.tls) {
      auto made = TlsSession::client(*options_.tls, endpoint_.host);
      if (!made) return finish(made.error());
      tls = std::move(*made);
    }
    auto connection = std::make_shared<Connection>(runtime_, socket.release(), std::move(tls), endpoint_text(endpoint_));
    connection_ = connection;
    connection->handshake(options_.timeout, [self = shared_from_this()](Result<void> result) {
      auto shaken = self->connection_.lock();
      if (!result || !shaken) return self->finish(result ? base::error(Errc::kCancelled, "the connection is gone") : std::move(result).error());
      self->connection_.reset();
      self->finish(std::unique_ptr<Stream>(std::make_unique<ConnectionStream>(std::move(shaken))));
    });
  }

  void finish(Result<std::unique_ptr<Stream>> result) {
    if (!done_) return;
    deadline_.cancel();
    connecting_.reset();
    if (const auto connection = connection_.lock()) connection->forget();
    Done done = std::move(done_);
    done_ = nullptr;
    done(std::move(result));
  }

  Runtime runtime_;
  Endpoint endpoint_;
  DialOptions options_;
  Done done_;
  runtime::Timer deadline_;
  std::vector<Address> addresses_;
  std::size_t at_ = 0;
  std::optional<Error> failure_;
  std::optional<asio::posix::stream_descriptor> connecting_;
  std::weak_ptr<Connection> connection_;
};

// Accepts, shakes hands, hands over. Counts what lives so that the limit holds.
class Acceptor final : public std::enable_shared_from_this<Acceptor> {
 public:
  Acceptor(const Runtime& runtime, int fd, Endpoint local, ListenOptions options, std::shared_ptr<TlsContext> tls,
           unique_function<void(std::unique_ptr<Stream>)> on_stream)
      : runtime_(runtime), descriptor_(runtime.executor(), fd), local_(std::move(local)), options_(std::move(options)), tls_(std::move(tls)),
        on_stream_(std::move(on_stream)), retry_(runtime) {}

  void start() { wait(); }
  void stop() {
    stopped_ = true;  // on_stream_ may be running: it is not let go here
    asio::error_code ignored;
    descriptor_.close(ignored);
    for (const auto& [key, connection] : shaking_) connection->forget();
    shaking_.clear();
  }
  const Endpoint& local() const { return local_; }
  void set_tls(std::shared_ptr<TlsContext> tls) { tls_ = std::move(tls); }

 private:
  // Told when a stream that we handed over is gone.
  class Counted final : public Stream {
   public:
    Counted(std::unique_ptr<Stream> inner, std::shared_ptr<std::size_t> live) : inner_(std::move(inner)), live_(std::move(live)) { ++*live_; }
    ~Counted() override { --*live_; }
    void read(ReadHandler done) override { inner_->read(std::move(done)); }
    void write(Bytes data, WriteHandler done) override { inner_->write(std::move(data), std::move(done)); }
    std::size_t queued_bytes() const override { return inner_->queued_bytes(); }
    void close() override { inner_->close(); }
    std::optional<PeerCertificate> take_peer_certificate() override { return inner_->take_peer_certificate(); }
    std::string peer_address() const override { return inner_->peer_address(); }
    std::string local_address() const override { return inner_->local_address(); }

   private:
    std::unique_ptr<Stream> inner_;
    std::shared_ptr<std::size_t> live_;
  };

  void wait() {
    descriptor_.async_wait(asio::posix::descriptor_base::wait_read, [weak = weak_from_this()](const asio::error_code& failed) {
      const auto self = weak.lock();
      if (self && !failed && !self->stopped_) self->accept_all();
    });
  }

  void accept_all() {
    for (;;) {
      const int fd = ::accept4(descriptor_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) return wait();
        if (errno == EINTR || errno == ECONNABORTED) continue;
        // Out of descriptors or memory: the queue stays readable, so a plain wait would spin.
        base::log(runtime_.log(), LogLevel::kWarning, "net", "accepting on {}: {}", endpoint_text(local_), std::strerror(errno));
        return retry_.start(kAcceptRetry, [weak = weak_from_this()] {
          if (const auto self = weak.lock()) self->accept_all();
        });
      }
      take(fd);
      if (stopped_) return;
    }
  }

  void take(int fd) {
    Socket socket(fd);
    if (*live_ + shaking_.size() >= options_.max_connections) return;  // closed at once
    if (local_.port != 0) tune_tcp(fd, options_.dead_after);
    std::unique_ptr<TlsSession> session;
    if (tls_) {
      auto made = tls_->server_session();
      if (!made) return base::log(runtime_.log(), LogLevel::kError, "net", "TLS session: {}", made.error().message);
      session = std::move(*made);
    }
    auto connection = std::make_shared<Connection>(runtime_, socket.release(), std::move(session));
    shaking_[connection.get()] = connection;
    connection->handshake(options_.handshake_timeout, [weak = weak_from_this(), key = connection.get()](Result<void> result) {
      const auto self = weak.lock();
      if (!self || self->stopped_) return;
      const auto found = self->shaking_.find(key);
      if (found == self->shaking_.end()) return;
      const auto done = std::move(found->second);
      self->shaking_.erase(found);
      if (!result) {
        base::log(self->runtime_.log(), LogLevel::kInfo, "net", "refused on {}: {}", endpoint_text(self->local_), result.error().message);
        return done->forget();
      }
      self->on_stream_(std::make_unique<Counted>(std::make_unique<ConnectionStream>(done), self->live_));
    });
  }

  static constexpr Milliseconds kAcceptRetry{100};

  Runtime runtime_;
  asio::posix::stream_descriptor descriptor_;
  Endpoint local_;
  ListenOptions options_;
  std::shared_ptr<TlsContext> tls_;
  unique_function<void(std::unique_ptr<Stream>)> on_stream_;
  runtime::Timer retry_;
  std::map<const Connection*, std::shared_ptr<Connection>> shaking_;
  std::shared_ptr<std::size_t> live_ = std::make_shared<std::size_t>(0);
  bool stopped_ = false;
};

class AcceptorListener final : public Listener {
 public:
  AcceptorListener(const Runtime& runtime, std::shared_ptr<Acceptor> acceptor) : runtime_(runtime), acceptor_(std::move(acceptor)) {}
  ~AcceptorListener() override { acceptor_->stop(); }
  Endpoint local() const override { return acceptor_->local(); }
  void set_tls(TlsConfig tls) override {
    auto context = TlsContext::server(tls);
    if (!context) return base::log(runtime_.log(), LogLevel::kError, "net", "new TLS configuration: {}", context.error().message);
    acceptor_->set_tls(std::move(*context));
  }

 private:
  Runtime runtime_;
  std::shared_ptr<Acceptor> acceptor_;
};

// Removes the socket file that a killed process left; anything else at that path, or a live socket, is an error.
Result<void> free_socket_path(const std::string& path, const Address& address) {
  struct stat facts{};
  if (::lstat(path.c_str(), &facts) != 0) return {};
  if (!S_ISSOCK(facts.st_mode)) return base::error(Errc::kAlreadyExists, "cannot listen on {}: a file that is no socket is there", path);
  const Socket probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(probe.fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size) == 0 || errno != ECONNREFUSED) {
    return base::error(Errc::kAlreadyExists, "cannot listen on {}: Address already in use", path);
  }
  if (::unlink(path.c_str()) != 0) return last_error("removing " + path, errno);
  return {};
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text) {
  const Error wrong = base::error(Errc::kInvalidArgument, "address \"{}\": expected host:port, [v6]:port or unix:///path", text.substr(0, 200));
  if (text.starts_with("unix://")) {
    text.remove_prefix(7);
    if (!text.starts_with('/')) return wrong;
    return Endpoint{std::string(text), 0};
  }
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return wrong;
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return wrong;
  }
  const auto port = base::to_int(text.substr(colon + 1));
  if (!port || *port < 0 || *port > 65535 || host.empty()) return wrong;
  return Endpoint{std::string(host), static_cast<std::uint16_t>(*port)};
}

void dial(const Runtime& runtime, Endpoint endpoint, DialOptions options, unique_function<void(Result<std::unique_ptr<Stream>>)> done) {
  std::make_shared<Dial>(runtime, std::move(endpoint), std::move(options), std::move(done))->start();
}

Result<std::unique_ptr<Listener>> listen(const Runtime& runtime, Endpoint endpoint, ListenOptions options,
                                         unique_function<void(std::unique_ptr<Stream>)> on_stream) {
  const auto address = literal(endpoint);
  if (!address) return base::error(Errc::kInvalidArgument, "cannot listen on {}: not an IP address or socket path", endpoint_text(endpoint));
  std::shared_ptr<TlsContext> tls;
  if (options.tls) {
    auto made = TlsContext::server(*options.tls);
    if (!made) return std::move(made).error();
    tls = std::move(*made);
  }
  Socket socket(::socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.fd < 0) return last_error("socket", errno);
  const int on = 1;
  if (address->storage.ss_family == AF_UNIX) {
    if (Result<void> free = free_socket_path(endpoint.host, *address); !free) return std::move(free).error();
  } else {
    setsockopt(socket.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  }
  if (::bind(socket.fd, reinterpret_cast<const sockaddr*>(&address->storage), address->size) != 0 || ::listen(socket.fd, 1024) != 0) {
    return last_error("cannot listen on " + endpoint_text(endpoint), errno);
  }
  if (address->storage.ss_family != AF_UNIX) {
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    getsockname(socket.fd, reinterpret_cast<sockaddr*>(&bound), &size);
    endpoint.port = ntohs(bound.ss_family == AF_INET ? reinterpret_cast<sockaddr_in*>(&bound)->sin_port : reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port);
  }
  auto acceptor = std::make_shared<Acceptor>(runtime, socket.release(), std::move(endpoint), std::move(options), std::move(tls), std::move(on_stream));
  acceptor->start();
  return std::unique_ptr<Listener>(std::make_unique<AcceptorListener>(runtime, std::move(acceptor)));
}

}  // namespace kubeedge::net
