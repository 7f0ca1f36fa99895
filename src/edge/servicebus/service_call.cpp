#include "edge/servicebus/service_call.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/text.h"
#include "wire/json_scan.h"
#include "wire/message_codec.h"

namespace kubeedge::edge {
namespace {

// 4 or 16 bytes, or nothing.
std::string binary(const std::string& address) {
  char bytes[16];
  if (::inet_pton(AF_INET, address.c_str(), bytes) == 1) return std::string(bytes, 4);
  if (::inet_pton(AF_INET6, address.c_str(), bytes) != 1) return {};
  const std::string v6(bytes, 16);
  static const std::string mapped("\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);   // ::ffff:a.b.c.d is a.b.c.d
  return v6.starts_with(mapped) ? v6.substr(12) : v6;
}

bool is_loopback(const std::string& address) {
  if (address.size() == 4) return static_cast<unsigned char>(address[0]) == 127;
  return address == std::string("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
}

bool in_network(const std::string& address, const std::string& network, unsigned bits) {
  if (address.size() != network.size()) return false;
  for (unsigned i = 0; i < bits; ++i) {
    const unsigned mask = 0x80U >> (i % 8);
    if ((static_cast<unsigned char>(address[i / 8]) & mask) != (static_cast<unsigned char>(network[i / 8]) & mask)) return false;
  }
  return true;
}

bool is_method(const std::string& text) {
  static constexpr std::size_t kMaxMethod = 20;
  return !text.empty() && text.size() <= kMaxMethod && std::all_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

}  // namespace

Result<AllowedTargets> AllowedTargets::parse(const std::vector<std::string>& entries) {
  AllowedTargets allowed;
  for (const auto& entry : entries) {
    const auto slash = entry.find('/');
    Network network{binary(entry.substr(0, slash)), 0};
    if (network.address.empty()) {
      if (slash != std::string::npos || entry.empty() || entry.find_first_of(" :") != std::string::npos)
        return base::error(Errc::kInvalidArgument, "allowed target \"{}\": expected an address, a network like 10.88.0.0/16 or a host name", entry.substr(0, 100));
      allowed.names_.push_back(base::lower(entry));
      continue;
    }
    const auto widest = static_cast<std::int64_t>(network.address.size() * 8);
    const auto bits = slash == std::string::npos ? std::optional<std::int64_t>(widest) : base::to_int(entry.substr(slash + 1));
    if (!bits || *bits < 0 || *bits > widest) return base::error(Errc::kInvalidArgument, "allowed target \"{}\": the prefix is none of 0 to {}", entry.substr(0, 100), widest);
    network.bits = static_cast<unsigned>(*bits);
    allowed.networks_.push_back(std::move(network));
  }
  return allowed;
}

bool AllowedTargets::allows(const std::string& host, const std::vector<std::string>& own_addresses) const {
  const std::string address = binary(host);
  if (address.empty()) return host == "localhost" || std::find(names_.begin(), names_.end(), base::lower(host)) != names_.end();
  if (is_loopback(address) || std::any_of(own_addresses.begin(), own_addresses.end(), [&](const auto& own) { return binary(own) == address; })) return true;
  return std::any_of(networks_.begin(), networks_.end(), [&](const Network& network) { return in_network(address, network.address, network.bits); });
}

Result<net::Url> service_target(const Message& message, const wire::HttpCall& call, const AllowedTargets& allowed, const std::vector<std::string>& own_addresses) {
  if (!is_method(call.method)) return base::error(Errc::kInvalidArgument, "the method is none");
  std::string text = call.url;
  if (text.empty()) {
    const auto colon = message.resource.find(':');
    const auto port = base::to_int(message.resource.substr(0, colon));
    if (colon == std::string::npos || !port || *port <= 0 || *port > 65535)
      return base::error(Errc::kInvalidArgument, "the format of resource {} is incorrect: expected PORT:PATH", message.resource.substr(0, 200));
    const std::string path = message.resource.substr(colon + 1);
    text = fmt::format("http://127.0.0.1:{}{}{}", *port, path.starts_with('/') ? "" : "/", path);
  }
  auto url = net::parse_url(text);
  if (!url) return url;
  if (!allowed.allows(url->server.host, own_addresses))
    return base::error(Errc::kPermissionDenied, "{} is not this node: add it to modules.serviceBus.allowedTargets of its edgecore.yaml", url->server.host);
  return url;
}

int status_of(const Error& error) {
  switch (error.code) {
    case Errc::kInvalidArgument: return 400;
    case Errc::kPermissionDenied: return 403;
    case Errc::kTimeout: return 504;
    default: return 502;
  }
}

wire::HttpAnswer edge_error(int status, const std::string& text) {
  return {{{"Server", wire::kEdgeServer}, {"Content-Type", "text/plain; charset=utf-8"}}, status, text};
}

Result<AppRequest> app_request(const Bytes& body) {
  if (auto valid = wire::scan::validate(body.view()); !valid) return std::move(valid).error();
  const auto url = wire::scan::member(wire::scan::trim(body.view()), "targetURL");
  if (!url || url->front() != '"') return base::error(Errc::kInvalidArgument, "targetURL is missing");
  return AppRequest{wire::scan::unescape(*url)};
}

Bytes app_answer(int code, std::string_view text, std::string_view body) {
  return Bytes(fmt::format(R"({{"code":{},"msg":{},"body":{}}})", code, wire::json_string(text).view(), wire::json_string(body).view()));
}

}  // namespace kubeedge::edge
