// An immutable, reference-counted run of bytes: one buffer shared by all who relay it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace kubeedge {
inline namespace v0 {

// Copying a Bytes copies a pointer. Safe to hand to another thread; the bytes never change.
class Bytes {
 public:
  Bytes() = default;
  Bytes(std::string text)  // NOLINT(google-explicit-constructor)
      : owner_(std::make_shared<const std::string>(std::move(text))), view_(*owner_) {}
  Bytes(const char* text) : Bytes(std::string(text)) {}  // NOLINT(google-explicit-constructor)

  std::string_view view() const noexcept { return view_; }
  operator std::string_view() const noexcept { return view_; }  // NOLINT(google-explicit-constructor)
  std::size_t size() const noexcept { return view_.size(); }
  bool empty() const noexcept { return view_.empty(); }
  std::string str() const { return std::string(view_); }

  // A part of this buffer that keeps the whole buffer alive. `offset + count` must lie inside.
  Bytes slice(std::size_t offset, std::size_t count) const {
    Bytes part = *this;
    part.view_ = view_.substr(offset, count);
    return part;
  }

 private:
  std::shared_ptr<const std::string> owner_;
  std::string_view view_;
};

}  // namespace v0
}  // namespace kubeedge
