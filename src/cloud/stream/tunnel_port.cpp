#include "cloud/stream/tunnel_port.h"

#include <set>

#include "base/json.h"

namespace kubeedge::cloud {

using nlohmann::json;

TunnelPortRecord claim_tunnel_port(const Bytes& config_map, const std::string& address, int first) {
  json object = config_map.empty() ? json() : base::parse_json(config_map);
  if (!object.is_object()) object = {{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", {{"name", "tunnelport"}, {"namespace", "kubeedge"}}}};
  json& annotations = object["metadata"]["annotations"];
  if (!annotations.is_object()) annotations = json::object();
  const json& text = annotations[kTunnelPortAnnotation];
  json record = text.is_string() ? base::parse_json(text.get_ref<const std::string&>()) : json();
  if (!record.is_object()) record = json::object();
  for (const char* part : {"ipTunnelPort", "port"})
    if (!record[part].is_object()) record[part] = json::object();

  if (const auto ours = record["ipTunnelPort"].find(address); ours != record["ipTunnelPort"].end() && ours->is_number_integer()) return {ours->get<int>(), std::nullopt};
  std::set<std::string> taken;
  for (const auto& [port, used] : record["port"].items()) taken.insert(port);
  for (const auto& [ip, port] : record["ipTunnelPort"].items())
    if (port.is_number_integer()) taken.insert(std::to_string(port.get<int>()));
  int port = first;
  while (taken.contains(std::to_string(port))) ++port;
  record["ipTunnelPort"][address] = port;
  record["port"][std::to_string(port)] = true;
  annotations[kTunnelPortAnnotation] = base::dump_json(record);
  return {port, base::dump_json(object)};
}

}  // namespace kubeedge::cloud
