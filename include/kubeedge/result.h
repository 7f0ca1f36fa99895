// Errors as values: Result<T> is what every fallible call of libkubeedge returns or hands to its callback.
#pragma once

#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace kubeedge {
inline namespace v0 {

// What kind of thing went wrong. `Error::message` says which thing and where; the code says how to react.
enum class Errc : std::uint8_t {
  kInvalidArgument,   // the input is malformed: bytes, JSON, YAML, a flag, a name
  kNotFound,
  kAlreadyExists,
  kConflict,          // resourceVersion or precondition does not hold
  kPermissionDenied,  // authenticated, but not allowed
  kUnauthenticated,   // wrong, expired or missing certificate or token
  kUnavailable,       // the peer is away; trying again makes sense
  kTimeout,
  kCancelled,
  kLimitExceeded,     // a named limit (size, count, time)
  kUnimplemented,     // a feature that is absent on purpose
  kIo,                // file, socket, database
  kInternal,
};

const char* to_string(Errc code) noexcept;

struct Error {
  Errc code = Errc::kInternal;
  std::string message;  // one line: what, where, and what to do

  // The same error seen from one layer up: "context: message".
  Error in(std::string_view context) const {
    std::string text{context};
    text += ": ";
    text += message;
    return Error{code, std::move(text)};
  }
};

// A value or an Error. Dereferencing a failed Result is a programming error (asserted).
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  T& value() & { assert(ok()); return *std::get_if<0>(&state_); }
  const T& value() const& { assert(ok()); return *std::get_if<0>(&state_); }
  T&& value() && { assert(ok()); return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& { assert(!ok()); return *std::get_if<1>(&state_); }
  Error&& error() && { assert(!ok()); return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), ok_(false) {}  // NOLINT(google-explicit-constructor)

  bool ok() const noexcept { return ok_; }
  explicit operator bool() const noexcept { return ok_; }
  const Error& error() const& { assert(!ok_); return error_; }
  Error&& error() && { assert(!ok_); return std::move(error_); }

 private:
  Error error_;  // no std::optional: gcc 12 takes its empty payload for uninitialized at -O2
  bool ok_ = true;
};

}  // namespace v0
}  // namespace kubeedge
