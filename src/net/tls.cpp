#include "net/tls.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/text.h"

namespace kubeedge::net {
namespace {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* object) const { Free(object); }
};
using Ctx = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free>>;
using Cert = std::unique_ptr<X509, Deleter<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;

std::string openssl_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown";
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : fmt::format("error {:x}", code);
}

// A socket BIO that never raises SIGPIPE (OpenSSL's own calls write(2)).
int socket_write(BIO* bio, const char* data, size_t size, size_t* written) {
  BIO_clear_retry_flags(bio);
  const auto fd = static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
  const ssize_t count = ::send(fd, data, size, MSG_NOSIGNAL);
  if (count >= 0) {
    *written = static_cast<size_t>(count);
    return 1;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) BIO_set_retry_write(bio);
  return 0;
}

int socket_read(BIO* bio, char* data, size_t size, size_t* got) {
  BIO_clear_retry_flags(bio);
  const auto fd = static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
  const ssize_t count = ::recv(fd, data, size, 0);
  if (count > 0) {
    *got = static_cast<size_t>(count);
    return 1;
  }
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) BIO_set_retry_read(bio);
  if (count == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return 0;
}

long socket_ctrl(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
  return 0;
}

BIO_METHOD* socket_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kubeedge socket");
    BIO_meth_set_write_ex(made, socket_write);
    BIO_meth_set_read_ex(made, socket_read);
    BIO_meth_set_ctrl(made, socket_ctrl);
    return made;
  }();
  return method;
}

std::string names_of(X509* certificate) {
  std::string names;
  auto* sans = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(sans); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(sans, i);
    std::string text;
    if (name->type == GEN_DNS) {
      text.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)), static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
    } else if (name->type == GEN_IPADD) {
      const int size = ASN1_STRING_length(name->d.iPAddress);
      char buffer[INET6_ADDRSTRLEN] = {};
      if (size == 4 || size == 16) inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name->d.iPAddress), buffer, sizeof buffer);
      text = buffer;
    }
    if (text.empty()) continue;
    if (!names.empty()) names += ", ";
    names += text;
  }
  GENERAL_NAMES_free(sans);
  return names.empty() ? "nothing" : names;
}

