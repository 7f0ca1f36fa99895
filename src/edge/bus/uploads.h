// Uploads of MQTT apps, kept from their commit to the cloud's confirmation: the driver of UploadQueue over store and link.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <kubeedge/runtime.h>

#include "base/metrics.h"
#include "edge/bus/upload_queue.h"
#include "edge/ports/cloud_link.h"
#include "store/store.h"

namespace kubeedge::edge {

// Our own table; upstream's edge keeps no upload.
std::string_view uploads_schema();

// Sent oldest first, again after each break of the link and after the cloud put it off (its target is away), so a message may
// reach the cloud twice and never not at all: but for the oldest where the limits are reached, which are dropped and counted.
// Lives on the runtime's executor; `store` and `link` must outlive it.
class Uploads {
 public:
  Uploads(const Runtime& runtime, store::Store& store, CloudLink& link, UploadLimits limits);
  ~Uploads();

  // Reads what an earlier run left.
  Result<void> start();
  void stop();
  // UTF-8. `done` after the commit, or with the reason why there is none: then the message is not kept.
  void put(std::string topic, const Bytes& payload, unique_function<void(Result<void>)> done);

  void on_link(bool up);
  // The cloud's word that it answers uploads, and its answers.
  void on_confirms();
  void on_answer(const Message& message);

  struct Counters {
    std::uint64_t stored = 0;
    std::uint64_t sent = 0;      // messages on the wire, those sent again included
    std::uint64_t confirmed = 0; // answered by the cloud
    std::uint64_t refused = 0;   // answers that put one off
    std::uint64_t dropped = 0;   // the oldest, where the limits were reached
    std::uint64_t expired = 0;   // waited longer than UploadLimits::age
  };
  Counters counters() const;
  std::size_t waiting() const;
  void collect(base::MetricsPage& page) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edge
