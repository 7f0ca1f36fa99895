// exec, attach and port-forward: the runtime's own streaming server speaks the user's protocol (SPDY, WebSocket); we carry bytes.
// In: the user's request and, after it, what he types. Out: whatever the server answers, its HTTP head first.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/result.h>
#include <kubeedge/runtime.h>

#include "edge/ports/node_streams.h"

namespace kubeedge::edged {

class ExecStream final : public edge::NodeStream {
 public:
  static constexpr Milliseconds kDialTimeout{10'000};

  // `call`: of its head the method and the headers of the upgrade are passed on.
  ExecStream(const Runtime& runtime, edge::NodeCall call, std::shared_ptr<edge::NodeAnswer> answer);
  ~ExecStream() override;
  // Where the runtime serves it: the answer to CRI's Exec, Attach or PortForward.
  unique_function<void(Result<std::string>)> on_url();

  void on_room() override;
  void on_data(Bytes bytes) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edged