std::string subject_field(X509* certificate, int nid, int& at) {
  X509_NAME* name = X509_get_subject_name(certificate);
  at = X509_NAME_get_index_by_NID(name, nid, at);
  if (at < 0) return {};
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  if (size < 0) return {};
  std::string text(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return text;
}

PeerCertificate facts_of(X509* certificate) {
  PeerCertificate facts;
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  if (size > 0) facts.der.assign(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  int at = -1;
  facts.common_name = subject_field(certificate, NID_commonName, at);
  for (at = -1;;) {
    std::string organization = subject_field(certificate, NID_organizationName, at);
    if (at < 0) break;
    facts.organizations.push_back(std::move(organization));
  }
  return facts;
}

int accept_any(X509_STORE_CTX*, void*) { return 1; }

// Keeps the names of a certificate that was refused for its name: after the handshake failed OpenSSL has let it go.
int remember_names(int fine, X509_STORE_CTX* verification) {
  const int error = X509_STORE_CTX_get_error(verification);
  if (fine == 0 && (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH)) {
    const auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto* names = static_cast<std::string*>(SSL_get_app_data(ssl));
    if (names != nullptr) *names = names_of(X509_STORE_CTX_get0_cert(verification));
  }
  return fine;
}

Result<Ctx> make_context(const TlsConfig& config, bool server) {
  Ctx context(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  if (!context) return base::error(Errc::kInternal, "TLS context: {}", openssl_error());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // Idle connections give their buffers back; a moving write buffer lets a write be retried from another copy.
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // Sessions are long: nothing to resume, and no ticket state to keep or send.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context.get(), 0);

  if (!config.certificate_pem.empty()) {
    const Bio certificates(BIO_new_mem_buf(config.certificate_pem.data(), static_cast<int>(config.certificate_pem.size())));
    const Cert leaf(PEM_read_bio_X509(certificates.get(), nullptr, nullptr, nullptr));
    if (!leaf || SSL_CTX_use_certificate(context.get(), leaf.get()) != 1) return base::error(Errc::kInvalidArgument, "TLS certificate: {}", openssl_error());
    for (;;) {
      X509* more = PEM_read_bio_X509(certificates.get(), nullptr, nullptr, nullptr);
      if (more == nullptr) break;
      if (SSL_CTX_add_extra_chain_cert(context.get(), more) != 1) X509_free(more);
    }
    ERR_clear_error();
    const Bio keys(BIO_new_mem_buf(config.private_key_pem.data(), static_cast<int>(config.private_key_pem.size())));
    const Key key(PEM_read_bio_PrivateKey(keys.get(), nullptr, nullptr, nullptr));
    if (!key || SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) return base::error(Errc::kInvalidArgument, "TLS private key: {}", openssl_error());
  } else if (server) {
    return base::error(Errc::kInvalidArgument, "TLS server without a certificate");
  }
  if (!config.ca_pem.empty()) {
    const Bio roots(BIO_new_mem_buf(config.ca_pem.data(), static_cast<int>(config.ca_pem.size())));
    int count = 0;
    for (;; ++count) {
      const Cert root(PEM_read_bio_X509(roots.get(), nullptr, nullptr, nullptr));
      if (!root) break;
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), root.get());
      if (server) SSL_CTX_add_client_CA(context.get(), root.get());
    }
    ERR_clear_error();
    if (count == 0) return base::error(Errc::kInvalidArgument, "TLS CA: no certificate in it");
  }

  using Peer = TlsConfig::Peer;
  int mode = SSL_VERIFY_NONE;
  if (config.verify_peer == Peer::kRequire) mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  if (config.verify_peer == Peer::kRequest || config.verify_peer == Peer::kRequestUnverified) mode = SSL_VERIFY_PEER;
  if (!server) mode = config.verify_peer == Peer::kNone ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
  SSL_CTX_set_verify(context.get(), mode, remember_names);
  if (server && config.verify_peer == Peer::kRequestUnverified) SSL_CTX_set_cert_verify_callback(context.get(), accept_any, nullptr);
  return context;
}

class Session final : public TlsSession {
 public:
  Session(SSL* ssl, Ctx owned, std::string host) : context_(std::move(owned)), ssl_(ssl), host_(std::move(host)) {
    SSL_set_app_data(ssl_, &refused_names_);
  }
  ~Session() override { SSL_free(ssl_); }

  void attach(int fd) override {
    BIO* bio = BIO_new(socket_method());
    BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_, bio, bio);
  }

  // The thread's error queue is cleared first: SSL_get_error would take somebody else's leftover for ours.
  Io handshake() override {
    ERR_clear_error();
    const Io io = classify(SSL_do_handshake(ssl_));
    if (io == Io::kDone) {
      shaken_ = true;
      keep_peer();
    }
    return io == Io::kFailed && lost_ ? Io::kEnd : io;
  }

  Io read(char* to, std::size_t room, std::size_t& got) override {
    ERR_clear_error();
    return classify(SSL_read_ex(ssl_, to, room, &got));
  }

  Io write(const char* from, std::size_t size, std::size_t& sent) override {
    ERR_clear_error();
    return classify(SSL_write_ex(ssl_, from, size, &sent));
  }

  void shutdown() override {
    if (broken_ || SSL_in_init(ssl_) != 0) return;
    ERR_clear_error();
    SSL_shutdown(ssl_);
    ERR_clear_error();
  }

  std::string failure() const override { return failure_; }

  std::optional<PeerCertificate> take_peer_certificate() override { return std::exchange(peer_, std::nullopt); }

 private:
  // OpenSSL keeps the peer's certificate as long as the connection: 4 KiB for a decoded P-256 key, 1 KiB for names and
  // extensions. Nobody asks it after the handshake: the facts are kept, our own key, which all connections share, takes the
  // key's place, and the rest is emptied.
  void keep_peer() {
    X509* certificate = SSL_get0_peer_certificate(ssl_);
    if (certificate == nullptr || peer_kept_) return;
    peer_ = facts_of(certificate);
    peer_kept_ = true;
    if (EVP_PKEY* own = SSL_get_privatekey(ssl_); own != nullptr) X509_set_pubkey(certificate, own);
    while (X509_get_ext_count(certificate) > 0) X509_EXTENSION_free(X509_delete_ext(certificate, 0));
    for (X509_NAME* name : {X509_get_subject_name(certificate), X509_get_issuer_name(certificate)})
      while (X509_NAME_entry_count(name) > 0) X509_NAME_ENTRY_free(X509_NAME_delete_entry(name, 0));
    ERR_clear_error();
  }

  Io classify(int code) {
    if (code == 1) return Io::kDone;
    const int number = errno;
    switch (SSL_get_error(ssl_, code)) {
      case SSL_ERROR_WANT_READ: return Io::kWantRead;
      case SSL_ERROR_WANT_WRITE: return Io::kWantWrite;
      case SSL_ERROR_ZERO_RETURN: return ended();
      case SSL_ERROR_SYSCALL:
        broken_ = lost_ = true;
        ERR_clear_error();
        // A peer that closes without close_notify: Go's edge does so.
        if (BIO_test_flags(SSL_get_rbio(ssl_), BIO_FLAGS_IN_EOF) != 0) return ended();
        failure_ = std::strerror(number);
        return Io::kFailed;
      default: break;
    }
    broken_ = true;
    if (BIO_test_flags(SSL_get_rbio(ssl_), BIO_FLAGS_IN_EOF) != 0) {
      ERR_clear_error();
      return ended();
    }
    failure_ = openssl_error();
    const long verdict = SSL_get_verify_result(ssl_);
    if (verdict != X509_V_OK && SSL_get_verify_mode(ssl_) != SSL_VERIFY_NONE) {
      failure_ = X509_verify_cert_error_string(verdict);
      if (verdict == X509_V_ERR_CERT_NOT_YET_VALID || verdict == X509_V_ERR_CERT_HAS_EXPIRED)
        failure_ += fmt::format(" (this host's clock says {})", base::rfc3339(std::time(nullptr)));
      if (!refused_names_.empty()) failure_ = fmt::format("{} is not in the server's certificate (it names {})", host_, refused_names_);
    }
    return Io::kFailed;
  }

  Io ended() {
    if (shaken_) return Io::kEnd;
    lost_ = true;
    failure_ = "the peer closed the connection during the handshake";
    return Io::kFailed;
  }

  Ctx context_;  // client sessions own their context; a server's is shared by TlsContext
  SSL* ssl_;
  std::string host_;
  std::string failure_;
  std::string refused_names_;
  std::optional<PeerCertificate> peer_;
  bool peer_kept_ = false;
  bool broken_ = false;   // no close_notify can follow
  bool shaken_ = false;   // OpenSSL's own word for it is lost with the first error
  bool lost_ = false;     // the connection, not one of its sides, ended the handshake
};

