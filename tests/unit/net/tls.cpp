// TLS on both sides: who is believed, what an error says, and that bytes move.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <ctime>

#include "net_test.h"
#include "pki/pki.h"

using namespace kubeedge;
using namespace kubeedge::net_test;

namespace {

using Peer = net::TlsConfig::Peer;

constexpr std::int64_t kHour = 3600;

std::int64_t now() { return static_cast<std::int64_t>(std::time(nullptr)); }

pki::KeyPair client_of(const pki::KeyPair& ca, std::int64_t from = now()) {
  auto made = pki::new_client_certificate(ca, "system:node:edge-1", {"system:nodes"}, from, kHour);
  REQUIRE(made);
  return *made;
}

pki::KeyPair server_of(const pki::KeyPair& ca, const pki::Sans& names) {
  auto made = pki::new_server_certificate(ca, names, now());
  REQUIRE(made);
  return *made;
}

// A CA with a server and a client of it, and strangers.
struct Certificates {
  pki::KeyPair ca = *pki::new_ca(now()), other_ca = *pki::new_ca(now());
  pki::KeyPair server = server_of(ca, {{"cloud.example"}, {"127.0.0.1"}});
  pki::KeyPair elsewhere = server_of(ca, {{"cloud.example"}, {"192.0.2.7"}});  // not for the address that the tests dial
  pki::KeyPair client = client_of(ca), alien = client_of(other_ca), expired = client_of(ca, now() - 2 * kHour);

  net::TlsConfig for_server(Peer peer = Peer::kRequire) const { return for_server(server, peer); }
  net::TlsConfig for_server(const pki::KeyPair& key, Peer peer = Peer::kRequire) const {
    net::TlsConfig config = with(key);
    config.ca_pem = pki::pem("CERTIFICATE", ca.certificate_der);
    config.verify_peer = peer;
    return config;
  }
  net::TlsConfig for_client() const { return for_client(client); }
  net::TlsConfig for_client(const pki::KeyPair& key) const {
    net::TlsConfig config = with(key);
    config.ca_pem = pki::pem("CERTIFICATE", ca.certificate_der);
    return config;
  }
  net::TlsConfig nameless_client() const {
    net::TlsConfig config;
    config.ca_pem = pki::pem("CERTIFICATE", ca.certificate_der);
    return config;
  }

 private:
  static net::TlsConfig with(const pki::KeyPair& key) {
    net::TlsConfig config;
    config.certificate_pem = pki::pem("CERTIFICATE", key.certificate_der);
    config.private_key_pem = pki::pem("EC PRIVATE KEY", key.key_sec1_der);
    return config;
  }
};

struct TlsListener {
  TlsListener(Loop& loop, const net::TlsConfig& tls) {
    net::ListenOptions options;
    options.tls = tls;
    auto made =
        net::listen(loop.runtime, {"127.0.0.1", 0}, options, [this](std::unique_ptr<net::Stream> stream) { accepted = std::move(stream); });
    REQUIRE(made);
    listener = std::move(*made);
  }
  std::unique_ptr<net::Stream> accepted;
  std::unique_ptr<net::Listener> listener;
};

// Two of our own, dialled. In TLS 1.3 a server judges the client after the client's handshake is over, so a refusal
// may come as a failed read instead of a failed dial: `why` has either.
struct Pair : TlsListener {
  Pair(Loop& l, const net::TlsConfig& server, const net::TlsConfig& client) : TlsListener(l, server), loop(l) {
    net::DialOptions options;
    options.tls = client;
    net::dial(loop.runtime, listener->local(), options, [this](Result<std::unique_ptr<net::Stream>> result) {
      dialled = true;
      if (!result) {
        why = result.error().message;
        return;
      }
      stream = std::move(*result);
      stream->read([this](Result<Bytes> data) {
        if (!data) {
          why = data.error().message;
        } else if (data->empty()) {
          why = "ended";
        } else {
          got = data->str();
        }
      });
    });
    loop.until([this] { return dialled; });
  }

  bool works() {
    loop.run(Loop::kPatience, [this] { return accepted || !why.empty(); });
    if (!accepted) return false;
    accepted->write("hello", nullptr);
    loop.run(Loop::kPatience, [this] { return !got.empty() || !why.empty(); });
    return got == "hello";
  }
  bool refused() {
    loop.run(Loop::kPatience, [this] { return !why.empty(); });
    return !why.empty() && !accepted;
  }

