#include <deque>
#include <optional>

#include <kubeedge/device.h>

#include "capi/c_common.h"

using namespace kubeedge;
using capi::failed;
using capi::guarded;
using capi::text;

// The properties' handles point at their client; a deque moves none of them.
struct ke_property {
  ke_client* client;
  device::AnyProperty property;
};

struct ke_client {
  explicit ke_client(LoopThread& loop) : events(loop) {}
  capi::Events events;
  std::optional<device::Client> client;   // made, called and ended on the loop's thread
  std::deque<ke_property> properties;
  LoopThread& loop() const { return events.loop(); }
};

namespace {

device::Type type_of(ke_type type) {
  constexpr device::Type kTypes[] = {device::Type::kInt, device::Type::kDouble, device::Type::kBool, device::Type::kString, device::Type::kBytes};
  return kTypes[type];
}

bool is_type(ke_type type) { return type >= KE_INT && type <= KE_BYTES; }

device::Value value_of(const ke_value& given) {
  switch (given.type) {
    case KE_INT: return given.integer;
    case KE_DOUBLE: return given.number;
    case KE_BOOL: return given.truth != 0;
    case KE_STRING: return std::string(given.data ? given.data : "", given.data ? given.size : 0);
    case KE_BYTES: break;
  }
  const auto* first = reinterpret_cast<const std::byte*>(given.data);
  return first ? device::Blob(first, first + given.size) : device::Blob();
}

// Points into `value`.
ke_value to_c(const device::Value& value) {
  ke_value out{static_cast<ke_type>(value.index()), 0, 0, 0, nullptr, 0};
  if (const auto* integer = std::get_if<std::int64_t>(&value)) out.integer = *integer;
  if (const auto* number = std::get_if<double>(&value)) out.number = *number;
  if (const auto* truth = std::get_if<bool>(&value)) out.truth = *truth;
  if (const auto* string = std::get_if<std::string>(&value)) out.data = string->c_str(), out.size = string->size();
  if (const auto* blob = std::get_if<device::Blob>(&value)) out.data = reinterpret_cast<const char*>(blob->data()), out.size = blob->size();
  return out;
}

device::State state_of(ke_state state) {
  constexpr device::State kStates[] = {device::State::kOk, device::State::kOnline, device::State::kOffline, device::State::kUnhealthy, device::State::kUnknown};
  return kStates[state];
}

void report(ke_property* property, device::Value value, ke_done done, void* user) {
  property->client->loop().post([property, value = std::move(value), done = property->client->events.done(done, user)]() mutable {
    property->property.report(std::move(value), std::move(done));
  });
}

// An argument that is wrong before it can be handed on: told to `done`, in the drain as everything.
void refuse(const ke_client* client, ke_done done, void* user, const char* line) {
  if (auto tell = client->events.done(done, user)) tell(Error{Errc::kInvalidArgument, line});
}

}  // namespace

ke_status ke_client_new(ke_loop* loop, const ke_client_options* options, ke_client** out) {
  return guarded([&] {
    if (!loop || !out || (options && options->size != sizeof *options)) return failed({Errc::kInvalidArgument, "ke_client_new: a loop, a place for the client and options with their size are wanted"});
    device::ClientOptions given;
    if (options) {
      if (options->broker) given.broker = options->broker;
      given.client_id = text(options->client_id);
      given.username = text(options->username);
      given.password = text(options->password);
      given.ca_file = text(options->ca_file);
      given.certificate_file = text(options->certificate_file);
      given.private_key_file = text(options->private_key_file);
    }
    auto client = std::make_unique<ke_client>(*loop->thread);
    client->loop().call([&] { client->client.emplace(client->loop().runtime(), std::move(given)); });
    *out = client.release();
    return KE_OK;
  });
}

ke_status ke_client_start(ke_client* client) {
  return guarded([&] {
    Result<void> started;
    client->loop().call([&] { started = client->client->start(); });
    return started ? KE_OK : failed(started.error());
  });
}

void ke_client_stop(ke_client* client, ke_event_fn done, void* user) {
  (void)guarded([&] {
    client->loop().post([client, done = client->events.event(done, user)]() mutable { client->client->stop(std::move(done)); });
    return KE_OK;
  });
}

// What was posted before for this client runs before its end.
void ke_client_free(ke_client* client) {
  if (!client) return;
  (void)guarded([&] {
    client->loop().call([&] { client->client.reset(); });
    delete client;
    return KE_OK;
  });
}

