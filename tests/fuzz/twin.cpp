// A life of the twin engine. A record: what (mqtt TOPIC, cloud DEVICE, membership, detail, device, removed DEVICE, report,
// link, tick) on its first line, the payload below. Everything published must be JSON in UTF-8 on a topic that MQTT allows.
#include <cstdlib>
#include <map>
#include <memory>

#include "base/json.h"
#include "base/text.h"
#include "edge/twin/twin_engine.h"
#include "records.h"
#include "wire/message_codec.h"

namespace {

using namespace kubeedge;
using namespace kubeedge::edge;

void check(bool holds) {
  if (!holds) std::abort();
}

void check(const Publication& publication) {
  check(base::is_utf8(publication.topic) && publication.topic.find_first_of(std::string("+#\0", 3)) == std::string::npos);
  check(base::is_utf8(publication.payload) && base::parse_json(publication.payload).is_object());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  int ids = 0;
  TwinEngine engine({"edge1", false, [&ids] { return "id-" + std::to_string(++ids); }});
  TwinTime now{1'700'000'000'000, 1000};
  const auto take = [&](const Effects& effects) {
    for (const auto& publication : effects.publications) check(publication);
    for (const auto& publication : effects.on_failure) check(publication);
    engine.committed(effects.marks, now);
    for (const Message& message : engine.take_messages()) check(wire::decode(wire::encode(message)).ok());
  };
  take(engine.on_device(R"({"metadata":{"namespace":"default","name":"d","generation":1},"spec":{"deviceModelRef":{"name":"m"},)"
                        R"("properties":[{"name":"t","desired":{"value":"30"}},{"name":"u"}]}})", now));
  engine.on_link(true, now);
  for (std::string_view record : fuzz::records(data, size)) {
    now.unix_ms += 500;
    now.steady_ms += 500;
    std::string_view head = fuzz::take_until(record, '\n');
    const std::string_view what = fuzz::take_until(head, ' ');
    const auto device = parse_device_id(head);
    if (what == "mqtt") take(engine.on_mqtt(head, record, now));
    if (what == "cloud" && device) take(engine.on_cloud_updated(*device, record, now));
    if (what == "membership") take(engine.on_membership(record, false, now));
    if (what == "detail") take(engine.on_membership(record, true, now));
    if (what == "device") take(engine.on_device(record, now));
    if (what == "removed" && device) take(engine.on_device_removed(*device, now));
    if (what == "report" && device) take(engine.report(*device, {{"t", std::string(record)}}, now));
    if (what == "state" && device) take(engine.set_state(*device, std::string(record), now));
    if (what == "link") engine.on_link(record == "up", now);
    if (what == "confirm") engine.on_confirm(MessageId(std::string(record)), now);
    if (what == "tick") {
      now.steady_ms += 60'000;
      take(engine.tick(now));
    }
  }
  take(engine.all_deltas(now, true));
  return 0;
}