  Loop& loop;
  std::unique_ptr<net::Stream> stream;
  std::string why, got;
  bool dialled = false;
};

// A foreign client: OpenSSL in memory over a plain stream, held to one version and, in TLS 1.2, to the one cipher suite
// that a Go peer can use with our certificates.
class ForeignClient {
 public:
  ForeignClient(Loop& loop, const net::Endpoint& where, const Certificates& certificates, int version)
      : context_(SSL_CTX_new(TLS_client_method())), ssl_((configure(certificates, version), SSL_new(context_))) {
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_, in_, out_);
    SSL_set_connect_state(ssl_);
    net::dial(loop.runtime, where, {}, [this](Result<std::unique_ptr<net::Stream>> result) {
      REQUIRE(result);
      stream_ = std::move(*result);
      step();
      read();
    });
  }
  ~ForeignClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  ForeignClient(const ForeignClient&) = delete;
  ForeignClient& operator=(const ForeignClient&) = delete;

  bool ended() const { return ended_; }
  bool shaken() const { return SSL_is_init_finished(ssl_) == 1; }
  std::string version() const { return SSL_get_version(ssl_); }
  const std::string& got() const { return got_; }

 private:
  void configure(const Certificates& certificates, int version) {
    SSL_CTX_set_security_level(context_, 0);  // else OpenSSL itself refuses TLS 1.1
    SSL_CTX_set_min_proto_version(context_, version);
    SSL_CTX_set_max_proto_version(context_, version);
    SSL_CTX_set_cipher_list(context_, version == TLS1_2_VERSION ? "ECDHE-ECDSA-AES128-GCM-SHA256" : "ALL:@SECLEVEL=0");
    const auto& key = certificates.client;
    SSL_CTX_use_certificate_ASN1(context_, static_cast<int>(key.certificate_der.size()), bytes(key.certificate_der));
    SSL_CTX_use_PrivateKey_ASN1(EVP_PKEY_EC, context_, bytes(key.key_sec1_der), static_cast<long>(key.key_sec1_der.size()));
  }
  static const unsigned char* bytes(const std::string& text) { return reinterpret_cast<const unsigned char*>(text.data()); }

  void read() {
    stream_->read([this](Result<Bytes> data) {
      if (!data || data->empty()) {
        ended_ = true;
        return;
      }
      BIO_write(in_, data->view().data(), static_cast<int>(data->size()));
      step();
      read();
    });
  }
  void step() {
    if (!shaken()) SSL_do_handshake(ssl_);
    char buffer[4096];
    for (int size = 0; shaken() && (size = SSL_read(ssl_, buffer, sizeof buffer)) > 0;) got_.append(buffer, static_cast<std::size_t>(size));
    for (int size = 0; (size = BIO_read(out_, buffer, sizeof buffer)) > 0;) {
      stream_->write(Bytes(std::string(buffer, static_cast<std::size_t>(size))), nullptr);
    }
    ERR_clear_error();
  }

  SSL_CTX* context_;
  SSL* ssl_;
  BIO *in_ = nullptr, *out_ = nullptr;  // the SSL's
  std::unique_ptr<net::Stream> stream_;
  std::string got_;
  bool ended_ = false;
};

struct Drain {
  net::Stream& stream;
  std::size_t count = 0;
  void read() {
    stream.read([this](Result<Bytes> data) {
      if (!data || data->empty()) return;
      count += data->size();
      read();
    });
  }
};

}  // namespace

TEST_CASE("mutual TLS: each side knows the other by its certificate") {
  Loop loop;
  const Certificates certificates;
  Pair pair(loop, certificates.for_server(), certificates.for_client());
  REQUIRE(pair.works());
  const auto edge = pair.accepted->take_peer_certificate();
  REQUIRE(edge);
  CHECK(edge->common_name == "system:node:edge-1");
  CHECK(edge->organizations == std::vector<std::string>{"system:nodes"});
  CHECK(edge->der == certificates.client.certificate_der);
  const auto cloud = pair.stream->take_peer_certificate();
  REQUIRE(cloud);
  CHECK(cloud->der == certificates.server.certificate_der);
  CHECK_FALSE(pair.accepted->take_peer_certificate());
}

TEST_CASE("a client refuses a server of another CA") {
  Loop loop;
  const Certificates certificates;
  net::TlsConfig client = certificates.for_client();
  client.ca_pem = pki::pem("CERTIFICATE", certificates.other_ca.certificate_der);
  Pair pair(loop, certificates.for_server(), client);
  CHECK(pair.refused());
  CHECK_FALSE(pair.stream);

  SUBCASE("also where it names a mode that only a server has") {
    client.verify_peer = Peer::kRequestUnverified;
    Pair again(loop, certificates.for_server(), client);
    CHECK(again.refused());
    CHECK_FALSE(again.stream);
  }
  SUBCASE("but takes any where it asked for no verification") {
    client.verify_peer = Peer::kNone;
    Pair again(loop, certificates.for_server(), client);
    CHECK(again.works());
  }
}

