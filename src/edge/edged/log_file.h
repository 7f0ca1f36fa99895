// A container's log on disk: found from its end, read on, followed over a rotation. Blocks: for the blocking thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <kubeedge/result.h>

namespace kubeedge::edged {

class LogFile {
 public:
  static constexpr std::size_t kPiece = 64 * 1024;    // one read; also one step back while the last lines are looked for

  // Errors name the file. kNotFound where there is none.
  static Result<std::unique_ptr<LogFile>> open(const std::string& path);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  // Goes to the beginning of the last `lines`. One step; false: call again.
  bool seek_tail(std::int64_t lines);

  struct Piece {
    std::string bytes;
    bool end = false;        // nothing more for now
    bool rotated = false;    // `bytes` begin a new file: what came before is over
  };
  // With `follow` a new file under the same name is gone on with, once the old one is read; without, the log ends where it
  // ended at open().
  Result<Piece> read(bool follow);

 private:
  LogFile(std::string path, int fd, std::int64_t size) : path_(std::move(path)), fd_(fd), size_at_open_(size) {}
  bool reopen();

  std::string path_;
  int fd_;
  std::int64_t size_at_open_;
  std::int64_t at_ = 0;
  std::optional<std::int64_t> back_;       // while seek_tail() goes back
  std::int64_t newlines_ = 0;
};

}  // namespace kubeedge::edged
