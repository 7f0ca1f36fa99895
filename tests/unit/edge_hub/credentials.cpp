#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "edge/hub/join.h"
#include "pki/pki.h"

using namespace kubeedge;
using namespace kubeedge::edge;

namespace {
constexpr std::int64_t kNow = 1'796'000'000, kYear = 365 * 86'400, k1970 = 180;

// The files of a join at kNow, for a year.
struct Joined {
  Joined() {
    char name[] = "/tmp/ke-credentials.XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    folder = name;
    const auto ca = pki::new_ca(kNow);
    const auto key = pki::new_key_sec1_der();
    const auto csr = pki::new_csr_der(key, "edge1");
    REQUIRE((ca && csr));
    const auto leaf = pki::sign_csr(*ca, *csr, {2}, kNow, kYear);
    REQUIRE(leaf);
    options.node = NodeId("edge1");
    options.ca_file = write("ca", pki::pem("CERTIFICATE", ca->certificate_der));
    options.certificate_file = write("crt", pki::pem("CERTIFICATE", *leaf));
    options.private_key_file = write("key", pki::pem("EC PRIVATE KEY", key));
  }
  ~Joined() { std::filesystem::remove_all(folder); }
  std::string write(const char* name, const std::string& text) const {
    std::ofstream(folder / name) << text;
    return folder / name;
  }
  Errc error(std::int64_t now) const {
    const auto loaded = load_credentials(options, now);
    REQUIRE_FALSE(loaded);
    return loaded.error().code;
  }

  std::filesystem::path folder;
  JoinOptions options;
};
}  // namespace

TEST_CASE("a certificate is this node's, whatever a clock says that is behind") {
  const Joined joined;
  CHECK(load_credentials(joined.options, kNow + 60));
  CHECK(load_credentials(joined.options, k1970));
}

TEST_CASE("C16: an expired certificate is told from one of another node and from none") {
  Joined joined;
  CHECK(joined.error(kNow + kYear + 60) == Errc::kUnauthenticated);
  joined.options.node = NodeId("edge2");
  CHECK(joined.error(kNow + 60) == Errc::kInvalidArgument);
  std::filesystem::remove(joined.options.certificate_file);
  CHECK(joined.error(kNow + 60) == Errc::kNotFound);
}
