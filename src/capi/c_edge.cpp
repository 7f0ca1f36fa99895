#include <optional>

#include <kubeedge/edge.h>

#include "capi/c_common.h"

using namespace kubeedge;
using capi::failed;
using capi::guarded;
using capi::text;

struct ke_edge {
  explicit ke_edge(LoopThread& loop) : events(loop) {}
  capi::Events events;
  std::optional<Edge> edge;   // made, called and ended on the loop's thread
  LoopThread& loop() const { return events.loop(); }
};

namespace {

EdgeOptions options_of(const ke_edge_options& given) {
  EdgeOptions options;
  options.node_name = text(given.node_name);
  options.cloud = text(given.cloud);
  if (given.hub_port) options.hub_port = given.hub_port;
  if (given.join_port) options.join_port = given.join_port;
  options.token = Secret(text(given.token));
  if (given.data_dir) options.data_dir = given.data_dir;
  if (given.broker) options.mqtt.server = given.broker;
  options.mqtt_enabled = given.no_mqtt == 0;
  return options;
}

const char* state_name(ke_state state) {
  static const char* const kNames[] = {"ok", "online", "offline", "unhealthy", "unknown"};
  return state >= KE_STATE_OK && state <= KE_STATE_UNKNOWN ? kNames[state] : "";   // the edge refuses ""
}

}  // namespace

ke_status ke_edge_new(ke_loop* loop, const ke_edge_options* options, ke_edge** out) {
  return guarded([&] {
    if (!loop || !out || !options || options->size != sizeof *options) return failed({Errc::kInvalidArgument, "ke_edge_new: a loop, a place for the edge and options with their size are wanted"});
    auto edge = std::make_unique<ke_edge>(*loop->thread);
    std::optional<Error> error;
    edge->loop().call([&] {
      auto made = Edge::create(edge->loop().runtime(), options_of(*options));
      if (made) edge->edge.emplace(std::move(*made));
      else error = made.error();
    });
    if (error) return failed(*error);
    *out = edge.release();
    return KE_OK;
  });
}

void ke_edge_start(ke_edge* edge) {
  (void)guarded([&] {
    edge->loop().post([edge] { edge->edge->start(); });
    return KE_OK;
  });
}

void ke_edge_stop(ke_edge* edge, ke_event_fn done, void* user) {
  (void)guarded([&] {
    edge->loop().post([edge, done = edge->events.event(done, user)]() mutable { edge->edge->stop(std::move(done)); });
    return KE_OK;
  });
}

void ke_edge_free(ke_edge* edge) {
  if (!edge) return;
  (void)guarded([&] {
    edge->loop().call([&] { edge->edge.reset(); });
    delete edge;
    return KE_OK;
  });
}

void ke_edge_on_link(ke_edge* edge, ke_connection_fn handler, void* user) {
  (void)guarded([&] {
    edge->loop().post([edge, handler, user] {
      edge->edge->hub().on_link([edge, handler, user](LinkState state) {
        const bool up = state == LinkState::kUp;
        edge->events.emit([handler, user, up] { handler(user, up, up ? "the cloud is connected" : "the cloud is away"); });
      });
    });
    return KE_OK;
  });
}

void ke_edge_on_failure(ke_edge* edge, ke_error_fn handler, void* user) {
  (void)guarded([&] {
    edge->loop().post([edge, handler, user] {
      edge->edge->on_failure([edge, handler, user](const Error& error) {
        edge->events.emit([handler, user, error] { handler(user, capi::to_c(error.code), error.message.c_str()); });
      });
    });
    return KE_OK;
  });
}

void ke_twin_on_desired(ke_edge* edge, ke_desired_fn handler, void* user) {
  (void)guarded([&] {
    edge->loop().post([edge, handler, user] {
      edge->edge->twin().on_desired([edge, handler, user](const DeviceId& device, const TwinDelta& delta) {
        edge->events.emit([handler, user, device, delta] {
          std::vector<ke_text_pair> wanted;
          for (const auto& [name, value] : delta) wanted.push_back({name.c_str(), value.c_str()});
          handler(user, device.ns.c_str(), device.name.c_str(), wanted.data(), wanted.size());
        });
      });
    });
    return KE_OK;
  });
}

void ke_twin_report(ke_edge* edge, const char* ns, const char* device, const ke_text_pair* values, size_t count, ke_done done, void* user) {
  (void)guarded([&] {
    std::map<std::string, std::string> batch;
    for (std::size_t i = 0; i < count; ++i) batch[text(values[i].name)] = text(values[i].value);
    edge->loop().post([edge, id = DeviceId{text(ns), text(device)}, batch = std::move(batch), done = edge->events.done(done, user)]() mutable {
      edge->edge->twin().report(id, batch, [done = std::move(done)](Result<TwinResult> result) mutable {
        if (done) done(result ? Result<void>() : Result<void>(result.error()));
      });
    });
    return KE_OK;
  });
}

void ke_twin_get(ke_edge* edge, const char* ns, const char* device, ke_twin_fn done, void* user) {
  (void)guarded([&] {
    edge->loop().post([edge, id = DeviceId{text(ns), text(device)}, done = edge->events.twin(done, user)]() mutable { done(edge->edge->twin().get(id)); });
    return KE_OK;
  });
}

void ke_twin_set_state(ke_edge* edge, const char* ns, const char* device, ke_state state, ke_done done, void* user) {
  (void)guarded([&] {
    edge->loop().post([edge, id = DeviceId{text(ns), text(device)}, state, done = edge->events.done(done, user)]() mutable {
      edge->edge->twin().set_state(id, state_name(state), [done = std::move(done)](Result<void> result) mutable {
        if (done) done(std::move(result));
      });
    });
    return KE_OK;
  });
}