TEST_CASE("a client without a CA believes nobody") {
  Loop loop;
  const Certificates certificates;
  net::TlsConfig client = certificates.for_client();
  client.ca_pem.clear();
  Pair pair(loop, certificates.for_server(), client);
  CHECK(pair.refused());
  CHECK_FALSE(pair.stream);
}

TEST_CASE("a connection that breaks while it shakes hands is unavailable, not refused: whoever joins tries again") {
  Loop loop;
  const Certificates certificates;
  std::unique_ptr<net::Stream> accepted;
  bool answers = false;
  SUBCASE("closed") {}
  SUBCASE("closed with a client's hello unread: a reset") { answers = true; }
  auto listener = net::listen(loop.runtime, {"127.0.0.1", 0}, {}, [&](std::unique_ptr<net::Stream> stream) {
    if (answers) return stream.reset();
    accepted = std::move(stream);
    accepted->read([&](Result<Bytes>) { accepted.reset(); });
  });
  REQUIRE(listener);
  net::DialOptions options;
  options.tls = certificates.for_client();
  std::optional<Error> error;
  net::dial(loop.runtime, (*listener)->local(), options, [&](Result<std::unique_ptr<net::Stream>> result) {
    REQUIRE_FALSE(result);
    error = result.error();
  });
  loop.until([&] { return error.has_value(); });
  CHECK(error->code == Errc::kUnavailable);
  CHECK(error->message.starts_with("TLS with 127.0.0.1:" + std::to_string((*listener)->local().port) + ": "));
}

TEST_CASE("a server's certificate for other names is refused, and the error lists the names it has") {
  Loop loop;
  const Certificates certificates;
  Pair pair(loop, certificates.for_server(certificates.elsewhere), certificates.for_client());
  CHECK(pair.refused());
  CHECK(pair.why.find("127.0.0.1") != std::string::npos);
  CHECK(pair.why.find("cloud.example") != std::string::npos);
  CHECK(pair.why.find("192.0.2.7") != std::string::npos);
}

TEST_CASE("server_name stands in for the dialled host") {
  Loop loop;
  const Certificates certificates;
  net::TlsConfig client = certificates.for_client();
  client.server_name = "cloud.example";
  Pair right(loop, certificates.for_server(certificates.elsewhere), client);
  CHECK(right.works());
  client.server_name = "evil.example";
  Pair wrong(loop, certificates.for_server(certificates.elsewhere), client);
  CHECK(wrong.refused());
}

TEST_CASE("a server that requires a certificate refuses a stranger's, an expired one and none") {
  Loop loop;
  const Certificates certificates;
  Pair alien(loop, certificates.for_server(), certificates.for_client(certificates.alien));
  CHECK(alien.refused());
  Pair expired(loop, certificates.for_server(), certificates.for_client(certificates.expired));
  CHECK(expired.refused());
  CHECK(expired.why.find("expired") != std::string::npos);  // the peer is told why
  Pair none(loop, certificates.for_server(), certificates.nameless_client());
  CHECK(none.refused());
}

TEST_CASE("a server that requests a certificate verifies the one that it is given, and takes none") {
  Loop loop;
  const Certificates certificates;
  const net::TlsConfig server = certificates.for_server(Peer::kRequest);
  Pair known(loop, server, certificates.for_client());
  REQUIRE(known.works());
  CHECK(known.accepted->take_peer_certificate()->common_name == "system:node:edge-1");
  Pair none(loop, server, certificates.nameless_client());
  REQUIRE(none.works());
  CHECK_FALSE(none.accepted->take_peer_certificate());
  Pair alien(loop, server, certificates.for_client(certificates.alien));
  CHECK(alien.refused());
  Pair expired(loop, server, certificates.for_client(certificates.expired));
  CHECK(expired.refused());
}

TEST_CASE("a server that requests a certificate unverified takes any, for its handler to judge") {
  Loop loop;
  const Certificates certificates;
  const net::TlsConfig server = certificates.for_server(Peer::kRequestUnverified);
  for (const pki::KeyPair* key : {&certificates.client, &certificates.alien, &certificates.expired}) {
    Pair pair(loop, server, certificates.for_client(*key));
    REQUIRE(pair.works());
    CHECK(pair.accepted->take_peer_certificate()->der == key->certificate_der);
  }
  Pair none(loop, server, certificates.nameless_client());
  REQUIRE(none.works());
  CHECK_FALSE(none.accepted->take_peer_certificate());
}