class ServerContext final : public TlsContext {
 public:
  explicit ServerContext(Ctx context) : context_(std::move(context)) {}
  Result<std::unique_ptr<TlsSession>> server_session() override {
    SSL* ssl = SSL_new(context_.get());
    if (ssl == nullptr) return base::error(Errc::kInternal, "TLS session: {}", openssl_error());
    SSL_set_accept_state(ssl);
    return std::unique_ptr<TlsSession>(std::make_unique<Session>(ssl, nullptr, ""));
  }

 private:
  Ctx context_;
};

}  // namespace

Result<std::unique_ptr<TlsSession>> TlsSession::client(const TlsConfig& config, const std::string& host) {
  auto context = make_context(config, false);
  if (!context) return std::move(context).error();
  SSL* ssl = SSL_new(context->get());
  if (ssl == nullptr) return base::error(Errc::kInternal, "TLS session: {}", openssl_error());
  SSL_set_connect_state(ssl);
  const std::string name = config.server_name.empty() ? host : config.server_name;
  unsigned char binary[16];
  const bool is_ip = inet_pton(AF_INET, name.c_str(), binary) == 1 || inet_pton(AF_INET6, name.c_str(), binary) == 1;
  if (is_ip) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str());
  } else if (!name.starts_with('/')) {
    SSL_set1_host(ssl, name.c_str());
    SSL_set_tlsext_host_name(ssl, name.c_str());
  }
  return std::unique_ptr<TlsSession>(std::make_unique<Session>(ssl, std::move(*context), name));
}

Result<std::shared_ptr<TlsContext>> TlsContext::server(const TlsConfig& config) {
  auto context = make_context(config, true);
  if (!context) return std::move(context).error();
  return std::shared_ptr<TlsContext>(std::make_shared<ServerContext>(std::move(*context)));
}

}  // namespace kubeedge::net
