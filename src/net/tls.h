// TLS sessions on a descriptor: OpenSSL reads and writes the socket itself, no copy in between. ssl.h is seen by tls.cpp only.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <kubeedge/result.h>

#include "net/stream.h"

namespace kubeedge::net {

class TlsSession {
 public:
  enum class Io { kDone, kWantRead, kWantWrite, kEnd, kFailed };

  // A client session for `host` (or config.server_name). Errors: unreadable certificate, key or CA.
  static Result<std::unique_ptr<TlsSession>> client(const TlsConfig& config, const std::string& host);

  virtual ~TlsSession() = default;
  virtual void attach(int fd) = 0;
  virtual Io handshake() = 0;   // kEnd: the connection broke; kFailed: one side refused the other. failure() says more
  virtual Io read(char* to, std::size_t room, std::size_t& got) = 0;
  virtual Io write(const char* from, std::size_t size, std::size_t& sent) = 0;
  virtual void shutdown() = 0;                 // sends close_notify, does not wait
  virtual std::string failure() const = 0;     // after kFailed: one line; a name mismatch lists the certificate's names
  virtual std::optional<PeerCertificate> take_peer_certificate() = 0;
};

// A server's certificate, key and rules, shared by its sessions.
class TlsContext {
 public:
  static Result<std::shared_ptr<TlsContext>> server(const TlsConfig& config);
  virtual ~TlsContext() = default;
  virtual Result<std::unique_ptr<TlsSession>> server_session() = 0;
};

}  // namespace kubeedge::net
