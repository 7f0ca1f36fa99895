#include "runtime/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace kubeedge::runtime {

Result<std::string> read_text_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return base::error(errno == ENOENT ? Errc::kNotFound : Errc::kIo, "{}: {}", path, std::strerror(errno));
  std::string text;
  char buffer[16384];
  ssize_t count = 0;
  while (text.size() <= kMaxTextFile && (count = ::read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<std::size_t>(count));
  const int reason = errno;
  ::close(fd);
  if (text.size() > kMaxTextFile) return base::error(Errc::kLimitExceeded, "{}: the file is over {} bytes", path, kMaxTextFile);
  if (count < 0) return base::error(Errc::kIo, "{}: {}", path, std::strerror(reason));
  return text;
}

Result<void> write_secret_file(const std::string& path, std::string_view text) {
  const std::string beside = path + ".new";
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return base::error(Errc::kIo, "{}: {}", beside, std::strerror(errno));
  bool good = ::fchmod(fd, 0600) == 0;
  while (good && !text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    good = count > 0;
    if (good) text.remove_prefix(static_cast<std::size_t>(count));
  }
  good = good && ::fsync(fd) == 0;
  const int reason = errno;
  ::close(fd);
  if (!good) return base::error(Errc::kIo, "{}: {}", beside, std::strerror(reason));
  if (::rename(beside.c_str(), path.c_str()) != 0) return base::error(Errc::kIo, "{}: {}", path, std::strerror(errno));
  return {};
}

Result<void> make_folder(const std::string& path) {
  std::string part;
  for (const std::string& name : base::split(path, '/')) {
    part += name + "/";
    if (name.empty()) continue;
    if (::mkdir(part.c_str(), 0755) != 0 && errno != EEXIST) return base::error(Errc::kIo, "{}: {}", part, std::strerror(errno));
  }
  return {};
}

}  // namespace kubeedge::runtime
