// What a real kube-apiserver v1.32.2 answered to some three hundred objects (recorded by record.py): the table answers the same.
#include <algorithm>
#include <fstream>
#include <regex>
#include <set>

#include <doctest/doctest.h>

#include "kube/schema/schema.h"

using namespace kubeedge::kube::schema;

namespace {

constexpr auto kNamespace = "lab";
constexpr std::string_view kRandom = "abcde";

const Kind& kind_of(const Json& object) {
  const auto version = object["apiVersion"].get<std::string>();
  const auto slash = version.find('/');
  const bool core = slash == std::string::npos;
  const Kind* kind = find_kind(core ? "" : version.substr(0, slash), core ? version : version.substr(slash + 1),
                               object["kind"].get<std::string>());
  REQUIRE(kind != nullptr);
  return *kind;
}

// As the API server fills in before it validates.
void fill_metadata(const Kind& kind, Json& object) {
  Json& metadata = object["metadata"];
  if (kind.namespaced && !metadata.contains("namespace")) metadata["namespace"] = kNamespace;
  metadata["creationTimestamp"] = "2026-01-01T00:00:00Z";
  if (metadata.contains("generateName") && !metadata.contains("name"))
    metadata["name"] = metadata["generateName"].get<std::string>() + std::string(kRandom);
}

// A record without what no other server can say again: the uids of new Jobs, which are in their labels, and Go's dump of a template.
std::string plain(const std::string& line) {
  if (line.find(R"("kind":"Job")") == std::string::npos) return line;
  static const std::regex uid("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), dump(R"(core\.PodTemplateSpec\{.*?\}: field is immutable)");
  const bool update = line.find(R"("before":)") != std::string::npos;
  return std::regex_replace(update ? line : std::regex_replace(line, uid, ""), dump, "core.PodTemplateSpec{...}: field is immutable");
}

std::set<std::string> texts(const std::vector<Cause>& causes) {
  std::set<std::string> out;
  for (const auto& cause : causes) out.insert(cause.field + " | " + cause.reason + " | " + cause.message);
  return out;
}

std::set<std::string> texts(const Json& causes) {
  std::set<std::string> out;
  for (const auto& cause : causes) {
    std::string text = cause["field"].get<std::string>();
    for (const auto part : {"reason", "message"}) text += " | " + cause[part].get<std::string>();
    if (const auto diff = text.find("\n  core.PodSpec{"); diff != std::string::npos) text.resize(diff);  // a dump of Go structs follows
    out.insert(std::move(text));
  }
  return out;
}

// What one has and the other has not.
std::string difference(const std::set<std::string>& ours, const std::set<std::string>& theirs) {
  std::string out;
  for (const auto& line : ours)
    if (!theirs.contains(line)) out += "\n  ours:   " + line;
  for (const auto& line : theirs)
    if (!ours.contains(line)) out += "\n  theirs: " + line;
  return out;
}

void replay_create(const Json& record) {
  Json object = record["send"];
  const Json& answer = record["answer"];
  const Kind& kind = kind_of(object);
  const int code = record["code"].get<int>();
  const std::string name(kind.kind);
  INFO(object.dump());
  // Warnings about more than unknown fields are not in this table. Kubernetes names them as they come, we by name.
  std::set<std::string> warnings;
  for (const auto& warning : record["warnings"])
    if (warning.get_ref<const std::string&>().starts_with("unknown field ")) warnings.insert(warning);
  const auto unknown = prune_unknown(kind, object);
  CHECK(std::set<std::string>(unknown.begin(), unknown.end()) == warnings);
  std::string error = type_error(kind, object);
  if (!error.empty()) error = name + " in version \"" + std::string(kind.version) + "\" cannot be handled as a " + name + ": " + error;
  CHECK(error == (code == 400 ? answer["message"].get<std::string>() : ""));
  if (code == 400 || !error.empty()) return;
  if (code == 403 || code == 409) return;  // refused by an admission plugin that asks for other objects
  fill_metadata(kind, object);
  apply_defaults(kind, object, kRandom);
  const auto causes = texts(validate(kind, object));
  const auto expected = code == 422 ? texts(answer["causes"]) : std::set<std::string>();
  CHECK_MESSAGE(difference(causes, expected).empty(), difference(causes, expected));
  if (code != 201) return;
  Json stored = answer;
  object["metadata"].erase("creationTimestamp");
  if (kind.kind == "Node" && stored["spec"].contains("taints")) {
    // Of the TaintNodesByCondition plugin; here the node lifecycle sets it.
    Json& taints = stored["spec"]["taints"];
    const auto plugin = [](const Json& taint) { return taint["key"] == "node.kubernetes.io/not-ready"; };
    taints.erase(std::remove_if(taints.begin(), taints.end(), plugin), taints.end());
    if (taints.empty()) stored["spec"].erase("taints");
  }
  const bool same = object == stored;
  CHECK_MESSAGE(same, Json::diff(stored, object).dump());
  // What is stored stays as it is when it comes again.
  Json again = answer;
  again["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z";
  const Json before = again;
  apply_defaults(kind, again, "other");
  CHECK_MESSAGE(again == before, Json::diff(before, again).dump());
  CHECK(validate_update(kind, before, again).empty());
}

void replay_update(const Json& record) {
  Json after = record["send"];
  const Kind& kind = kind_of(after);
  const int code = record["code"].get<int>();
  if (code == 409) return;  // about versions and uids: the API server's own affair
  INFO(after.dump());
  const Json& kept = record["before"]["metadata"];  // what the server sets itself
  for (const auto field : {"uid", "creationTimestamp"}) after["metadata"][field] = kept[field];
  apply_defaults(kind, after, kRandom);
  auto causes = texts(validate(kind, after));
  causes.merge(texts(validate_update(kind, record["before"], after)));
  const auto expected = code == 422 ? texts(record["answer"]["causes"]) : std::set<std::string>();
  CHECK_MESSAGE(difference(causes, expected).empty(), difference(causes, expected));
}

}  // namespace

TEST_CASE("a real kube-apiserver's answers") {
  std::ifstream file(KE_GOLDEN_DIR "/kube/apiserver-1.32.2.jsonl");
  REQUIRE(file.is_open());
  std::string line;
  std::getline(file, line);
  const Json head = Json::parse(line);
  std::size_t questions = 0;
  while (std::getline(file, line)) {
    const Json record = Json::parse(plain(line));
    ++questions;
    if (record.contains("before")) replay_update(record);
    else replay_create(record);
  }
  CHECK(questions == head["questions"].get<std::size_t>());
}
