// A disk under SQLite that loses power and runs full: a VFS over the real one. What is written is readable at once, as in
// the kernel's page cache, but stays on the disk only once it was synced, a file's name once its folder was.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

struct sqlite3_vfs;

namespace kubeedge::tests {

// What a power cut leaves of the writes that were not synced.
enum class Unsynced : std::uint8_t {
  kLost,     // nothing
  kKept,     // all: the kernel had written them back just before
  kSome,     // each write by itself or not at all, in any order
  kTorn512,  // each sector by itself; new parts of a file may hold zeros or old garbage
  kTorn4096,
};

// SQLite's default VFS for as long as it lives; one at a time. Files must be closed before the power comes back.
class FaultDisk {
 public:
  explicit FaultDisk(std::uint64_t seed);   // of SQLite's own random numbers (the log's salts)
  ~FaultDisk();
  FaultDisk(const FaultDisk&) = delete;
  FaultDisk& operator=(const FaultDisk&) = delete;

  // The power goes in the middle of the `n`th change (write, truncate, sync, delete) from now on, 0 = never, or of the first
  // sync after it. From then on nothing works.
  void cut_at(std::uint64_t n, bool in_a_sync = false);
  bool off();
  // The files as the next start finds them.
  void power_on(Unsynced unsynced, std::mt19937_64& random);

  // From the `n`th write from now on, 0 = never, no file grows: SQLITE_FULL, half of the write done. What was there can be
  // overwritten, unless the file system writes each block to a new place.
  void full_at(std::uint64_t n, bool copies_on_write = false);
  void free_space() { full_at(0); }
  std::uint64_t refused();   // writes, for want of space

  std::uint64_t changes();   // so far: a bound for cut_at

  struct Inode;
  struct Entry {
    std::shared_ptr<Inode> now, durable;   // null: no such file
  };

 private:
  friend struct DiskFile;
  struct Vfs;

  std::shared_ptr<Inode> look_up(const std::string& path);
  // False when this is where the power goes, or went.
  bool change(bool sync = false);
  bool grows_in_vain(std::uint64_t end, std::uint64_t size);
  void sync_folder();

  std::mutex mutex_;
  std::unique_ptr<Vfs> vfs_;
  std::map<std::string, Entry> entries_;
  std::uint64_t changes_ = 0, cut_in_ = 0, writes_to_full_ = 0, refused_ = 0;
  bool off_ = false, cut_in_a_sync_ = false, full_ = false, copies_on_write_ = false;
};

}  // namespace kubeedge::tests
