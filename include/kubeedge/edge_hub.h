// The link to the cloud: joins, dials the hub, heals itself, carries messages. Part of an Edge, or alone as HubConnection.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/message.h>
#include <kubeedge/result.h>
#include <kubeedge/runtime.h>
#include <kubeedge/secret.h>
#include <kubeedge/unique_function.h>

namespace kubeedge {
inline namespace v0 {

enum class LinkState : std::uint8_t { kDown, kUp };

class EdgeHub {
 public:
  virtual ~EdgeHub() = default;
  virtual void on_link(unique_function<void(LinkState)> handler) = 0;
  virtual LinkState link() const = 0;
};

struct EdgeHubOptions {
  std::string node_name;                  // "" = the host name, lower-cased
  std::string cloud;                      // host; ports below
  std::uint16_t hub_port = 10000;
  std::uint16_t join_port = 10002;
  std::string hub_server, join_server;    // "host:port" where they differ from `cloud`
  Secret token;                           // needed until the first certificate is there
  std::string data_dir = "/var/lib/kubeedge";               // certificates in pki/, unless named below
  std::string ca_file, certificate_file, private_key_file;
  std::string project_id = "e632aba927ea4ac2b575ec1603d56f10";
  std::string store_id;                   // MetaStore::id(): the cloud then sends all again to a store that was lost
  int heartbeat_s = 15;
  int message_qps = 30, message_burst = 60;   // 30 with 60 (upstream's default) means no limit
};

// The hub's wire without an edge behind it: who uses it speaks for the node (hub-protocol in the upstream's terms).
// Lives on the runtime's executor. create() makes data_dir and connects nothing; start() does.
class HubConnection {
 public:
  static Result<HubConnection> create(const Runtime& runtime, EdgeHubOptions options);
  HubConnection(HubConnection&&) noexcept;
  HubConnection& operator=(HubConnection&&) noexcept;
  ~HubConnection();

  EdgeHub& hub();
  // What the cloud sends and no request() waits for. Objects must be acknowledged once they are durable (MetaStore does).
  void on_message(unique_function<void(Message)> handler);
  // A token or certificate that is refused: no retry mends it.
  void on_failure(unique_function<void(Error)> handler);
  // kUnavailable: the link is down, the message is dropped.
  Result<void> send(Message message);
  // `done` gets the answer; kUnavailable when the link is down or breaks, kTimeout after `timeout`.
  void request(Message message, Milliseconds timeout, unique_function<void(Result<Message>)> done);
  void start();
  void stop();

 private:
  struct Impl;
  explicit HubConnection(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace kubeedge
