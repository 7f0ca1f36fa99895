// One message of the hub's wire (hub-protocol 2.1): header, route, content.
#pragma once

#include <cstdint>
#include <string>

#include <kubeedge/bytes.h>
#include <kubeedge/resource.h>

namespace kubeedge {
inline namespace v0 {

struct Message {
  MessageId id;                  // header.msg_id
  MessageId parent_id;           // header.parent_msg_id: the message this one answers; empty = none
  std::int64_t timestamp_ms = 0; // header.timestamp, Unix milliseconds
  std::string resource_version;  // header.resourceversion, decimal or empty
  bool sync = false;             // header.sync, never true on the wire

  std::string source;            // route.source: the module that speaks (edged, twin, edgecontroller ...)
  std::string destination;       // route.destination, unused by v1.23
  std::string group;             // route.group: resource, twin, user, meta, hub, taskmanager
  std::string operation;         // route.operation: insert, update, delete, query, patch, response ...
  std::string resource;          // route.resource: "<ns>/<type>/<name>" and its kin

  // The content's JSON text exactly as it stands in the envelope, validated: an object, a string
  // (quotes and escapes included), "null" ... Never empty after decode().
  Bytes content = "null";
};

}  // namespace v0
}  // namespace kubeedge
