// What a broker sends to the receiver of uploads: the first byte chooses the step; pieces must give what the whole gives, and all that is
// acknowledged leaves nothing behind.
#include <cstdlib>

#include "mqtt/receive_session.h"

using kubeedge::mqtt::ReceiveSession;

namespace {

ReceiveSession subscribed() {
  ReceiveSession session({"fuzz", "user", "password"});
  session.subscribe({"a/#", "b"}, 1);
  (void)session.take_output();
  return session;
}

bool same(const ReceiveSession::Event& one, const ReceiveSession::Event& other) {
  if (one.index() != other.index()) return false;
  const auto* mine = std::get_if<ReceiveSession::Publication>(&one);
  const auto* its = std::get_if<ReceiveSession::Publication>(&other);
  return !mine || (mine->number == its->number && mine->topic == its->topic && mine->qos == its->qos && mine->payload.view() == its->payload.view());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = 1 + data[0];
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<ReceiveSession::Event> whole, pieces;
  ReceiveSession first = subscribed(), second = subscribed();
  const bool first_ok = first.feed(bytes, whole).ok();
  bool second_ok = true;
  for (std::size_t at = 0; at < bytes.size() && second_ok; at += step) second_ok = second.feed(bytes.substr(at, step), pieces).ok();
  if (first_ok != second_ok || whole.size() != pieces.size()) std::abort();
  for (std::size_t i = 0; i < whole.size(); ++i)
    if (!same(whole[i], pieces[i])) std::abort();
  // The last one first: nothing leaves before the first.
  std::size_t acknowledged = 0;
  for (auto event = whole.rbegin(); event != whole.rend(); ++event)
    if (const auto* message = std::get_if<ReceiveSession::Publication>(&*event)) {
      first.acknowledge(message->number);
      acknowledged += message->qos > 0 ? 1U : 0U;
    }
  constexpr std::size_t kPubackBytes = 4;
  if (first.unacknowledged() != 0 || first.unacknowledged_bytes() != 0 || first.take_output().size() != acknowledged * kPubackBytes) std::abort();
  return 0;
}
