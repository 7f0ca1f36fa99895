// Byte streams: TCP, Unix socket, or TLS on top of either, behind one type.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <kubeedge/bytes.h>
#include <kubeedge/result.h>
#include <kubeedge/runtime.h>

namespace kubeedge::net {

// PEM texts; empty = absent.
struct TlsConfig {
  std::string certificate_pem;   // leaf first
  std::string private_key_pem;   // "EC PRIVATE KEY" or "PRIVATE KEY"
  std::string ca_pem;            // the roots that verify the peer
  enum class Peer : std::uint8_t { kRequire, kRequest, kRequestUnverified, kNone };
  // Server side: kRequire = a client certificate that chains to `ca_pem`; kRequest = verified where one is
  // given; kRequestUnverified = taken, not judged; kNone = not asked for.
  // Client side: kNone = verification off (only the join's GET /ca.crt and the tunnel); else on.
  Peer verify_peer = Peer::kRequire;
  std::string server_name;       // client side: must match a SAN (DNS name or IP); empty = the dialled host
};

// Facts of an established TLS session's peer.
struct PeerCertificate {
  std::string der;                         // leaf
  std::string common_name;
  std::vector<std::string> organizations;
};

// One connection. Lives on one executor. Callbacks run there, never from inside the call that set them.
// Destroying it closes the socket at once; no callback runs after that.
class Stream {
 public:
  virtual ~Stream() = default;
  using ReadHandler = unique_function<void(Result<Bytes>)>;
  using WriteHandler = unique_function<void(Result<void>)>;

  // The next bytes, at most kReadChunk of them; an empty Bytes is the peer's orderly end. One read at a time.
  static constexpr std::size_t kReadChunk = 16 * 1024;   // a TLS record; on the stack
  virtual void read(ReadHandler done) = 0;
  // Queues `data`; done when the kernel has it. Many writes may be queued; order is kept.
  virtual void write(Bytes data, WriteHandler done) = 0;
  virtual std::size_t queued_bytes() const = 0;
  virtual void close() = 0;  // idempotent; pending handlers get kCancelled

  // What TLS learnt of the peer; nothing the second time (it weighs 1 KiB, which an idle session does not carry along).
  virtual std::optional<PeerCertificate> take_peer_certificate() = 0;
  virtual std::string peer_address() const = 0;   // "192.0.2.1:443", "unix"
  virtual std::string local_address() const = 0;
};

struct Endpoint {
  std::string host;            // name, IP, or a path for a Unix socket
  std::uint16_t port = 0;      // 0 with a path: Unix socket
};

// "host:port", "[::1]:port" or "unix:///path".
Result<Endpoint> parse_endpoint(std::string_view text);

struct DialOptions {
  std::optional<TlsConfig> tls;                       // absent = plain
  Milliseconds timeout{30'000};                       // connect and handshake together
  Milliseconds dead_after{20'000};                    // TCP keepalive + TCP_USER_TIMEOUT: a dead peer is found within this
};

// Resolves (net/resolver.h) at each call, dials every address in turn.
// Errors name the address and the reason; a certificate mismatch names the SANs that the certificate has.
void dial(const Runtime& runtime, Endpoint endpoint, DialOptions options,
          unique_function<void(Result<std::unique_ptr<Stream>>)> done);

struct ListenOptions {
  std::optional<TlsConfig> tls;
  Milliseconds handshake_timeout{10'000};
  std::size_t max_connections = 4096;                 // accepted ones past this are closed at once and counted
  Milliseconds dead_after{20'000};
};

class Listener {
 public:
  virtual ~Listener() = default;
  virtual Endpoint local() const = 0;                 // the real port where 0 was asked for
  virtual void set_tls(TlsConfig tls) = 0;            // for connections accepted from now on
};

// `on_stream` gets each connection after its TLS handshake. An address in use is an error that names it.
Result<std::unique_ptr<Listener>> listen(const Runtime& runtime, Endpoint endpoint, ListenOptions options,
                                         unique_function<void(std::unique_ptr<Stream>)> on_stream);

}  // namespace kubeedge::net
