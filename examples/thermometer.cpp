// A device app on plain MQTT: reports a temperature, prints what the edge answers, obeys each desired value.
//   thermometer [--broker tcp://127.0.0.1:1883] [--device default/thermo-1] [--property temperature] [--value 21.5]
//               [--interval SECONDS] [--count N]
// Prints one line an event: "result CODE PAYLOAD", "delta PROPERTY VALUE". Ends after N reports were answered (0 = runs on).
// A device that the edge does not know yet (404) is reported again a second later.
#include <MQTTAsync.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

namespace {

using Json = nlohmann::json;

std::map<std::string, std::string> option{{"--broker", "tcp://127.0.0.1:1883"}, {"--device", "default/thermo-1"},
                                          {"--property", "temperature"}, {"--value", "21.5"}, {"--interval", "0"}, {"--count", "0"}};
MQTTAsync client;
std::atomic<int> answered{0};
std::atomic<bool> connected{false}, unknown{false};

std::string topic(const std::string& rest) { return "$hw/events/device/" + option["--device"] + "/twin/" + rest; }

void send(const std::string& name, const Json& json) {
  const std::string payload = json.dump();
  MQTTAsync_send(client, name.c_str(), static_cast<int>(payload.size()), payload.data(), 1, 0, nullptr);
}

void report(const std::string& property, const std::string& value) {
  send(topic("update"), {{"event_id", property}, {"timestamp", 0}, {"twin", {{property, {{"actual", {{"value", value}}}}}}}});
}

// Delivered again and again while the desired value differs from the reported one.
int arrived(void*, char* name, int, MQTTAsync_message* message) {
  const std::string from = name;
  const std::string text(static_cast<const char*>(message->payload), static_cast<std::size_t>(message->payloadlen));
  const Json json = Json::parse(text, nullptr, false);
  if (from.ends_with("/update/delta") && json.is_object() && json.contains("delta") && json["delta"].is_object()) {
    for (const auto& [property, value] : json["delta"].items()) {
      if (!value.is_string()) continue;
      std::printf("delta %s %s\n", property.c_str(), value.get_ref<const std::string&>().c_str());
      report(property, value);   // a heater would warm up here; this one is there at once
    }
  } else if (from.ends_with("/update/result") && json.is_object()) {
    const int code = json.value("code", 200);
    std::printf("result %d %s\n", code, text.c_str());
    if (code == 404) {
      unknown = true;
    } else {
      ++answered;
    }
  }
  std::fflush(stdout);
  MQTTAsync_freeMessage(&message);
  MQTTAsync_free(name);
  return 1;
}

void online(void*, char*) {
  for (const char* rest : {"update/result", "update/delta"}) MQTTAsync_subscribe(client, topic(rest).c_str(), 1, nullptr);
  // Any update makes the edge tell the standing delta: what was wished for while this app was away.
  connected = true;
  unknown = true;
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; i += 2) {
    if (!option.contains(argv[i]) || i + 1 >= argc) {
      std::fprintf(stderr, "thermometer: %s: unknown option, or its value is missing\n", argv[i]);
      return 2;
    }
    option[argv[i]] = argv[i + 1];
  }
  const std::string id = "thermometer-" + option["--device"];
  if (MQTTAsync_create(&client, option["--broker"].c_str(), id.c_str(), MQTTCLIENT_PERSISTENCE_NONE, nullptr) != MQTTASYNC_SUCCESS) {
    std::fprintf(stderr, "thermometer: %s is no broker address like tcp://host:port\n", option["--broker"].c_str());
    return 2;
  }
  MQTTAsync_setCallbacks(client, nullptr, nullptr, &arrived, nullptr);
  MQTTAsync_setConnected(client, nullptr, &online);
  MQTTAsync_connectOptions connect = MQTTAsync_connectOptions_initializer;
  connect.automaticReconnect = 1;
  connect.maxRetryInterval = 5;
  MQTTAsync_connect(client, &connect);
  const int wait = std::max(1, std::atoi(option["--interval"].c_str()));
  const bool repeat = option["--interval"] != "0";
  for (;; std::this_thread::sleep_for(std::chrono::seconds(wait))) {
    if (connected && (unknown.exchange(false) || repeat)) report(option["--property"], option["--value"]);
    const int count = std::atoi(option["--count"].c_str());
    if (count > 0 && answered >= count) break;
  }
  MQTTAsync_destroy(&client);
  return 0;
}
