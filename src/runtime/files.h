// Small files read and written whole, for start-up and for credentials that change on disk.
#pragma once

#include <string>
#include <string_view>

#include <kubeedge/result.h>

namespace kubeedge::runtime {

inline constexpr std::size_t kMaxTextFile = 16 * 1024 * 1024;

// kNotFound where there is none. Errors name the file.
Result<std::string> read_text_file(const std::string& path);
// A secret file: 0600, written beside, fsynced, renamed.
Result<void> write_secret_file(const std::string& path, std::string_view text);

// The folder and those above it, 0755 where they are made.
Result<void> make_folder(const std::string& path);

}  // namespace kubeedge::runtime