void ke_client_on_connection(ke_client* client, ke_connection_fn handler, void* user) {
  (void)guarded([&] {
    client->loop().post([client, handler, user] {
      client->client->on_connection([client, handler, user](bool connected, const std::string& why) {
        client->events.emit([handler, user, connected, why] { handler(user, connected, why.c_str()); });
      });
    });
    return KE_OK;
  });
}

void ke_client_on_error(ke_client* client, ke_error_fn handler, void* user) {
  (void)guarded([&] {
    client->loop().post([client, handler, user] {
      client->client->on_error([client, handler, user](const Error& error) {
        client->events.emit([handler, user, error] { handler(user, capi::to_c(error.code), error.message.c_str()); });
      });
    });
    return KE_OK;
  });
}

ke_status ke_client_property(ke_client* client, const char* ns, const char* device, const char* name, ke_type type, ke_property** out) {
  return guarded([&] {
    if (!client || !ns || !device || !name || !out || !is_type(type)) return failed({Errc::kInvalidArgument, "ke_client_property: namespace, device, name and a type are wanted"});
    client->loop().call([&] {
      client->properties.push_back({client, client->client->device(ns, device).property(name, type_of(type))});
      *out = &client->properties.back();
    });
    return KE_OK;
  });
}

void ke_property_report(ke_property* property, const ke_value* value, ke_done done, void* user) {
  (void)guarded([&] {
    if (!value || !is_type(value->type)) refuse(property->client, done, user, "ke_property_report: no value, or none of the types");
    else report(property, value_of(*value), done, user);
    return KE_OK;
  });
}

void ke_property_report_int(ke_property* property, int64_t value, ke_done done, void* user) {
  (void)guarded([&] { return report(property, value, done, user), KE_OK; });
}

void ke_property_report_double(ke_property* property, double value, ke_done done, void* user) {
  (void)guarded([&] { return report(property, value, done, user), KE_OK; });
}

void ke_property_report_bool(ke_property* property, int value, ke_done done, void* user) {
  (void)guarded([&] { return report(property, value != 0, done, user), KE_OK; });
}

void ke_property_report_string(ke_property* property, const char* value, ke_done done, void* user) {
  (void)guarded([&] { return report(property, text(value), done, user), KE_OK; });
}

void ke_property_report_bytes(ke_property* property, const void* data, size_t size, ke_done done, void* user) {
  const ke_value value{KE_BYTES, 0, 0, 0, static_cast<const char*>(data), size};
  ke_property_report(property, &value, done, user);
}

void ke_property_on_desired(ke_property* property, ke_value_fn handler, void* user) {
  (void)guarded([&] {
    property->client->loop().post([property, handler, user] {
      property->property.on_desired([client = property->client, handler, user](device::Value value) {
        client->events.emit([handler, user, value = std::move(value)] {
          const ke_value wished = to_c(value);
          handler(user, &wished);
        });
      });
    });
    return KE_OK;
  });
}

void ke_client_report(ke_client* client, const char* ns, const char* device, const ke_named_value* values, size_t count, ke_done done, void* user) {
  (void)guarded([&] {
    std::map<std::string, device::Value> batch;
    for (std::size_t i = 0; i < count; ++i) {
      if (!values[i].name || !is_type(values[i].value.type)) return refuse(client, done, user, "ke_client_report: a value without a name or type"), KE_OK;
      batch[values[i].name] = value_of(values[i].value);
    }
    client->loop().post([client, ns = text(ns), device = text(device), batch = std::move(batch), done = client->events.done(done, user)]() mutable {
      client->client->device(ns, device).report(std::move(batch), std::move(done));
    });
    return KE_OK;
  });
}

void ke_client_get(ke_client* client, const char* ns, const char* device, ke_twin_fn done, void* user) {
  (void)guarded([&] {
    client->loop().post([client, ns = text(ns), device = text(device), done = client->events.twin(done, user)]() mutable {
      client->client->device(ns, device).get(std::move(done));
    });
    return KE_OK;
  });
}

void ke_client_set_state(ke_client* client, const char* ns, const char* device, ke_state state, ke_done done, void* user) {
  (void)guarded([&] {
    if (state < KE_STATE_OK || state > KE_STATE_UNKNOWN) return refuse(client, done, user, "ke_client_set_state: none of the states"), KE_OK;
    client->loop().post([client, ns = text(ns), device = text(device), state, done = client->events.done(done, user)]() mutable {
      client->client->device(ns, device).set_state(state_of(state), std::move(done));
    });
    return KE_OK;
  });
}
