#include "edge/edged/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace kubeedge::edged {
namespace {

Error failed(const std::string& path) { return base::error(errno == ENOENT ? Errc::kNotFound : Errc::kIo, "{}: {}", path, std::strerror(errno)); }

// No link is followed for the last part: a pod that can write its log folder must not show the node's files.
int open_regular(const std::string& path, struct stat& facts) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return -1;
  if (::fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode)) return fd;
  ::close(fd);
  errno = EINVAL;
  return -1;
}

}  // namespace

Result<std::unique_ptr<LogFile>> LogFile::open(const std::string& path) {
  struct stat facts {};
  const int fd = open_regular(path, facts);
  if (fd < 0) return failed(path);
  return std::unique_ptr<LogFile>(new LogFile(path, fd, facts.st_size));
}

LogFile::~LogFile() { ::close(fd_); }

bool LogFile::seek_tail(std::int64_t lines) {
  if (!back_) back_ = size_at_open_;
  char block[kPiece];
  const std::int64_t begin = std::max<std::int64_t>(0, *back_ - static_cast<std::int64_t>(kPiece));
  const ssize_t got = ::pread(fd_, block, static_cast<std::size_t>(*back_ - begin), begin);
  for (ssize_t i = got - 1; i >= 0; --i) {
    // The last line's own newline is no beginning of a line.
    if (block[i] != '\n' || newlines_++ < lines) continue;
    at_ = begin + i + 1;
    return true;
  }
  back_ = begin;
  at_ = 0;
  return begin == 0 || got <= 0;
}

Result<LogFile::Piece> LogFile::read(bool follow) {
  Piece piece;
  for (int tries = 0; tries < 2; ++tries) {
    std::size_t wanted = kPiece;
    if (!follow) wanted = static_cast<std::size_t>(std::clamp<std::int64_t>(size_at_open_ - at_, 0, kPiece));
    piece.bytes.resize(wanted);
    const ssize_t got = wanted == 0 ? 0 : ::pread(fd_, piece.bytes.data(), wanted, at_);
    if (got < 0) return failed(path_);
    piece.bytes.resize(static_cast<std::size_t>(got));
    at_ += got;
    if (got > 0) return piece;
    if (!follow || piece.rotated || !reopen()) break;
    piece.rotated = true;
  }
  piece.end = true;
  return piece;
}

// The runtime renamed the file and began a new one, or it was cut back in place.
bool LogFile::reopen() {
  struct stat ours {};
  if (::fstat(fd_, &ours) == 0 && ours.st_size < at_) {
    at_ = 0;
    return true;
  }
  struct stat named {};
  if (::stat(path_.c_str(), &named) != 0 || (named.st_ino == ours.st_ino && named.st_dev == ours.st_dev)) return false;
  struct stat facts {};
  const int fd = open_regular(path_, facts);
  if (fd < 0) return false;
  ::close(fd_);
  fd_ = fd;
  at_ = 0;
  return true;
}

}  // namespace kubeedge::edged
