#include "config.h"

#include <algorithm>
#include <functional>
#include <map>

#include <yaml-cpp/yaml.h>

#include "base/text.h"

namespace cloudcore {
namespace {

using kubeedge::Errc;
using kubeedge::Error;
using kubeedge::Result;

enum class Kind : std::uint8_t { kText, kNumber, kFlag, kTexts, kAny };

struct Key {
  Kind kind;
  std::function<void(Config&, const YAML::Node&)> set;  // empty = known and of this type, without effect here
};

// Every key of upstream's file that is more than a buffer or load figure; those are taken whole (kAny).
const std::map<std::string, Key>& keys() {
  static const std::map<std::string, Key> kKeys = [] {
    std::map<std::string, Key> all = {
        {"apiVersion", {Kind::kText, {}}},
        {"kind", {Kind::kText, {}}},
        {"commonConfig", {Kind::kAny, {}}},
        {"featureGates", {Kind::kAny, {}}},
        {"kubeAPIConfig.kubeConfig", {Kind::kText, [](Config& c, const YAML::Node& n) { c.kubeconfig = n.as<std::string>(""); }}},
        {"modules.cloudHub.advertiseAddress", {Kind::kTexts, [](Config& c, const YAML::Node& n) { c.advertise_addresses = n.as<std::vector<std::string>>(std::vector<std::string>()); }}},
        {"modules.cloudHub.dnsNames", {Kind::kTexts, [](Config& c, const YAML::Node& n) { c.dns_names = n.as<std::vector<std::string>>(std::vector<std::string>()); }}},
        {"modules.cloudHub.nodeLimit", {Kind::kNumber, [](Config& c, const YAML::Node& n) { c.node_limit = n.as<std::int64_t>(c.node_limit); }}},
        {"modules.cloudHub.keepaliveInterval", {Kind::kNumber, [](Config& c, const YAML::Node& n) { c.keepalive_s = n.as<std::int64_t>(c.keepalive_s); }}},
        {"modules.cloudHub.edgeCertSigningDuration", {Kind::kNumber, [](Config& c, const YAML::Node& n) { c.edge_certificate_days = n.as<std::int64_t>(c.edge_certificate_days); }}},
        {"modules.cloudHub.websocket.address", {Kind::kText, [](Config& c, const YAML::Node& n) { c.hub_address = n.as<std::string>(""); }}},
        {"modules.cloudHub.websocket.port", {Kind::kNumber, [](Config& c, const YAML::Node& n) { c.hub_port = static_cast<std::uint16_t>(n.as<std::int64_t>(0)); }}},
        {"modules.cloudHub.https.address", {Kind::kText, [](Config& c, const YAML::Node& n) { c.join_address = n.as<std::string>(""); }}},
        {"modules.cloudHub.https.port", {Kind::kNumber, [](Config& c, const YAML::Node& n) { c.join_port = static_cast<std::uint16_t>(n.as<std::int64_t>(0)); }}}};
    for (const char* text : {"kubeAPIConfig.master", "kubeAPIConfig.contentType", "modules.cloudHub.tlsCAFile", "modules.cloudHub.tlsCAKeyFile",
                             "modules.cloudHub.tlsCertFile", "modules.cloudHub.tlsPrivateKeyFile"})
      all[text] = {Kind::kText, {}};
    for (const char* number : {"kubeAPIConfig.qps", "kubeAPIConfig.burst", "modules.cloudHub.writeTimeout", "modules.cloudHub.tokenRefreshDuration",
                               "modules.edgeController.nodeUpdateFrequency"})
      all[number] = {Kind::kNumber, {}};
    for (const char* flag : {"modules.cloudHub.enable", "modules.cloudHub.websocket.enable", "modules.cloudHub.https.enable", "modules.edgeController.enable",
                             "modules.deviceController.enable", "modules.syncController.enable"})
      all[flag] = {Kind::kFlag, {}};
    for (const char* any : {"modules.cloudHub.quic", "modules.cloudHub.unixsocket", "modules.cloudHub.authorization", "modules.edgeController.buffer",
                            "modules.edgeController.load", "modules.deviceController.buffer", "modules.deviceController.load", "modules.taskManager",
                            "modules.dynamicController", "modules.cloudStream", "modules.router", "modules.iptablesManager"})
      all[any] = {Kind::kAny, {}};
    return all;
  }();
  return kKeys;
}

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

std::string suggestion(const std::string& parent, const std::string& name) {
  std::string best;
  std::size_t least = std::max<std::size_t>(name.size() / 2, 3);
  for (const auto& [key, unused] : keys()) {
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

const char* wrong_type(const Key& key, const std::string& path, const YAML::Node& value) {
  std::int64_t number = 0;
  bool flag = false;
  switch (key.kind) {
    case Kind::kAny: return nullptr;
    case Kind::kText: return value.IsScalar() || value.IsNull() ? nullptr : "text";
    case Kind::kNumber:
      if (!value.IsScalar() || !YAML::convert<std::int64_t>::decode(value, number)) return "a number";
      return path.ends_with(".port") && (number < 0 || number > 65535) ? "a port (0 to 65535)" : nullptr;
    case Kind::kFlag: return value.IsScalar() && YAML::convert<bool>::decode(value, flag) ? nullptr : "true or false";
    case Kind::kTexts:
      if (!value.IsSequence()) return "a list of texts";
      for (const auto& item : value)
        if (!item.IsScalar() && !item.IsNull()) return "a list of texts";
      return nullptr;
  }
  return nullptr;
}

struct Walk {
  std::string file;
  bool strict;
  Config& config;
  std::vector<std::string>& warnings;

  Result<void> map(const YAML::Node& node, const std::string& prefix) {
    for (const auto& item : node) {
      const std::string name = item.first.as<std::string>("");
      const std::string where = fmt::format("{}:{}", file, item.first.Mark().line + 1);
      if (Result<void> done = entry(item.second, prefix, name, where); !done) return done;
    }
    return {};
  }

  Result<void> entry(const YAML::Node& value, const std::string& prefix, const std::string& name, const std::string& where) {
    const std::string path = prefix + name;
    const auto known = keys().find(path);
    if (known == keys().end()) {
      const auto below = keys().lower_bound(path + ".");
      if (below != keys().end() && below->first.starts_with(path + ".")) {
        if (value.IsNull()) return {};
        if (!value.IsMap()) return kubeedge::base::error(Errc::kInvalidArgument, "{}: {}: expected a map", where, path);
        return map(value, path + ".");
      }
      std::string line = fmt::format("{}: unknown key {}{}", where, path, suggestion(prefix, name));
      if (strict) return Error{Errc::kInvalidArgument, std::move(line)};
      warnings.push_back(std::move(line));
      return {};
    }
    if (const char* expected = wrong_type(known->second, path, value); expected != nullptr) {
      const std::string found = value.IsScalar() ? "\"" + value.Scalar() + "\"" : value.IsMap() ? "a map" : value.IsSequence() ? "a list" : "nothing";
      return kubeedge::base::error(Errc::kInvalidArgument, "{}: {}: expected {}, found {}", where, path, expected, found);
    }
    if (known->second.set) known->second.set(config, value);
    return {};
  }
};

}  // namespace

Result<void> load_config(const std::string& path, bool strict, Config& config, std::vector<std::string>& warnings) {
  try {
    const YAML::Node root = YAML::LoadFile(path);
    if (root.IsNull()) return {};
    if (!root.IsMap()) return kubeedge::base::error(Errc::kInvalidArgument, "{}:1: expected a map", path);
    return Walk{path, strict, config, warnings}.map(root, "");
  } catch (const YAML::BadFile&) {
    return kubeedge::base::error(Errc::kIo, "{}: cannot be read", path);
  } catch (const YAML::Exception& broken) {
    return kubeedge::base::error(Errc::kInvalidArgument, "{}:{}: {}", path, broken.mark.line + 1, broken.msg);
  }
}

std::string sample_config(bool full) {
  std::string text =
      "apiVersion: cloudcore.config.kubeedge.io/v1alpha1\nkind: CloudCore\nkubeAPIConfig:\n  kubeConfig: /root/.kube/config\nmodules:\n  cloudHub:\n"
      "    advertiseAddress: []\n    nodeLimit: 1000\n    https:\n      enable: true\n      address: 0.0.0.0\n      port: 10002\n"
      "    websocket:\n      enable: true\n      address: 0.0.0.0\n      port: 10000\n";
  if (full)
    text += "    dnsNames: []\n    keepaliveInterval: 30\n    edgeCertSigningDuration: 365\n  deviceController:\n    enable: true\n"
            "  edgeController:\n    enable: true\n    nodeUpdateFrequency: 10\n  syncController:\n    enable: true\n";
  return text;
}

}  // namespace cloudcore
