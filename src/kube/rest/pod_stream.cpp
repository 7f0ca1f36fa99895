#include "kube/rest/pod_stream.h"

#include <algorithm>
#include <vector>

#include "base/json_member.h"
#include "base/text.h"

namespace kubeedge::kube::rest {
namespace {

using base::member;
using base::text_of;

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::vector<std::string> names(const Json& spec, const char* list) {
  std::vector<std::string> out;
  if (const Json& containers = member(spec, list); containers.is_array())
    for (const Json& one : containers) out.push_back(text_of(one, "name"));
  return out;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::variant<Pairs, Failure> parse(const std::string& query) {
  Pairs out;
  if (query.empty()) return out;
  for (const std::string& pair : base::split(query, '&')) {
    const auto equal = pair.find('=');
    std::string raw = equal == std::string::npos ? "" : pair.substr(equal + 1);
    std::replace(raw.begin(), raw.end(), '+', ' ');
    const auto key = base::percent_decode(pair.substr(0, equal));
    const auto value = base::percent_decode(raw);
    if (!key || !value || !base::is_utf8(*value)) return bad_request(fmt::format("invalid query \"{}\"", base::percent_encode(pair.substr(0, 80))));
    out.emplace_back(*key, *value);
  }
  return out;
}

std::string last_of(const Pairs& pairs, std::string_view key) {
  std::string out;
  for (const auto& [name, value] : pairs)
    if (name == key) out = value;
  return out;
}

bool truth(const std::string& value) { return value == "true" || value == "1"; }

// The container that is meant: the one named, or the only one.
std::variant<std::string, Failure> container_of(const Json& pod, const std::string& name, const std::string& wanted) {
  const Json& spec = member(pod, "spec");
  const auto containers = names(spec, "containers"), init = names(spec, "initContainers");
  if (wanted.empty()) {
    if (containers.size() == 1) return containers.front();
    std::string text = fmt::format("a container name must be specified for pod {}, choose one of: [{}]", name, joined(containers));
    if (!init.empty()) text += fmt::format(" or one of the init containers: [{}]", joined(init));
    return bad_request(text);
  }
  for (const auto& list : {containers, init, names(spec, "ephemeralContainers")})
    if (std::find(list.begin(), list.end(), wanted) != list.end()) return wanted;
  return bad_request(fmt::format("container {} is not valid for pod {}", wanted, name));
}

Failure invalid_options(const std::string& kind, const std::string& pod, const std::string& field, const std::string& reason, const std::string& text) {
  const Json causes = Json::array({{{"reason", reason}, {"message", text}, {"field", field}}});
  return {422, "Invalid", fmt::format("{} \"{}\" is invalid: {}: {}", kind, pod, field, text), {{"name", pod}, {"kind", kind}, {"causes", causes}}};
}

std::variant<std::string, Failure> log_query(const Pairs& pairs, const std::string& pod) {
  std::string out;
  const auto put = [&out](const char* key, const std::string& value) { out += fmt::format("{}{}={}", out.empty() ? "" : "&", key, base::percent_encode(value)); };
  for (const char* flag : {"follow", "previous", "timestamps"})
    if (truth(last_of(pairs, flag))) put(flag, "true");
  for (const auto& [key, least] : {std::pair{"sinceSeconds", 1}, {"tailLines", 0}, {"limitBytes", 1}}) {
    const std::string value = last_of(pairs, key);
    if (value.empty()) continue;
    const auto number = base::to_int(value);
    if (!number) return bad_request(fmt::format("{}: expected a number, found \"{}\"", key, base::percent_encode(value.substr(0, 40))));
    if (*number < least)
      return invalid_options("PodLogOptions", pod, key, "FieldValueInvalid", fmt::format("Invalid value: {}: must be greater than {}", *number, least == 1 ? "0" : "or equal to 0"));
    put(key, value);
  }
  if (const std::string time = last_of(pairs, "sinceTime"); !time.empty()) {
    if (!base::from_rfc3339(time)) return bad_request(fmt::format("sinceTime: expected an RFC 3339 time, found \"{}\"", base::percent_encode(time.substr(0, 40))));
    if (!last_of(pairs, "sinceSeconds").empty())
      return invalid_options("PodLogOptions", pod, "sinceSeconds", "FieldValueForbidden", "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified");
    put("sinceTime", time);
  }
  return out;
}

std::string exec_query(const Pairs& pairs) {
  std::string out;
  for (const auto& [ours, kubelets] : {std::pair{"stdin", "input"}, {"stdout", "output"}, {"stderr", "error"}, {"tty", "tty"}})
    if (truth(last_of(pairs, ours))) out += fmt::format("{}{}=1", out.empty() ? "" : "&", kubelets);
  for (const auto& [key, value] : pairs)
    if (key == "command") out += fmt::format("{}command={}", out.empty() ? "" : "&", base::percent_encode(value));
  return out;
}

}  // namespace

bool is_pod_stream(std::string_view subresource) {
  return subresource == "log" || subresource == "exec" || subresource == "attach" || subresource == "portforward";
}

std::variant<PodStream, Failure> pod_stream(const Json& pod, const std::string& subresource, const std::string& query) {
  const std::string name = text_of(member(pod, "metadata"), "name"), ns = text_of(member(pod, "metadata"), "namespace");
  auto parsed = parse(query);
  if (auto* failure = std::get_if<Failure>(&parsed)) return std::move(*failure);
  const Pairs& pairs = std::get<Pairs>(parsed);
  PodStream out{subresource, text_of(member(pod, "spec"), "nodeName"), "", ""};
  if (subresource == "portforward") {
    out.path = fmt::format("/portForward/{}/{}", ns, name);
  } else {
    auto container = container_of(pod, name, last_of(pairs, "container"));
    if (auto* failure = std::get_if<Failure>(&container)) return std::move(*failure);
    out.path = fmt::format("/{}/{}/{}/{}", subresource == "log" ? "containerLogs" : subresource, ns, name, std::get<std::string>(container));
  }
  if (subresource == "log") {
    auto options = log_query(pairs, name);
    if (auto* failure = std::get_if<Failure>(&options)) return std::move(*failure);
    out.query = std::get<std::string>(std::move(options));
    return out;
  }
  if (subresource != "portforward") out.query = exec_query(pairs);
  if (subresource == "exec" && last_of(pairs, "command").empty()) return bad_request("you must specify at least one command for the container");
  if (out.node.empty()) return bad_request(fmt::format("pod {} does not have a host assigned", name));
  return out;
}

}  // namespace kubeedge::kube::rest
