// One `kubectl logs`: a log file, filtered, sent no faster than the user takes it.
// Promises: reads on the blocking thread; holds at most one piece of the file; follows until the container ended and all is read.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/runtime.h>

#include "edge/edged/log_query.h"
#include "edge/edged/log_watch.h"
#include "edge/ports/node_streams.h"

namespace kubeedge::edged {

class LogStream final : public edge::NodeStream {
 public:
  struct Source {
    std::string container_id;
    std::string file;
    bool running = false;       // it may still write
  };
  LogStream(const Runtime& runtime, std::shared_ptr<LogWatch> watch, Source source, const LogQuery& query, std::shared_ptr<edge::NodeAnswer> answer);
  ~LogStream() override;
  void start();

  // A handle for whoever learns that containers end; it may outlive the stream.
  class Ender {
   public:
    virtual ~Ender() = default;
    virtual const std::string& container_id() const = 0;
    virtual void container_ended() = 0;
  };
  std::weak_ptr<Ender> ender() const;

  void on_room() override;
  void on_data(Bytes) override {}

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edged
