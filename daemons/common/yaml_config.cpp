#include "yaml_config.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include <yaml-cpp/depthguard.h>

#include "base/text.h"

namespace daemons {
namespace {

namespace base = kubeedge::base;
using kubeedge::Errc;
using kubeedge::Error;
using kubeedge::Result;

std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string suggestion(const Keys& keys, const std::string& parent, const std::string& name) {
  std::string best;
  std::size_t least = std::max<std::size_t>(name.size() / 2, 3);
  for (const auto& [key, unused] : keys) {
    if (!key.starts_with(parent)) continue;
    const std::string child = key.substr(parent.size(), key.find('.', parent.size()) - parent.size());
    // "heartbeat" written short counts as near, too.
    const std::size_t far = child.starts_with(name) || name.starts_with(child) ? 1 : distance(child, name);
    if (far < least) {
      least = far;
      best = child;
    }
  }
  return best.empty() ? "" : " (did you mean " + best + "?)";
}

bool is_text(const YAML::Node& node) { return node.IsScalar() || node.IsNull(); }

// What the key wants, where the value is not that; "" = it is.
std::string wrong_type(const Key& key, const std::string& path, const YAML::Node& value) {
  std::int64_t number = 0;
  bool flag = false;
  const auto all_texts = [&](const auto& of) { return std::all_of(value.begin(), value.end(), [&](const auto& item) { return is_text(of(item)); }); };
  switch (key.kind) {
    case Kind::kAny: return "";
    case Kind::kText: return is_text(value) ? "" : "text";
    case Kind::kNumber: {
      const bool port = path.ends_with(".port");
      const std::int64_t least = port ? 0 : key.least, most = port ? 65'535 : kMostNumber;
      const bool is_number = value.IsScalar() && YAML::convert<std::int64_t>::decode(value, number);
      return is_number && number >= least && number <= most ? "" : fmt::format("a number from {} to {}", least, most);
    }
    case Kind::kDuration: {
      const std::int64_t seconds = value.IsScalar() ? duration_s(value.Scalar()) : -1;
      if (seconds < 0 || seconds > kMostNumber) return "a duration such as 10s";
      return seconds >= key.least ? "" : fmt::format("a duration of at least {} s", key.least);
    }
    case Kind::kFlag: return value.IsScalar() && YAML::convert<bool>::decode(value, flag) ? "" : "true or false";
    case Kind::kTexts: return value.IsSequence() && all_texts([](const auto& item) -> YAML::Node { return item; }) ? "" : "a list of texts";
    case Kind::kTextMap: return value.IsNull() || (value.IsMap() && all_texts([](const auto& item) { return item.second; })) ? "" : "a map of texts";
  }
  return "";
}

struct Walk {
  std::string file;
  bool strict;
  const Keys& keys;
  std::vector<std::string>& warnings;

  Result<void> map(const YAML::Node& node, const std::string& prefix) {
    std::set<std::string> seen;
    for (const auto& item : node) {
      const std::string name = item.first.as<std::string>("");
      const std::string where = fmt::format("{}:{}", file, item.first.Mark().line + 1);
      if (!seen.insert(name).second) return base::error(Errc::kInvalidArgument, "{}: {}{}: the key is there twice", where, prefix, name);
      if (Result<void> done = entry(item.second, prefix, name, where); !done) return done;
    }
    return {};
  }

  Result<void> entry(const YAML::Node& value, const std::string& prefix, const std::string& name, const std::string& where) {
    const std::string path = prefix + name;
    const auto known = keys.find(path);
    if (known == keys.end()) {
      const auto below = keys.lower_bound(path + ".");
      if (below != keys.end() && below->first.starts_with(path + ".")) {
        if (value.IsNull()) return {};
        if (!value.IsMap()) return base::error(Errc::kInvalidArgument, "{}: {}: expected a map", where, path);
        return map(value, path + ".");
      }
      std::string line = fmt::format("{}: unknown key {}{}", where, path, suggestion(keys, prefix, name));
      if (strict) return Error{Errc::kInvalidArgument, std::move(line)};
      warnings.push_back(std::move(line));
      return {};
    }
    if (const std::string expected = wrong_type(known->second, path, value); !expected.empty()) {
      const std::string found = value.IsScalar() ? "\"" + value.Scalar() + "\"" : value.IsMap() ? "a map" : value.IsSequence() ? "a list" : "nothing";
      return base::error(Errc::kInvalidArgument, "{}: {}: expected {}, found {}", where, path, expected, found);
    }
    if (known->second.set) known->second.set(value);
    return {};
  }
};

}  // namespace

std::int64_t duration_s(const std::string& text) {
  std::int64_t total = 0, number = 0;
  bool digits = false;
  if (text == "0") return 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c >= '0' && c <= '9') {
      number = number * 10 + (c - '0');
      if (number > 1'000'000'000) return -1;
      digits = true;
      continue;
    }
    if (!digits) return -1;
    if (c == 'm' && i + 1 < text.size() && text[i + 1] == 's') {
      total += number / 1000;
      ++i;
    } else if (c == 'h') {
      total += number * 3600;
    } else if (c == 'm') {
      total += number * 60;
    } else if (c == 's') {
      total += number;
    } else {
      return -1;
    }
    number = 0;
    digits = false;
  }
  return digits || text.empty() ? -1 : total;
}

Result<void> load_yaml(const std::string& path, bool strict, const Keys& keys, std::vector<std::string>& warnings) {
  std::ifstream file(path);
  // A folder opens well, and reads as an empty file.
  std::error_code unknown;
  if (!file || std::filesystem::is_directory(path, unknown)) return base::error(Errc::kIo, "{}: cannot be read", path);
  try {
    const YAML::Node root = YAML::Load(file);
    if (root.IsNull()) return {};
    if (!root.IsMap()) return base::error(Errc::kInvalidArgument, "{}:1: expected a map", path);
    return Walk{path, strict, keys, warnings}.map(root, "");
  } catch (const YAML::DeepRecursion& deep) {
    return base::error(Errc::kInvalidArgument, "{}:{}: nested too deeply", path, deep.mark.line + 1);
  } catch (const YAML::Exception& broken) {
    return base::error(Errc::kInvalidArgument, "{}:{}: {}", path, broken.mark.line + 1, broken.msg);
  }
}

}  // namespace daemons
