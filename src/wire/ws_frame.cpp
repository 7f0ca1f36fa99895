#include "wire/ws_frame.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include <openssl/evp.h>

#include "base/text.h"

namespace kubeedge::wire {
namespace {

constexpr std::uint16_t kProtocolError = 1002;
constexpr std::uint16_t kNoStatus = 1005;
constexpr std::uint16_t kBadUtf8 = 1007;
constexpr std::uint16_t kTooBig = 1009;
constexpr std::size_t kMaxControlPayload = 125;
constexpr std::size_t kMaxHeader = 14;
// A length that was only announced reserves no more than this.
constexpr std::uint64_t kMaxReserve = 64 * 1024;

unsigned byte_at(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }

// XORs `size` bytes at `data` with the mask, which starts at mask byte `phase`.
void apply_mask(char* data, std::size_t size, std::array<unsigned char, 4> mask, std::size_t phase) {
  std::array<unsigned char, 8> wide{};
  for (std::size_t i = 0; i < wide.size(); ++i) wide[i] = mask[(phase + i) % 4];
  std::uint64_t pattern = 0;
  std::memcpy(&pattern, wide.data(), sizeof pattern);
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    std::uint64_t block = 0;
    std::memcpy(&block, data + i, sizeof block);
    block ^= pattern;
    std::memcpy(data + i, &block, sizeof block);
  }
  for (; i < size; ++i) data[i] = static_cast<char>(static_cast<unsigned char>(data[i]) ^ wide[i % 8]);
}

// Codes that may stand in a close frame (RFC 6455 7.4).
bool valid_close_code(unsigned code) {
  if (code >= 3000 && code <= 4999) return true;
  return code >= 1000 && code <= 1014 && code != 1004 && code != kNoStatus && code != 1006;
}

}  // namespace

struct FrameReader::Impl {
  explicit Impl(FrameOptions given) : options(given) {}

  FrameOptions options;
  std::string header;                       // bytes of a header that is not complete
  bool in_payload = false;
  Opcode opcode = Opcode::kText;            // of the frame being read
  bool fin = false;
  bool masked = false;
  std::array<unsigned char, 4> mask{};
  std::uint64_t length = 0;                 // of the frame's payload
  std::uint64_t have = 0;                   // of it
  std::string control;                      // payload of the control frame being read
  std::optional<Opcode> message_opcode;     // of the message that is open
  std::string message;                      // its payload up to here
  bool closed = false;
  std::uint16_t code = 0;
  std::optional<Error> failed;

  Result<void> fail(std::uint16_t close_code, std::string text) {
    code = close_code;
    failed = Error{close_code == kTooBig ? Errc::kLimitExceeded : Errc::kInvalidArgument, "WebSocket: " + std::move(text)};
    message = {};
    return *failed;
  }

  bool is_control() const { return opcode >= Opcode::kClose; }

  // The header's whole size as far as the bytes so far tell.
  std::size_t header_size() const {
    if (header.size() < 2) return 2;
    const unsigned small = byte_at(header, 1) & 0x7fU;
    const std::size_t extended = small == 127 ? 8 : small == 126 ? 2 : 0;
    return 2 + extended + ((byte_at(header, 1) & 0x80U) != 0 ? 4 : 0);
  }

  // Checked as soon as the first two bytes are there: garbage must not wait for more of it.
  Result<void> check_start() {
    const unsigned first = byte_at(header, 0);
    if ((first & 0x70U) != 0) return fail(kProtocolError, "a reserved bit is set");
    const unsigned number = first & 0x0fU;
    if ((number > 2 && number < 8) || number > 10) return fail(kProtocolError, fmt::format("unknown opcode {}", number));
    opcode = static_cast<Opcode>(number);
    fin = (first & 0x80U) != 0;
    masked = (byte_at(header, 1) & 0x80U) != 0;
    if (masked != options.server) return fail(kProtocolError, options.server ? "a client's frame without mask" : "a server's frame with mask");
    if (is_control()) {
      if (!fin) return fail(kProtocolError, "a control frame in fragments");
      if ((byte_at(header, 1) & 0x7fU) > kMaxControlPayload) return fail(kProtocolError, "a control frame above 125 bytes");
    } else if (opcode == Opcode::kContinuation && !message_opcode) {
      return fail(kProtocolError, "a continuation of nothing");
    } else if (opcode != Opcode::kContinuation && message_opcode) {
      return fail(kProtocolError, "a new message inside an unfinished one");
    }
    return {};
  }

  Result<void> finish_header() {
    const unsigned small = byte_at(header, 1) & 0x7fU;
    std::size_t at = 2;
    length = small;
    if (small >= 126) {
      const std::size_t bytes = small == 126 ? 2 : 8;
      length = 0;
      for (std::size_t i = 0; i < bytes; ++i) length = length << 8U | byte_at(header, at++);
      if (length < 126 || (bytes == 8 && length <= 0xffff)) return fail(kProtocolError, "an over-long length");
      if (length >> 63U != 0) return fail(kProtocolError, "a length with the top bit set");
    }
    if (masked)
      for (unsigned char& byte : mask) byte = static_cast<unsigned char>(header[at++]);
    if (!is_control()) {
      if (length > options.max_message_bytes - message.size())
        return fail(kTooBig, fmt::format("a message of more than {} bytes", options.max_message_bytes));
      if (opcode != Opcode::kContinuation) message_opcode = opcode;
      if (message.empty()) message.reserve(static_cast<std::size_t>(std::min(length, kMaxReserve)));
    }
    header.clear();
    control.clear();
    have = 0;
    in_payload = true;
    return {};
  }

