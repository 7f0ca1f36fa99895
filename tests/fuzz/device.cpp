// A device client's life. A record: what (hear TOPIC'S END, report PROPERTY, state, get, watch PROPERTY, connect, drop, tick) on
// its first line, the payload below. What it publishes must be JSON on a topic that MQTT allows, every answer comes once, and
// after a tick it wants to be woken later, never now.
#include <cstdlib>
#include <set>

#include "base/json.h"
#include "device/twin_client.h"
#include "device/value.h"
#include "mqtt/topic.h"
#include "records.h"

namespace {

using namespace kubeedge;
using namespace kubeedge::device;

void check(bool holds) {
  if (!holds) std::abort();
}

const DeviceId kDevice{"default", "d"};

struct Life {
  TwinClient client{"app"};
  TwinClientTime now{1'700'000'000'000, Milliseconds{1'000}};
  Token next = 0;
  std::set<Token> open;

  Token token() {
    open.insert(++next);
    return next;
  }
  void take() {
    for (const Action& action : client.take_actions()) {
      if (const auto* sent = std::get_if<Publish>(&action)) check(mqtt::is_topic(sent->topic) && base::parse_json(sent->payload).is_object());
      if (const auto* filter = std::get_if<SubscribeTo>(&action)) check(mqtt::is_topic_filter(filter->filter));
      if (const auto* answered = std::get_if<Answered>(&action)) check(open.erase(answered->token) == 1);
      if (const auto* got = std::get_if<Got>(&action)) check(open.erase(got->token) == 1);
    }
  }
  void step(std::string_view what, std::string_view rest, std::string_view payload) {
    if (what == "hear") client.on_message("$hw/events/device/default/d/" + std::string(rest), payload, now);
    if (what == "report" && check_property(rest)) {
      const auto text = encode(Value(std::string(payload)), Type::kString);
      if (text) check(client.report(kDevice, {{std::string(rest), {*text, "string"}}, {"second", {"1", "int"}}}, token(), now).ok());
    }
    if (what == "state") check(client.set_state(kDevice, "online", token(), now).ok());
    if (what == "get") check(client.get(kDevice, token(), now).ok());
    if (what == "watch" && check_property(rest)) check(client.watch(kDevice, std::string(rest), now).ok());
    if (what == "connect") client.connected(now);
    if (what == "drop") client.disconnected();
    if (what == "tick") {
      now.steady += Milliseconds{1'000};
      client.tick(now);
      check(!client.wake() || *client.wake() > now.steady);
    }
    take();
    check(client.everyone_waiting().size() == open.size());
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Life life;
  for (std::string_view record : fuzz::records(data, size)) {
    life.now.steady += Milliseconds{10};
    std::string_view head = fuzz::take_until(record, '\n');
    const std::string_view what = fuzz::take_until(head, ' ');
    life.step(what, head, record);
  }
  return 0;
}
