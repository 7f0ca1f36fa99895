#include "wire/http_content.h"

#include <algorithm>
#include <array>
#include <map>

#include "base/text.h"
#include "wire/json_scan.h"
#include "wire/message_codec.h"

namespace kubeedge::wire {
namespace {

constexpr std::size_t kMaxHeaders = 1'000;

void append_headers(std::string& out, const HttpHeaders& headers) {
  std::vector<std::pair<std::string, std::vector<std::string>>> fields;   // in order; a name may come again
  for (const auto& [name, value] : headers) {
    const auto same = std::find_if(fields.begin(), fields.end(), [&wanted = name](const auto& field) { return base::lower(field.first) == base::lower(wanted); });
    if (same == fields.end()) fields.push_back({name, {value}});
    else same->second.push_back(value);
  }
  out += '{';
  for (const auto& [name, values] : fields) {
    if (out.back() != '{') out += ',';
    out += json_string(name).view();
    out += ":[";
    for (const auto& value : values) {
      if (out.back() != '[') out += ',';
      out += json_string(value).view();
    }
    out += ']';
  }
  out += '}';
}

Result<HttpHeaders> read_headers(std::string_view value) {
  HttpHeaders headers;
  if (value == "null") return headers;
  if (value.front() != '{') return base::error(Errc::kInvalidArgument, "header is no JSON object");
  scan::Members members(value);
  while (const auto member = members.next()) {
    if (member->value.front() != '[') return base::error(Errc::kInvalidArgument, "a header's values are no list");
    const std::string name = scan::unescape(member->key_literal);
    // A list of strings: each literal is found by its quotes.
    for (std::size_t at = 1; at < member->value.size(); ++at) {
      if (member->value[at] == ']' || member->value[at] == ',' || member->value[at] == ' ' || member->value[at] == '\n' || member->value[at] == '\t' || member->value[at] == '\r')
        continue;
      if (member->value[at] != '"') return base::error(Errc::kInvalidArgument, "header {}: a value is no string", name.substr(0, 80));
      std::size_t end = at + 1;
      while (member->value[end] != '"') end += member->value[end] == '\\' ? 2 : 1;
      if (headers.size() >= kMaxHeaders) return base::error(Errc::kLimitExceeded, "more than {} headers", kMaxHeaders);
      headers.emplace_back(name, scan::unescape(member->value.substr(at, end + 1 - at)));
      at = end;
    }
  }
  return headers;
}

Result<std::string> read_body(std::string_view value) {
  if (value == "null") return std::string();
  if (value.front() != '"') return base::error(Errc::kInvalidArgument, "body is no string");
  auto body = base::from_base64(scan::unescape(value));
  if (!body) return base::error(Errc::kInvalidArgument, "body is no base64");
  return std::move(*body);
}

std::string read_text(std::string_view value) { return value.front() == '"' ? scan::unescape(value) : std::string(); }

// The object that is the content, or that is written in it.
Result<std::string> object_of(const Message& message) {
  std::string text = content_text(message);
  if (message.content.view().front() == '"')
    if (auto valid = scan::validate(text); !valid) return valid.error();
  std::string object(scan::trim(text));
  if (object.empty() || object.front() != '{') return base::error(Errc::kInvalidArgument, "the content is no JSON object");
  return object;
}

bool of_connection(const std::string& lower_name) {
  static constexpr std::array kNames{"connection",        "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
                                     "transfer-encoding", "upgrade",    "content-length",   "host",               "expect"};
  return std::find(kNames.begin(), kNames.end(), lower_name) != kNames.end();
}

// What could end a header line early.
bool is_line(const std::string& text) { return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos; }

}  // namespace

Bytes http_content(const HttpCall& call) {
  std::string out = "{\"header\":";
  append_headers(out, call.headers);
  out += ",\"body\":\"" + base::base64(call.body) + "\",\"method\":";
  out += json_string(call.method).view();
  out += ",\"url\":";
  out += json_string(call.url).view();
  out += '}';
  return Bytes(std::move(out));
}

Bytes http_content(const HttpAnswer& answer) {
  std::string out = "{\"header\":";
  append_headers(out, answer.headers);
  out += fmt::format(",\"status_code\":{},\"body\":\"", answer.status) + base::base64(answer.body) + "\"}";
  return Bytes(std::move(out));
}

Result<HttpCall> http_call(const Message& message) {
  auto object = object_of(message);
  if (!object) return std::move(object).error();
  HttpCall call;
  scan::Members members(*object);
  while (const auto member = members.next()) {
    if (member->key_is("header")) {
      auto headers = read_headers(member->value);
      if (!headers) return std::move(headers).error();
      call.headers = std::move(*headers);
    } else if (member->key_is("body")) {
      auto body = read_body(member->value);
      if (!body) return std::move(body).error();
      call.body = std::move(*body);
    } else if (member->key_is("method")) {
      call.method = read_text(member->value);
    } else if (member->key_is("url")) {
      call.url = read_text(member->value);
    }
  }
  return call;
}

Result<HttpAnswer> http_answer(const Message& message) {
  auto object = object_of(message);
  if (!object) return std::move(object).error();
  HttpAnswer answer;
  scan::Members members(*object);
  while (const auto member = members.next()) {
    if (member->key_is("header")) {
      auto headers = read_headers(member->value);
      if (!headers) return std::move(headers).error();
      answer.headers = std::move(*headers);
    } else if (member->key_is("body")) {
      auto body = read_body(member->value);
      if (!body) return std::move(body).error();
      answer.body = std::move(*body);
    } else if (member->key_is("status_code")) {
      answer.status = static_cast<int>(std::clamp<std::int64_t>(base::to_int(member->value).value_or(0), 0, 999));
    }
  }
  if (answer.status < 200 || answer.status > 599) return base::error(Errc::kInvalidArgument, "status_code {} is no final HTTP status", answer.status);
  return answer;
}

HttpHeaders end_to_end(const HttpHeaders& headers) {
  std::vector<std::string> named;   // by the Connection header
  for (const auto& [name, value] : headers)
    if (base::lower(name) == "connection")
      for (const auto& one : base::split(base::lower(value), ',')) named.emplace_back(scan::trim(one));
  HttpHeaders kept;
  for (const auto& header : headers) {
    const std::string lower = base::lower(header.first);
    if (lower.empty() || of_connection(lower) || std::find(named.begin(), named.end(), lower) != named.end()) continue;
    if (is_line(header.first) && is_line(header.second)) kept.push_back(header);
  }
  return kept;
}

}  // namespace kubeedge::wire
