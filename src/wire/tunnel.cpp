#include "wire/tunnel.h"

#include <map>
#include <optional>

#include "base/json.h"
#include "base/json_member.h"
#include "base/text.h"

namespace kubeedge::wire {
namespace {

using base::member;
using base::text_of;

constexpr std::size_t kMaxPathBytes = 4096;
constexpr std::size_t kMaxHeaders = 100;

void put_number(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7U) out += static_cast<char>(value | 0x80U);
  out += static_cast<char>(value);
}

// LEB128, at most 64 bits; what it used is cut off `text`.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < text.size() && i < 10; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (i == 9 && byte > 1) return std::nullopt;
    value |= std::uint64_t{byte & 0x7fU} << (7 * i);
    if (byte >= 0x80) continue;
    text.remove_prefix(i + 1);
    return value;
  }
  return std::nullopt;
}

// A line break would be a header of its own.
bool one_line(std::string_view text) { return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos; }

Result<void> take_headers(const nlohmann::json& from, TunnelConnect& into) {
  if (from.is_null()) return {};
  if (!from.is_object()) return base::error(Errc::kInvalidArgument, "connect message: header is no object");
  for (const auto& [name, values] : from.items()) {
    if (!values.is_array()) return base::error(Errc::kInvalidArgument, "connect message: header {} is no list", name.substr(0, 80));
    for (const auto& value : values) {
      if (into.headers.size() == kMaxHeaders) return base::error(Errc::kLimitExceeded, "connect message: over {} headers", kMaxHeaders);
      if (!value.is_string() || name.empty() || !one_line(name) || !one_line(value.get_ref<const std::string&>()))
        return base::error(Errc::kInvalidArgument, "connect message: header {} is malformed", base::percent_encode(name.substr(0, 80)));
      into.headers.emplace_back(name, value.get<std::string>());
    }
  }
  return {};
}

}  // namespace

Result<TunnelMessage> decode_tunnel(const Bytes& message) {
  std::string_view rest = message.view();
  const auto id = take_number(rest);
  const auto type = id ? take_number(rest) : std::nullopt;
  if (!type) return base::error(Errc::kInvalidArgument, "tunnel message of {} bytes has no id and type", message.size());
  if (rest.size() > kMaxTunnelData) return base::error(Errc::kLimitExceeded, "tunnel message has {} bytes of data, limit {}", rest.size(), kMaxTunnelData);
  return TunnelMessage{*id, static_cast<TunnelType>(*type), message.slice(message.size() - rest.size(), rest.size())};
}

std::string encode_tunnel(std::uint64_t id, TunnelType type, std::string_view data) {
  std::string out;
  out.reserve(data.size() + 12);
  put_number(out, id);
  put_number(out, static_cast<std::uint64_t>(type));
  out += data;
  return out;
}

std::string encode_credit(std::uint64_t bytes) {
  std::string out;
  put_number(out, bytes);
  return out;
}

Result<std::uint64_t> decode_credit(std::string_view data) {
  const auto bytes = take_number(data);
  if (!bytes || !data.empty()) return base::error(Errc::kInvalidArgument, "window message is no number");
  return *bytes;
}

// The keys are Go's: of url.URL as its JSON encoder dumps it, and of upstream's struct.
std::string encode_connect(TunnelType type, const TunnelConnect& connect) {
  std::map<std::string, std::vector<std::string>> headers;
  for (const auto& [name, value] : connect.headers) headers[name].push_back(value);
  nlohmann::ordered_json out = {{"MessID", connect.id},
                                {"url", {{"Scheme", "http"}, {"Opaque", ""}, {"User", nullptr}, {"Host", "127.0.0.1:10350"}, {"Path", connect.path}, {"Fragment", ""},
                                         {"RawQuery", connect.query}, {"RawPath", ""}, {"RawFragment", ""}, {"ForceQuery", false}, {"OmitHost", false}}},
                                {"header", headers}};
  if (type == TunnelType::kExec || type == TunnelType::kAttach) out["method"] = connect.method;
  if (connect.window > 0) out["window"] = connect.window;
  return base::dump_ordered_json(out);
}

Result<TunnelConnect> decode_connect(std::string_view json) {
  const nlohmann::json body = base::parse_json(json);
  const nlohmann::json& id = body.is_object() ? member(body, "MessID") : body;
  if (!id.is_number_unsigned()) return base::error(Errc::kInvalidArgument, "connect message: no MessID");
  const nlohmann::json& url = member(body, "url");
  if (!url.is_object()) return base::error(Errc::kInvalidArgument, "connect message: no url");
  TunnelConnect out;
  out.id = id.get<std::uint64_t>();
  out.path = text_of(url, "Path");
  out.query = text_of(url, "RawQuery");
  if (!out.path.starts_with('/') || out.path.size() > kMaxPathBytes || !one_line(out.path) || !one_line(out.query))
    return base::error(Errc::kInvalidArgument, "connect message: malformed url");
  if (const std::string method = text_of(body, "method"); !method.empty()) out.method = method;
  if (out.method != "GET" && out.method != "POST") return base::error(Errc::kInvalidArgument, "connect message: method is neither GET nor POST");
  if (const nlohmann::json& window = member(body, "window"); window.is_number_unsigned()) out.window = window.get<std::uint64_t>();
  if (Result<void> taken = take_headers(member(body, "header"), out); !taken) return std::move(taken).error();
  return out;
}

}  // namespace kubeedge::wire
