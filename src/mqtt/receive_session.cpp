#include "mqtt/receive_session.h"

#include <algorithm>

#include "base/text.h"
#include "mqtt/connack.h"

namespace kubeedge::mqtt {
namespace {

enum Type : unsigned { kConnect = 1, kConnack = 2, kPublish = 3, kPuback = 4, kSubscribe = 8, kSuback = 9, kUnsubscribe = 10, kUnsuback = 11, kPingreq = 12, kPingresp = 13 };

constexpr unsigned kLengthMore = 0x80;
constexpr int kMaxLengthBytes = 4;
constexpr unsigned char kCleanSessionOff = 0x00, kHasPassword = 0x40, kHasUsername = 0x80;
constexpr unsigned kNotTaken = 0x80;   // in a SUBACK

std::size_t number16(std::string_view at) { return static_cast<std::size_t>(static_cast<unsigned char>(at[0])) << 8U | static_cast<unsigned char>(at[1]); }

void put16(std::string& out, std::size_t value) {
  out += static_cast<char>(value >> 8U & 0xffU);
  out += static_cast<char>(value & 0xffU);
}

void put_text(std::string& out, std::string_view text) {
  text = text.substr(0, 65'535);
  put16(out, text.size());
  out += text;
}

void put_packet(std::string& out, unsigned first, std::string_view body) {
  out += static_cast<char>(first);
  std::size_t length = body.size();
  do {
    std::size_t digit = length % kLengthMore;
    length /= kLengthMore;
    if (length > 0) digit |= kLengthMore;
    out += static_cast<char>(digit);
  } while (length > 0);
  out += body;
}

Error broken(std::string_view what) { return base::error(Errc::kInvalidArgument, "not MQTT 3.1.1: {}", what); }

Error login_refused(unsigned code) {
  const bool by_login = code == 2 || code == 4 || code == 5;
  return Error{by_login ? Errc::kPermissionDenied : code == 3 ? Errc::kUnavailable : Errc::kInvalidArgument, connack_text(static_cast<int>(code))};
}

}  // namespace

ReceiveSession::ReceiveSession(const Login& login) {
  std::string body;
  put_text(body, "MQTT");
  body += '\x04';   // 3.1.1
  unsigned flags = kCleanSessionOff;
  if (!login.username.empty()) flags |= kHasUsername | kHasPassword;
  body += static_cast<char>(flags);
  put16(body, kKeepAliveSeconds);
  put_text(body, login.client_id);
  if (!login.username.empty()) {
    put_text(body, login.username);
    put_text(body, login.password);
  }
  put_packet(output_, kConnect << 4U, body);
}

Result<void> ReceiveSession::feed(std::string_view bytes, std::vector<Event>& events) {
  while (!bytes.empty() || (header_bytes_ < 0 && seen_ == length_)) {
    if (header_bytes_ >= 0) {
      if (Result<void> fine = header(static_cast<unsigned char>(bytes.front())); !fine) return fine;
      bytes.remove_prefix(1);
      continue;
    }
    const std::size_t piece = std::min(bytes.size(), length_ - seen_);
    if (body_.size() < kept()) body_ += bytes.substr(0, std::min(piece, kept() - body_.size()));
    seen_ += piece;
    bytes.remove_prefix(piece);
    if (seen_ < length_) break;
    Result<void> fine = packet(events);
    header_bytes_ = 0;
    length_ = seen_ = 0;
    body_ = std::string();   // a large message's room is given back
    if (!fine) return fine;
  }
  return {};
}

std::size_t ReceiveSession::kept() const { return first_ >> 4U == kPublish ? kMaxKeptBytes : kMaxOtherBytes; }

// The first byte, then one to four that give the length; header_bytes_ is -1 when both are known.
Result<void> ReceiveSession::header(unsigned char byte) {
  if (header_bytes_ == 0) {
    first_ = byte;
    header_bytes_ = 1;
    return {};
  }
  length_ |= static_cast<std::size_t>(byte % kLengthMore) << (7U * static_cast<unsigned>(header_bytes_ - 1));
  if ((byte & kLengthMore) == 0) {
    header_bytes_ = -1;
    if (length_ > kept() && first_ >> 4U != kPublish) return broken("a packet that is too long");
    return {};
  }
  if (header_bytes_ == kMaxLengthBytes) return broken("a length of more than four bytes");
  ++header_bytes_;
  return {};
}

Result<void> ReceiveSession::packet(std::vector<Event>& events) {
  const unsigned type = first_ >> 4U;
  if (!opened_ && type != kConnack) return broken("the first packet is no CONNACK");
  switch (type) {
    case kConnack: return connack(events);
    case kPublish: return publish(events);
    case kSuback: return suback(events);
    case kUnsuback:
    case kPingresp: return {};
    default: return broken(fmt::format("a packet of type {}", type));
  }
}

Result<void> ReceiveSession::connack(std::vector<Event>& events) {
  if (opened_ || body_.size() != 2) return broken("CONNACK");
  if (body_[1] != 0) return login_refused(static_cast<unsigned char>(body_[1]));
  opened_ = true;
  events.emplace_back(Opened{(body_[0] & 1) != 0});
  return {};
}

Result<void> ReceiveSession::publish(std::vector<Event>& events) {
  const int qos = static_cast<int>(first_ >> 1U & 3U);
  if (qos > 1) return broken(fmt::format("a message of QoS {}, which was not asked for", qos));
  std::string_view rest(body_);
  if (rest.size() < 2) return broken("PUBLISH");
  const std::size_t topic_bytes = number16(rest);
  const std::size_t head = 2 + topic_bytes + (qos > 0 ? 2U : 0U);
  if (rest.size() < head) return broken("PUBLISH");
  Held held{0, rest.size(), false};
  if (qos > 0) {
    held.packet = static_cast<std::uint16_t>(number16(rest.substr(2 + topic_bytes)));
    if (held.packet == 0) return broken("a message of QoS 1 without a number");
  }
  Publication out{first_held_ + held_.size(), std::string(rest.substr(2, topic_bytes)), {}, qos};
  const std::size_t payload = std::min(rest.size() - head, kMaxPayloadBytes + 1);
  out.payload = Bytes(std::move(body_)).slice(head, payload);
  held_bytes_ += held.bytes;
  held_.push_back(held);
  events.emplace_back(std::move(out));
  return {};
}

Result<void> ReceiveSession::suback(std::vector<Event>& events) {
  if (body_.size() < 2) return broken("SUBACK");
  const auto found = subscribing_.find(static_cast<std::uint16_t>(number16(body_)));
  if (found == subscribing_.end() || body_.size() != 2 + found->second.size()) return broken("a SUBACK that fits no SUBSCRIBE");
  for (std::size_t i = 0; i < found->second.size(); ++i)
    if (static_cast<unsigned char>(body_[2 + i]) & kNotTaken) events.emplace_back(Refused{found->second[i]});
  subscribing_.erase(found);
  return {};
}

std::uint16_t ReceiveSession::next_packet() {
  do {
    if (++last_packet_ == 0) last_packet_ = 1;
  } while (subscribing_.contains(last_packet_));
  return last_packet_;
}

void ReceiveSession::subscribe(const std::vector<std::string>& filters, int qos) {
  for (std::size_t begin = 0; begin < filters.size(); begin += kFiltersAtOnce) {
    const auto from = filters.begin() + static_cast<std::ptrdiff_t>(begin);
    std::vector<std::string> part(from, from + static_cast<std::ptrdiff_t>(std::min(kFiltersAtOnce, filters.size() - begin)));
    const std::uint16_t packet = next_packet();
    std::string body;
    put16(body, packet);
    for (const auto& filter : part) {
      put_text(body, filter);
      body += static_cast<char>(qos);
    }
    put_packet(output_, kSubscribe << 4U | 2U, body);
    subscribing_[packet] = std::move(part);
  }
}

void ReceiveSession::unsubscribe(const std::string& filter) {
  std::string body;
  put16(body, next_packet());
  put_text(body, filter);
  put_packet(output_, kUnsubscribe << 4U | 2U, body);
}

void ReceiveSession::ping() { put_packet(output_, kPingreq << 4U, {}); }

void ReceiveSession::acknowledge(std::uint64_t number) {
  if (number < first_held_ || number - first_held_ >= held_.size()) return;
  held_[number - first_held_].acknowledged = true;
  while (!held_.empty() && held_.front().acknowledged) {
    if (held_.front().packet != 0) {
      std::string body;
      put16(body, held_.front().packet);
      put_packet(output_, kPuback << 4U, body);
    }
    held_bytes_ -= held_.front().bytes;
    held_.pop_front();
    ++first_held_;
  }
}

}  // namespace kubeedge::mqtt
