#include "edge/edged/node_api.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "edge/edged/exec_stream.h"

namespace kubeedge::edged {
namespace {

constexpr int kRunning = 1;   // runtime.v1.ContainerState
constexpr std::size_t kMaxCommandParts = 1000;

std::unique_ptr<edge::NodeStream> refuse(edge::NodeAnswer& answer, const Refusal& refusal) {
  answer.refuse(refusal.status, refusal.text);
  return nullptr;
}

struct ExecQuery {
  CriClient::Streams streams;
  std::vector<std::string> command;
};

std::variant<ExecQuery, Refusal> parse_exec_query(const std::string& query) {
  ExecQuery out;
  for (const std::string& pair : base::split(query, '&')) {
    const auto equal = pair.find('=');
    const std::string key = pair.substr(0, equal);
    std::string raw = equal == std::string::npos ? "" : pair.substr(equal + 1);
    std::replace(raw.begin(), raw.end(), '+', ' ');
    const auto value = base::percent_decode(raw);
    if (!value || !base::is_utf8(*value) || out.command.size() == kMaxCommandParts) return Refusal{400, "the query is malformed"};
    const bool on = *value == "1" || *value == "true";
    if (key == "command") out.command.push_back(*value);
    if (key == "input") out.streams.in = on;
    if (key == "output") out.streams.out = on;
    if (key == "error") out.streams.err = on;
    if (key == "tty") out.streams.tty = on;
  }
  if (out.streams.tty) out.streams.err = false;   // a terminal has one stream
  if (!out.streams.in && !out.streams.out && !out.streams.err) return Refusal{400, "you must specify at least 1 of stdin, stdout, stderr"};
  return out;
}

}  // namespace

NodeApi::NodeApi(const Runtime& runtime, const NodePods& pods, CriClient& cri) : runtime_(runtime), pods_(pods), cri_(cri), watch_(std::make_shared<LogWatch>(runtime)) {}

std::unique_ptr<edge::NodeStream> NodeApi::open(edge::NodeCall call, std::shared_ptr<edge::NodeAnswer> answer) {
  auto parts = base::split(call.path, '/');
  parts.erase(parts.begin());   // before the first slash
  const std::string kind = parts.front();
  if (kind == "containerLogs" && parts.size() == 4 && call.method == "GET") return open_log(parts, call, answer);
  // With five parts the fourth is the pod's uid.
  if ((kind == "exec" || kind == "attach") && (parts.size() == 4 || parts.size() == 5)) return open_exec(parts, std::move(call), answer);
  if (kind == "portForward" && (parts.size() == 3 || parts.size() == 4)) return open_exec(parts, std::move(call), answer);
  return refuse(*answer, {404, "404 page not found"});
}

std::unique_ptr<edge::NodeStream> NodeApi::open_log(const Parts& parts, const edge::NodeCall& call, const std::shared_ptr<edge::NodeAnswer>& answer) {
  const auto query = parse_log_query(call.query, runtime_.clock().unix_ms() * 1'000'000);
  if (const auto* refusal = std::get_if<Refusal>(&query)) return refuse(*answer, *refusal);
  const LogQuery& wanted = std::get<LogQuery>(query);
  auto source = pods_.find_log(parts[1], parts[2], parts[3], wanted.previous);
  if (const auto* refusal = std::get_if<Refusal>(&source)) return refuse(*answer, *refusal);
  auto stream = std::make_unique<LogStream>(runtime_, watch_, std::get<LogStream::Source>(std::move(source)), wanted, answer);
  if (wanted.follow) followed_.push_back(stream->ender());
  stream->start();
  return stream;
}

std::unique_ptr<edge::NodeStream> NodeApi::open_exec(const Parts& parts, edge::NodeCall call, const std::shared_ptr<edge::NodeAnswer>& answer) {
  const bool forward = parts[0] == "portForward", attach = parts[0] == "attach";
  const auto query = forward ? std::variant<ExecQuery, Refusal>(ExecQuery{}) : parse_exec_query(call.query);
  if (const auto* refusal = std::get_if<Refusal>(&query)) return refuse(*answer, *refusal);
  const auto& [streams, command] = std::get<ExecQuery>(query);
  const auto id = forward ? pods_.find_sandbox(parts[1], parts[2]) : pods_.find_running(parts[1], parts[2], parts.back());
  if (const auto* refusal = std::get_if<Refusal>(&id)) return refuse(*answer, *refusal);
  const std::string& found = std::get<std::string>(id);
  auto stream = std::make_unique<ExecStream>(runtime_, std::move(call), answer);
  if (forward) {
    cri_.port_forward_url(found, stream->on_url());
  } else if (attach) {
    cri_.attach_url(found, streams, stream->on_url());
  } else {
    cri_.exec_url(found, command, streams, stream->on_url());
  }
  return stream;
}

void NodeApi::relisted(const std::map<std::string, PodSummary>& pods) {
  std::erase_if(followed_, [](const auto& weak) { return weak.expired(); });
  if (followed_.empty()) return;
  std::set<std::string> running;
  for (const auto& [uid, pod] : pods)
    for (const auto& [id, state] : pod.states)
      if (state == kRunning) running.insert(id);
  for (const auto& weak : std::vector(followed_))
    if (const auto stream = weak.lock(); stream && !running.contains(stream->container_id())) stream->container_ended();
}

}  // namespace kubeedge::edged