TEST_CASE("a server that asks for no certificate gets none") {
  Loop loop;
  const Certificates certificates;
  Pair pair(loop, certificates.for_server(Peer::kNone), certificates.for_client());
  REQUIRE(pair.works());
  CHECK_FALSE(pair.accepted->take_peer_certificate());
}

TEST_CASE("peers of TLS 1.2 and 1.3 are served, older ones are not") {
  Loop loop;
  const Certificates certificates;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsListener server(loop, certificates.for_server());
    ForeignClient client(loop, server.listener->local(), certificates, version);
    loop.until([&] { return server.accepted != nullptr; });
    REQUIRE(server.accepted);
    CHECK(server.accepted->take_peer_certificate()->common_name == "system:node:edge-1");
    server.accepted->write("hello", nullptr);
    loop.until([&] { return client.got() == "hello"; });
    CHECK(client.version() == (version == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3"));
  }
  TlsListener server(loop, certificates.for_server());
  ForeignClient client(loop, server.listener->local(), certificates, TLS1_1_VERSION);
  loop.until([&] { return client.ended(); });
  CHECK_FALSE(client.shaken());
  CHECK_FALSE(server.accepted);
}

TEST_CASE("an error that other code left in OpenSSL's queue does not end a stream") {
  Loop loop;
  const Certificates certificates;
  Pair pair(loop, certificates.for_server(), certificates.for_client());
  loop.until([&] { return pair.accepted != nullptr; });
  std::string got, why;
  ERR_raise(ERR_LIB_USER, 1);
  pair.accepted->read([&](Result<Bytes> data) {
    if (data) {
      got = data->str();
    } else {
      why = data.error().message;
    }
  });
  loop.run(Milliseconds{50});  // the read has looked, and waits
  ERR_clear_error();
  pair.stream->write("data", nullptr);
  loop.until([&] { return !got.empty() || !why.empty(); });
  CHECK(why.empty());
  CHECK(got == "data");
}

TEST_CASE("8 MiB go both ways at once") {
  constexpr std::size_t kSize = 8u << 20;
  Loop loop;
  const Certificates certificates;
  Pair pair(loop, certificates.for_server(), certificates.for_client());
  REQUIRE(pair.works());
  Drain up{*pair.accepted}, down{*pair.stream};
  up.read();
  down.read();
  pair.accepted->write(std::string(kSize, 's'), nullptr);
  pair.stream->write(std::string(kSize, 'c'), nullptr);
  loop.run(Milliseconds{60'000}, [&] { return up.count == kSize && down.count == kSize; });
  CHECK(up.count == kSize);
  CHECK(down.count == kSize);
}

TEST_CASE("a WebSocket over mutual TLS: its upgrade request knows the peer") {
  Loop loop;
  const Certificates certificates;
  net::ListenOptions listen;
  listen.tls = certificates.for_server();
  std::unique_ptr<net::WebSocket> cloud, edge;
  std::string got, peer;
  auto server = net::HttpServer::listen(loop.runtime, {"127.0.0.1", 0}, listen, {},
                                        [&](net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
                                          if (const auto certificate = responder->peer_certificate()) peer = certificate->common_name;
                                          cloud = net::websocket_accept(loop.runtime, request, responder, {});
                                          REQUIRE(cloud);
                                          cloud->start({[&](Bytes text) { got = text.str(); }, [](Error) {}});
                                        });
  REQUIRE(server);
  net::DialOptions dial;
  dial.tls = certificates.for_client();
  net::websocket_dial(loop.runtime, (*server)->local(), "/", {}, dial, {}, [&](Result<std::unique_ptr<net::WebSocket>> dialled) {
    REQUIRE(dialled);
    edge = std::move(*dialled);
    edge->start({[](Bytes) {}, [](Error) {}});
    edge->send("hi");
  });
  loop.until([&] { return got == "hi"; });
  CHECK(peer == "system:node:edge-1");
}

TEST_CASE("a new certificate serves the connections that come after it") {
  Loop loop;
  const Certificates certificates;
  Pair before(loop, certificates.for_server(), certificates.for_client());
  REQUIRE(before.works());
  const pki::KeyPair renewed = server_of(certificates.ca, {{}, {"127.0.0.1"}});
  before.listener->set_tls(certificates.for_server(renewed));
  net::DialOptions options;
  options.tls = certificates.for_client();
  std::unique_ptr<net::Stream> after;
  net::dial(loop.runtime, before.listener->local(), options, [&](Result<std::unique_ptr<net::Stream>> dialled) {
    REQUIRE(dialled);
    after = std::move(*dialled);
  });
  loop.until([&] { return after != nullptr; });
  CHECK(after->take_peer_certificate()->der == renewed.certificate_der);
  CHECK(before.stream->take_peer_certificate()->der == certificates.server.certificate_der);
}