  void take_payload(std::string_view& data) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(length - have, data.size()));
    std::string& into = is_control() ? control : message;
    const std::size_t from = into.size();
    into.append(data.substr(0, count));
    if (masked) apply_mask(into.data() + from, count, mask, static_cast<std::size_t>(have % 4));
    have += count;
    data.remove_prefix(count);
  }

  Result<void> finish_frame(std::vector<Event>& out) {
    in_payload = false;
    switch (opcode) {
      case Opcode::kPing: out.emplace_back(Ping{std::exchange(control, {})}); return {};
      case Opcode::kPong: out.emplace_back(Pong{std::exchange(control, {})}); return {};
      case Opcode::kClose: return finish_close(out);
      default: break;
    }
    if (!fin) return {};
    const bool text = *message_opcode == Opcode::kText;
    message_opcode.reset();
    if (text && options.validate_utf8 && !base::is_utf8(message)) return fail(kBadUtf8, "a text message that is no UTF-8");
    Bytes payload(std::exchange(message, {}));
    if (text) out.emplace_back(Text{std::move(payload)});
    else out.emplace_back(Binary{std::move(payload)});
    return {};
  }

  Result<void> finish_close(std::vector<Event>& out) {
    Close close{kNoStatus, {}};
    if (control.size() == 1) return fail(kProtocolError, "a close frame of one byte");
    if (control.size() >= 2) {
      const unsigned given = byte_at(control, 0) << 8U | byte_at(control, 1);
      if (!valid_close_code(given)) return fail(kProtocolError, fmt::format("close code {}", given));
      close = {static_cast<std::uint16_t>(given), control.substr(2)};
      if (!base::is_utf8(close.reason)) return fail(kBadUtf8, "a close reason that is no UTF-8");
    }
    closed = true;
    message = {};
    message_opcode.reset();
    out.emplace_back(std::move(close));
    return {};
  }

  Result<void> feed(std::string_view data, std::vector<Event>& out) {
    if (failed) return *failed;
    while (!closed) {
      if (!in_payload) {
        if (data.empty()) return {};
        const std::size_t before = header.size();
        const std::size_t count = std::min(header_size() - before, data.size());
        header.append(data.substr(0, count));
        data.remove_prefix(count);
        if (header.size() < 2) return {};
        if (before < 2)
          if (auto checked = check_start(); !checked) return checked;
        if (header.size() < header_size()) continue;
        if (auto done = finish_header(); !done) return done;
      }
      take_payload(data);
      if (have < length) return {};
      if (auto done = finish_frame(out); !done) return done;
    }
    return {};
  }
};

FrameReader::FrameReader(FrameOptions options) : impl_(std::make_unique<Impl>(options)) {}
FrameReader::~FrameReader() = default;
FrameReader::FrameReader(FrameReader&&) noexcept = default;
FrameReader& FrameReader::operator=(FrameReader&&) noexcept = default;

Result<void> FrameReader::feed(std::string_view data, std::vector<Event>& out) { return impl_->feed(data, out); }
std::uint16_t FrameReader::close_code() const { return impl_->code; }
bool FrameReader::in_message() const { return impl_->message_opcode.has_value(); }

std::string encode_frame(Opcode opcode, std::string_view payload, bool fin, bool masked, std::uint32_t mask_key) {
  std::string out;
  out.reserve(kMaxHeader + payload.size());
  const auto put = [&out](std::uint64_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte & 0xffU)); };
  put((fin ? 0x80U : 0U) | static_cast<unsigned>(opcode));
  const unsigned mask_bit = masked ? 0x80U : 0U;
  const std::uint64_t size = payload.size();
  if (size < 126) {
    put(mask_bit | size);
  } else {
    const unsigned bytes = size <= 0xffff ? 2 : 8;
    put(mask_bit | (bytes == 2 ? 126U : 127U));
    for (unsigned i = bytes; i-- > 0;) put(size >> (8U * i));
  }
  if (masked) {
    std::array<unsigned char, 4> mask{};
    for (unsigned i = 0; i < 4; ++i) {
      mask[i] = static_cast<unsigned char>(mask_key >> (24U - 8U * i) & 0xffU);
      put(mask[i]);
    }
    const std::size_t from = out.size();
    out += payload;
    apply_mask(out.data() + from, payload.size(), mask, 0);
  } else {
    out += payload;
  }
  return out;
}

std::string close_payload(std::uint16_t code, std::string_view reason) {
  // A cut inside a UTF-8 sequence would make the peer answer 1007.
  std::string_view fits = reason.substr(0, kMaxControlPayload - 2);
  while (!fits.empty() && !base::is_utf8(fits)) fits.remove_suffix(1);
  std::string out{static_cast<char>(code >> 8U), static_cast<char>(code & 0xffU)};
  out += fits;
  return out;
}

std::string accept_key(std::string_view sec_websocket_key) {
  const std::string text = std::string(sec_websocket_key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr) != 1) return {};
  return base::base64({reinterpret_cast<const char*>(digest.data()), size});
}

}  // namespace kubeedge::wire
