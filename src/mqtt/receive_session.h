// One MQTT 3.1.1 connection of a client that only hears: bytes in, messages out, and a PUBACK when it is told to send one.
// No I/O, no clock: receiver.h drives it.
//
// Why not Paho: its PUBACK (1.3.12) leaves when the message callback has returned, whatever that returned, and its two threads are
// shared by all clients of a process. To hold a PUBACK back one would have to block them, the twins' client and every other edge
// with it, and at a full disk there would still be no way out but to return, which acknowledges. What an acknowledgement that waits
// for a commit needs is seven kinds of packet.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <kubeedge/bytes.h>
#include <kubeedge/clock.h>
#include <kubeedge/result.h>

#include "mqtt/transport.h"

namespace kubeedge::mqtt {

class ReceiveSession {
 public:
  static constexpr int kKeepAliveSeconds = 30;
  // Of a message this much is kept (topic and head, and a payload of one byte too many, which says that it was longer); the rest is skipped.
  static constexpr std::size_t kMaxKeptBytes = 2 + 65'535 + 2 + kMaxPayloadBytes + 1;
  static constexpr std::size_t kMaxOtherBytes = 64 * 1024;   // of a packet that is no message
  static constexpr std::size_t kFiltersAtOnce = 100;         // in one SUBSCRIBE

  struct Login {
    std::string client_id, username, password;
  };
  struct Opened { bool session_present = false; };      // the broker took the connection: subscribe now
  struct Publication {
    std::uint64_t number = 0;                           // for acknowledge()
    std::string topic;
    Bytes payload;
    int qos = 0;
  };
  struct Refused { std::string filter; };               // a subscription that the broker did not take
  using Event = std::variant<Opened, Publication, Refused>;

  // output() begins with the CONNECT: a session that the broker keeps while we are away.
  explicit ReceiveSession(const Login& login);

  // The broker's bytes, in pieces as they come. An error ends the connection: kPermissionDenied when the login was refused.
  Result<void> feed(std::string_view bytes, std::vector<Event>& events);

  void subscribe(const std::vector<std::string>& filters, int qos);
  void unsubscribe(const std::string& filter);
  void ping();
  // Each publication once, in any order: PUBACKs leave in the order in which the messages came (MQTT 4.6), so that one which is
  // never acknowledged holds back those behind it. QoS 0 is acknowledged too, which frees its place in unacknowledged().
  void acknowledge(std::uint64_t number);
  std::size_t unacknowledged() const { return held_.size(); }
  std::size_t unacknowledged_bytes() const { return held_bytes_; }

  std::string take_output() { return std::exchange(output_, {}); }

 private:
  struct Held {
    std::uint16_t packet = 0;   // 0: QoS 0
    std::size_t bytes = 0;
    bool acknowledged = false;
  };
  Result<void> header(unsigned char byte);
  Result<void> packet(std::vector<Event>& events);
  Result<void> connack(std::vector<Event>& events);
  Result<void> publish(std::vector<Event>& events);
  Result<void> suback(std::vector<Event>& events);
  std::uint16_t next_packet();
  std::size_t kept() const;

  std::string output_;
  // The packet that is arriving.
  int header_bytes_ = 0;
  unsigned char first_ = 0;
  std::size_t length_ = 0, seen_ = 0;
  std::string body_;

  bool opened_ = false;
  std::uint16_t last_packet_ = 0;
  std::map<std::uint16_t, std::vector<std::string>> subscribing_;
  std::deque<Held> held_;
  std::size_t held_bytes_ = 0;
  std::uint64_t first_held_ = 1;
};

}  // namespace kubeedge::mqtt
