#include "kube/schema/syntax.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/json.h"
#include "base/text.h"

namespace kubeedge::kube::schema {
namespace {

constexpr std::size_t kMaxLabel = 63, kMaxSubdomain = 253, kMaxPortName = 15;
constexpr std::string_view kLabelPattern = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
constexpr std::string_view kQualifiedPattern = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

bool lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool alnum(char c) { return lower_alnum(c) || (c >= 'A' && c <= 'Z'); }

bool is_label(std::string_view text) {
  return !text.empty() && lower_alnum(text.front()) && lower_alnum(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return lower_alnum(c) || c == '-'; });
}

bool is_subdomain(std::string_view text) {
  for (;;) {
    const auto dot = text.find('.');
    if (!is_label(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool is_qualified(std::string_view text) {
  return !text.empty() && alnum(text.front()) && alnum(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}

std::string too_long(std::size_t limit) { return "must be no more than " + std::to_string(limit) + " characters"; }

// "what (e.g. 'a',  or 'b', regex used for validation is 'pattern')", the double blank included.
std::string pattern_error(std::string_view what, std::string_view pattern, std::initializer_list<std::string_view> examples) {
  std::string text = std::string(what) + " (e.g. ";
  bool first = true;
  for (const auto example : examples) {
    if (!first) text += " or ";
    first = false;
    text += "'" + std::string(example) + "', ";
  }
  return text + "regex used for validation is '" + std::string(pattern) + "')";
}

std::string qualified_error() {
  return pattern_error("must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                       kQualifiedPattern, {"MyName", "my.name", "123-abc"});
}

void no_dot_names(std::string_view text, std::vector<std::string>& errors) {
  if (text == ".") errors.emplace_back("must not be '.'");
  else if (text == "..") errors.emplace_back("must not be '..'");
  else if (text.starts_with("..")) errors.emplace_back("must not start with '..'");
}

constexpr std::string_view kQuantityForm =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

// A quantity taken apart: +-digits * 10^scale * 2^shift.
struct Parts {
  bool negative = false;
  std::string number, fraction;  // digits before and after the point, leading zeros gone
  int exponent = 0;
  enum class Form { kDecimal, kBinary, kExponent } form = Form::kDecimal;
};

// "" and the parts, or the error.
std::string split_quantity(std::string_view text, Parts& parts) {
  if (text.empty()) return std::string(kQuantityForm);
  std::size_t at = 0;
  if (text[0] == '-' || text[0] == '+') {
    parts.negative = text[0] == '-';
    ++at;
  }
  while (at < text.size() && text[at] == '0') ++at;
  while (at < text.size() && digit(text[at])) parts.number += text[at++];
  if (parts.number.empty()) parts.number = "0";
  if (at < text.size() && text[at] == '.') {
    ++at;
    while (at < text.size() && digit(text[at])) parts.fraction += text[at++];
  }
  const std::string_view suffix = text.substr(at);
  std::size_t end = 0;
  while (end < suffix.size() && std::string_view("eEinumkKMGTP").find(suffix[end]) != std::string_view::npos) ++end;
  if (end < suffix.size() && (suffix[end] == '-' || suffix[end] == '+')) ++end;
  while (end < suffix.size() && digit(suffix[end])) ++end;
  if (end != suffix.size()) return std::string(kQuantityForm);

  struct Suffix { std::string_view text; int exponent; bool binary; };
  static constexpr std::array<Suffix, 16> kSuffixes{{{"", 0, false}, {"n", -9, false}, {"u", -6, false}, {"m", -3, false},
      {"k", 3, false}, {"M", 6, false}, {"G", 9, false}, {"T", 12, false}, {"P", 15, false}, {"E", 18, false}, {"Ki", 10, true},
      {"Mi", 20, true}, {"Gi", 30, true}, {"Ti", 40, true}, {"Pi", 50, true}, {"Ei", 60, true}}};
  for (const auto& known : kSuffixes) {
    if (known.text != suffix) continue;
    parts.exponent = known.exponent;
    parts.form = known.binary ? Parts::Form::kBinary : Parts::Form::kDecimal;
    return "";
  }
  if (suffix.size() > 1 && (suffix[0] == 'e' || suffix[0] == 'E')) {
    std::string_view number = suffix.substr(1);
    if (number.size() > 1 && number[0] == '+') number.remove_prefix(1);
    const auto exponent = base::to_int(number);
    if (exponent && *exponent > -1000 && *exponent < 1000) {
      parts.exponent = static_cast<int>(*exponent);
      parts.form = Parts::Form::kExponent;
      return "";
    }
  }
  return "unable to parse quantity's suffix";
}

std::string quantity_text(const nlohmann::json& value) { return value.is_string() ? value.get<std::string>() : base::dump_json(value); }

__extension__ using Wide = __int128;

std::string decimal(Wide value) {
  std::string digits;
  for (; value > 0; value /= 10) digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
  return digits.empty() ? "0" : digits;
}

}  // namespace

std::vector<std::string> dns1123_label(std::string_view text) {
  std::vector<std::string> errors;
  if (text.size() > kMaxLabel) errors.push_back(too_long(kMaxLabel));
  if (is_label(text)) return errors;
  if (is_subdomain(text)) errors.emplace_back("must not contain dots");
  else
    errors.push_back(pattern_error("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
                                   "and end with an alphanumeric character", kLabelPattern, {"my-name", "123-abc"}));
  return errors;
}

std::vector<std::string> dns1123_subdomain(std::string_view text) {
  std::vector<std::string> errors;
  if (text.size() > kMaxSubdomain) errors.push_back(too_long(kMaxSubdomain));
  if (!is_subdomain(text))
    errors.push_back(pattern_error("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
                                   "must start and end with an alphanumeric character",
                                   std::string(kLabelPattern) + "(\\." + std::string(kLabelPattern) + ")*", {"example.com"}));
  return errors;
}

std::vector<std::string> dns1035_label(std::string_view text) {
  std::vector<std::string> errors;
  if (text.size() > kMaxLabel) errors.push_back(too_long(kMaxLabel));
  if (!is_label(text) || digit(text.front()))
    errors.push_back(pattern_error("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
                                   "character, and end with an alphanumeric character",
                                   "[a-z]([-a-z0-9]*[a-z0-9])?", {"my-name", "abc-123"}));
  return errors;
}

std::vector<std::string> path_segment(std::string_view text) {
  if (text == "." || text == "..") return {"may not be '" + std::string(text) + "'"};
  std::vector<std::string> errors;
  for (const char c : {'/', '%'})
    if (text.find(c) != std::string_view::npos) errors.push_back(std::string("may not contain '") + c + "'");
  return errors;
}

std::vector<std::string> qualified_name(std::string_view text) {
  std::vector<std::string> errors;
  std::string_view name = text;
  if (const auto slash = text.find('/'); slash != std::string_view::npos) {
    const auto prefix = text.substr(0, slash);
    name = text.substr(slash + 1);
    if (name.find('/') != std::string_view::npos)
      return {"a qualified name " + qualified_error() + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"};
    if (prefix.empty()) errors.emplace_back("prefix part must be non-empty");
    else
      for (const auto& error : dns1123_subdomain(prefix)) errors.push_back("prefix part " + error);
  }
  if (name.empty()) errors.emplace_back("name part must be non-empty");
  else if (name.size() > kMaxLabel) errors.push_back("name part " + too_long(kMaxLabel));
  if (!is_qualified(name)) errors.push_back("name part " + qualified_error());
  return errors;
}

std::vector<std::string> label_value(std::string_view text) {
  std::vector<std::string> errors;
  if (text.size() > kMaxLabel) errors.push_back(too_long(kMaxLabel));
  if (!text.empty() && !is_qualified(text))
    errors.push_back(pattern_error("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
                                   "start and end with an alphanumeric character",
                                   "(" + std::string(kQualifiedPattern) + ")?", {"MyValue", "my_value", "12345"}));
  return errors;
}

std::vector<std::string> config_map_key(std::string_view text) {
  std::vector<std::string> errors;
  if (text.size() > kMaxSubdomain) errors.push_back(too_long(kMaxSubdomain));
  if (text.empty() || !std::all_of(text.begin(), text.end(), [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; }))
    errors.push_back(pattern_error("a valid config key must consist of alphanumeric characters, '-', '_' or '.'", "[-._a-zA-Z0-9]+",
                                   {"key.name", "KEY_NAME", "key-name"}));
  no_dot_names(text, errors);
  return errors;
}

std::vector<std::string> env_var_name(std::string_view text) {
  if (text.empty()) return {"environment variable name must be non-empty"};
  if (std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f && c != '='; })) return {};
  return {"a valid environment variable name must consist only of printable ASCII characters other than '='"};
}

std::vector<std::string> port_name(std::string_view text) {
  std::vector<std::string> errors;
  if (text.size() > kMaxPortName) errors.push_back(too_long(kMaxPortName));
  if (text.empty() || !std::all_of(text.begin(), text.end(), [](char c) { return lower_alnum(c) || c == '-'; }))
    errors.emplace_back("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (std::none_of(text.begin(), text.end(), [](char c) { return c >= 'a' && c <= 'z'; }))
    errors.emplace_back("must contain at least one letter (a-z)");
  if (text.find("--") != std::string_view::npos) errors.emplace_back("must not contain consecutive hyphens");
  if (!text.empty() && (text.front() == '-' || text.back() == '-')) errors.emplace_back("must not begin or end with a hyphen");
  return errors;
}

std::string quantity_error(const nlohmann::json& value) {
  if (!value.is_string() && !value.is_number()) return std::string(kQuantityForm);
  Parts parts;
  return split_quantity(quantity_text(value), parts);
}

std::optional<std::string> canonical_quantity(const nlohmann::json& value) {
  constexpr std::size_t kExactDigits = 18;  // as many as kube-apiserver computes with in 64 bits
  const std::string text = quantity_text(value);
  Parts parts;
  if (!split_quantity(text, parts).empty()) return std::nullopt;
  const std::string digits = parts.number + parts.fraction;
  if (digits.size() > kExactDigits) return std::nullopt;
  const bool binary = parts.form == Parts::Form::kBinary;
  int scale = -static_cast<int>(parts.fraction.size()) + (binary ? 0 : parts.exponent);
  const auto mantissa = base::to_int(digits);
  if (!mantissa) return std::nullopt;
  // Kubernetes keeps the text of a number that is already in its own form, even with zeros behind the point.
  const bool own_form = binary ? parts.fraction.empty() && (*mantissa & 7) != 0
                               : scale >= -9 && scale % 3 == 0 && !digits.ends_with("000") && digits[0] != '0';
  if (own_form) return text;
  if (*mantissa == 0) return "0";
  Wide number = *mantissa;
  if (binary) number <<= parts.exponent;
  while (scale < -9) {  // nothing below a nano: rounded up
    number = number / 10 + (number % 10 == 0 ? 0 : 1);
    ++scale;
  }
  auto form = parts.form;
  if (binary) {
    Wide whole = number;
    bool exact = true;
    for (int i = scale; i < 0; ++i) {
      exact = exact && whole % 10 == 0;
      whole /= 10;
    }
    if (!exact || whole < 1024) form = Parts::Form::kDecimal;
    else {
      number = whole;
      scale = 0;
    }
  }
  std::string suffix;
  if (form == Parts::Form::kBinary) {
    std::size_t times = 0;
    for (; number % 1024 == 0 && times < 6; ++times) number /= 1024;
    static constexpr std::array<std::string_view, 7> kBinary{"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    suffix = kBinary[times];
  } else {
    for (; number % 10 == 0; number /= 10) ++scale;
    for (; scale % 3 != 0; --scale) number *= 10;
    if (form == Parts::Form::kExponent) {
      if (scale != 0) suffix = "e" + std::to_string(scale);
    } else {
      static constexpr std::string_view kDecimal[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
      if (scale > 18) return std::nullopt;
      suffix = kDecimal[static_cast<std::size_t>(scale / 3 + 3)];
    }
  }
  return (parts.negative ? "-" : "") + decimal(number) + suffix;
}

bool is_ip(std::string_view text) {
  std::array<unsigned char, 16> out{};
  const std::string copy(text);
  return inet_pton(AF_INET, copy.c_str(), out.data()) == 1 || inet_pton(AF_INET6, copy.c_str(), out.data()) == 1;
}

bool is_cidr(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos || !is_ip(text.substr(0, slash))) return false;
  const auto bits = base::to_int(text.substr(slash + 1));
  return bits && *bits >= 0 && *bits <= (text.find(':') == std::string_view::npos ? 32 : 128);
}

std::optional<double> quantity_number(const nlohmann::json& value) {
  Parts parts;
  if ((!value.is_string() && !value.is_number()) || !split_quantity(quantity_text(value), parts).empty()) return std::nullopt;
  double number = 0;
  for (const char c : parts.number + parts.fraction) number = number * 10 + (c - '0');
  const auto places = static_cast<int>(parts.fraction.size());
  const bool binary = parts.form == Parts::Form::kBinary;
  // One division or multiplication by a power of ten: equal amounts stay equal whatever their suffix.
  const int scale = (binary ? 0 : parts.exponent) - places;
  number = scale < 0 ? number / std::pow(10.0, -scale) : number * std::pow(10.0, scale);
  if (binary) number = std::ldexp(number, parts.exponent);
  return parts.negative ? -number : number;
}

std::string time_error(const std::string& text, bool micro) {
  constexpr std::size_t kSeconds = 19;  // up to and with the seconds
  const auto failed = [&](std::string_view rest, std::string_view as) {
    const std::string form = std::string("2006-01-02T15:04:05") + (micro ? ".000000" : "") + "Z07:00";
    return "parsing time \"" + text + "\" as \"" + form + "\": cannot parse \"" + std::string(rest) + "\" as \"" + std::string(as) + "\"";
  };
  if (!base::from_rfc3339(text)) return failed(text, "2006");
  const auto part = [&](std::size_t at) { return base::to_int(std::string_view(text).substr(at, 2)).value_or(-1); };
  const auto year = base::to_int(std::string_view(text).substr(0, 4)).value_or(0), month = part(5), day = part(8);
  if (month < 1 || month > 12) return "parsing time \"" + text + "\": month out of range";
  constexpr std::array<int, 12> kDays{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  const int days = kDays[static_cast<std::size_t>(month - 1)] + (leap && month == 2 ? 1 : 0);
  if (day < 1 || day > days) return "parsing time \"" + text + "\": day out of range";
  if (part(11) < 0 || part(11) > 23) return "parsing time \"" + text + "\": hour out of range";
  if (part(14) < 0 || part(14) > 59) return "parsing time \"" + text + "\": minute out of range";
  if (part(17) < 0 || part(17) > 59) return "parsing time \"" + text + "\": second out of range";
  if (!micro) return "";
  const std::string_view rest = std::string_view(text).substr(kSeconds);
  const bool six = rest.size() > 7 && rest[0] == '.' && std::all_of(rest.begin() + 1, rest.begin() + 7, digit) && !digit(rest[7]);
  return six ? "" : failed(rest, ".000000");
}

std::optional<std::string> canonical_time(const std::string& text, bool micro) {
  const auto seconds = base::from_rfc3339(text);
  if (!seconds) return std::nullopt;
  std::string out = base::rfc3339(*seconds);
  if (!micro) return out;
  std::string fraction;
  if (const auto dot = text.find('.'); dot != std::string::npos)
    for (auto at = dot + 1; at < text.size() && digit(text[at]) && fraction.size() < 6; ++at) fraction += text[at];
  fraction.resize(6, '0');
  out.insert(out.size() - 1, "." + fraction);
  return out;
}

std::string duration_error(const std::string& text) {
  const std::string bad = "time: invalid duration \"" + text + "\"";
  std::string_view rest = text;
  if (rest.starts_with('-') || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return "";
  if (rest.empty()) return bad;
  while (!rest.empty()) {
    const auto digits = std::min(rest.find_first_not_of("0123456789."), rest.size());
    if (digits == 0 || rest.substr(0, digits) == ".") return bad;
    rest.remove_prefix(digits);
    const auto unit = rest.substr(0, std::min(rest.find_first_of("0123456789."), rest.size()));
    static constexpr std::string_view kUnits[] = {"ns", "us", "\xc2\xb5s", "ms", "s", "m", "h"};
    if (unit.empty()) return "time: missing unit in duration \"" + text + "\"";
    if (std::find(std::begin(kUnits), std::end(kUnits), unit) == std::end(kUnits))
      return "time: unknown unit \"" + std::string(unit) + "\" in duration \"" + text + "\"";
    rest.remove_prefix(unit.size());
  }
  return "";
}

std::string base64_error(const std::string& text) {
  const auto bad = [](std::size_t at) { return "illegal base64 data at input byte " + std::to_string(at); };
  const auto newline = [](char c) { return c == '\r' || c == '\n'; };
  std::size_t in_quad = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (newline(text[i])) continue;
    if (alnum(text[i]) || text[i] == '+' || text[i] == '/') {
      in_quad = (in_quad + 1) % 4;
      continue;
    }
    if (text[i] != '=' || in_quad < 2) return bad(i);
    std::size_t next = i + 1;
    if (in_quad == 2) {  // two of them
      while (next < text.size() && newline(text[next])) ++next;
      if (next == text.size()) return bad(next);
      if (text[next] != '=') return bad(next - 1);
      ++next;
    }
    while (next < text.size() && newline(text[next])) ++next;
    return next == text.size() ? "" : bad(next);
  }
  return in_quad == 0 ? "" : bad(text.size() - in_quad);
}

}  // namespace kubeedge::kube::schema
