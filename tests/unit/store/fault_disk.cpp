#include "fault_disk.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <new>
#include <optional>
#include <sstream>
#include <utility>

namespace kubeedge::tests {

struct Change {
  std::uint64_t at = 0;
  std::optional<std::string> bytes;   // none: the file was cut off at `at`
};

struct FaultDisk::Inode {
  std::string synced;
  std::vector<Change> pending;
  std::uint64_t size = 0;        // with what is pending
  bool new_name = false;         // SQLite's unix VFS syncs a log's folder with the log's first sync
};

// Behind it in memory lies the real file.
struct DiskFile {
  sqlite3_file base{};
  FaultDisk* disk = nullptr;
  std::shared_ptr<FaultDisk::Inode> inode;   // null: a temporary file
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }

  static DiskFile* of(sqlite3_file* file) { return reinterpret_cast<DiskFile*>(file); }
  static int close(sqlite3_file* file);
  static int read(sqlite3_file* file, void* to, int size, sqlite3_int64 at);
  static int write(sqlite3_file* file, const void* from, int size, sqlite3_int64 at);
  static int truncate(sqlite3_file* file, sqlite3_int64 size);
  static int sync(sqlite3_file* file, int flags);
  static int map_shared(sqlite3_file* file, int region, int size, int extend, void volatile** at);
};

struct FaultDisk::Vfs {
  sqlite3_vfs base{};
  sqlite3_vfs* real = nullptr;
  FaultDisk* disk = nullptr;
  std::mt19937_64 random;

  static Vfs* of(sqlite3_vfs* vfs) { return static_cast<Vfs*>(vfs->pAppData); }
  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags);
  static int remove(sqlite3_vfs* vfs, const char* name, int sync_folder);
  static int randomness(sqlite3_vfs* vfs, int size, char* out);
};

namespace {

std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void apply(std::string& to, const Change& change) {
  if (!change.bytes) return to.resize(std::min<std::size_t>(to.size(), change.at));
  if (to.size() < change.at + change.bytes->size()) to.resize(change.at + change.bytes->size());
  to.replace(change.at, change.bytes->size(), *change.bytes);
}

// By sectors of the file, not of the write.
std::vector<Change> sectors(const Change& change, std::size_t sector) {
  if (!change.bytes || sector == 0) return {change};
  std::vector<Change> out;
  for (std::size_t done = 0; done < change.bytes->size();) {
    const std::size_t at = change.at + done;
    const std::size_t part = std::min(change.bytes->size() - done, sector - at % sector);
    out.push_back({at, change.bytes->substr(done, part)});
    done += part;
  }
  return out;
}

bool chance(std::mt19937_64& random, double p) { return std::uniform_real_distribution<>(0, 1)(random) < p; }

std::string after_cut(const FaultDisk::Inode& inode, Unsynced unsynced, std::mt19937_64& random);

}  // namespace

FaultDisk::FaultDisk(std::uint64_t seed) : vfs_(std::make_unique<Vfs>()) {
  vfs_->random.seed(seed);
  vfs_->real = sqlite3_vfs_find(nullptr);
  vfs_->disk = this;
  vfs_->base = *vfs_->real;   // only the real xOpen looks at its own pAppData
  vfs_->base.zName = "fault-disk";
  vfs_->base.szOsFile = static_cast<int>(sizeof(DiskFile)) + vfs_->real->szOsFile;
  vfs_->base.pNext = nullptr;
  vfs_->base.pAppData = vfs_.get();
  vfs_->base.xOpen = Vfs::open;
  vfs_->base.xDelete = Vfs::remove;
  vfs_->base.xRandomness = Vfs::randomness;
  sqlite3_vfs_register(&vfs_->base, 1);
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_RESET);
}

FaultDisk::~FaultDisk() {
  sqlite3_vfs_unregister(&vfs_->base);
  sqlite3_vfs_register(vfs_->real, 1);
}

void FaultDisk::cut_at(std::uint64_t n, bool in_a_sync) {
  const std::lock_guard lock(mutex_);
  cut_in_ = n;
  cut_in_a_sync_ = in_a_sync;
}

bool FaultDisk::off() {
  const std::lock_guard lock(mutex_);
  return off_;
}

void FaultDisk::full_at(std::uint64_t n, bool copies_on_write) {
  const std::lock_guard lock(mutex_);
  writes_to_full_ = n;
  full_ = n == 1;
  copies_on_write_ = copies_on_write;
}

std::uint64_t FaultDisk::refused() {
  const std::lock_guard lock(mutex_);
  return refused_;
}

std::uint64_t FaultDisk::changes() {
  const std::lock_guard lock(mutex_);
  return changes_;
}

bool FaultDisk::change(bool sync) {
  if (off_) return false;
  ++changes_;
  if (cut_in_ > 1) --cut_in_;
  else if (cut_in_ == 1) off_ = sync || !cut_in_a_sync_;
  return !off_;
}

bool FaultDisk::grows_in_vain(std::uint64_t end, std::uint64_t size) {
  if (writes_to_full_ != 0 && --writes_to_full_ == 0) full_ = true;
  if (!full_ || (end <= size && !copies_on_write_)) return false;
  ++refused_;
  return true;
}

// A file that nobody opened through us was made just now by its owner, who opens it next: its name is not synced.
std::shared_ptr<FaultDisk::Inode> FaultDisk::look_up(const std::string& path) {
  Entry& entry = entries_[path];
  if (!entry.now) {
    entry.now = std::make_shared<Inode>();
    entry.now->synced = contents(path);
    entry.now->size = entry.now->synced.size();
    if (entry.now->size > 0 && !entry.durable) entry.durable = entry.now;
  }
  return entry.now;
}

void FaultDisk::sync_folder() {
  for (auto& [path, entry] : entries_) entry.durable = entry.now;
}

void FaultDisk::power_on(Unsynced unsynced, std::mt19937_64& random) {
  const std::lock_guard lock(mutex_);
  off_ = false;
  cut_in_ = 0;
  std::map<std::string, Entry> left;
  for (const auto& [path, entry] : entries_) {
    const bool name_kept = unsynced == Unsynced::kKept || (unsynced != Unsynced::kLost && chance(random, 0.5));
    const std::shared_ptr<Inode>& found = name_kept ? entry.now : entry.durable;
    ::unlink(path.c_str());
    if (!found) continue;
    auto inode = std::make_shared<Inode>();
    inode->synced = after_cut(*found, unsynced, random);
    inode->size = inode->synced.size();
    std::ofstream(path, std::ios::binary) << inode->synced;
    left[path] = {inode, inode};
  }
  entries_ = std::move(left);
}

namespace {

std::string after_cut(const FaultDisk::Inode& inode, Unsynced unsynced, std::mt19937_64& random) {
  std::string bytes = inode.synced;
  if (unsynced == Unsynced::kLost) return bytes;
  const std::size_t sector = unsynced == Unsynced::kTorn512 ? 512 : unsynced == Unsynced::kTorn4096 ? 4096 : 0;
  const double kept = unsynced == Unsynced::kKept ? 1.0 : std::uniform_real_distribution<>(0.1, 0.95)(random);
  for (const Change& whole : inode.pending) {
    for (const Change& part : sectors(whole, sector)) {
      if (chance(random, kept)) {
        apply(bytes, part);
      } else if (sector != 0 && part.bytes && part.at + part.bytes->size() > bytes.size() && chance(random, 0.5)) {
        // The size went to the disk, the data did not.
        const std::size_t before = bytes.size();
        bytes.resize(part.at + part.bytes->size());
        if (chance(random, 0.5)) std::generate(bytes.begin() + static_cast<std::ptrdiff_t>(before), bytes.end(), [&] { return static_cast<char>(random()); });
      }
    }
  }
  return bytes;
}

}  // namespace

int FaultDisk::Vfs::open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  Vfs* const self = of(vfs);
  static const sqlite3_io_methods methods = [] {
    sqlite3_io_methods m{};
    m.iVersion = 2;
    m.xClose = DiskFile::close;
    m.xRead = DiskFile::read;
    m.xWrite = DiskFile::write;
    m.xTruncate = DiskFile::truncate;
    m.xSync = DiskFile::sync;
    m.xShmMap = DiskFile::map_shared;
    m.xFileSize = [](sqlite3_file* f, sqlite3_int64* size) { return DiskFile::of(f)->real()->pMethods->xFileSize(DiskFile::of(f)->real(), size); };
    m.xLock = [](sqlite3_file* f, int level) { return DiskFile::of(f)->real()->pMethods->xLock(DiskFile::of(f)->real(), level); };
    m.xUnlock = [](sqlite3_file* f, int level) { return DiskFile::of(f)->real()->pMethods->xUnlock(DiskFile::of(f)->real(), level); };
    m.xCheckReservedLock = [](sqlite3_file* f, int* out) { return DiskFile::of(f)->real()->pMethods->xCheckReservedLock(DiskFile::of(f)->real(), out); };
    m.xFileControl = [](sqlite3_file* f, int op, void* arg) { return DiskFile::of(f)->real()->pMethods->xFileControl(DiskFile::of(f)->real(), op, arg); };
    m.xSectorSize = [](sqlite3_file* f) { return DiskFile::of(f)->real()->pMethods->xSectorSize(DiskFile::of(f)->real()); };
    m.xDeviceCharacteristics = [](sqlite3_file* f) { return DiskFile::of(f)->real()->pMethods->xDeviceCharacteristics(DiskFile::of(f)->real()); };
    m.xShmLock = [](sqlite3_file* f, int at, int n, int how) { return DiskFile::of(f)->real()->pMethods->xShmLock(DiskFile::of(f)->real(), at, n, how); };
    m.xShmBarrier = [](sqlite3_file* f) { DiskFile::of(f)->real()->pMethods->xShmBarrier(DiskFile::of(f)->real()); };
    m.xShmUnmap = [](sqlite3_file* f, int remove) { return DiskFile::of(f)->real()->pMethods->xShmUnmap(DiskFile::of(f)->real(), remove); };
    return m;
  }();
  file->pMethods = nullptr;
  const std::lock_guard lock(self->disk->mutex_);
  if (self->disk->off_) return SQLITE_CANTOPEN;
  auto* const made = new (file) DiskFile;
  made->disk = self->disk;
  const int code = self->real->xOpen(self->real, name, made->real(), flags, out_flags);
  if (code != SQLITE_OK) {
    made->~DiskFile();
    file->pMethods = nullptr;
    return code;
  }
  if (name != nullptr) {
    made->inode = self->disk->look_up(name);
    made->inode->new_name = (flags & SQLITE_OPEN_CREATE) != 0 && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL)) != 0;
  }
  made->base.pMethods = &methods;
  return SQLITE_OK;
}

int FaultDisk::Vfs::remove(sqlite3_vfs* vfs, const char* name, int sync_folder) {
  Vfs* const self = of(vfs);
  const std::lock_guard lock(self->disk->mutex_);
  if (!self->disk->change()) return SQLITE_IOERR_DELETE;
  const int code = self->real->xDelete(self->real, name, 0);
  if (code != SQLITE_OK) return code;
  self->disk->entries_[name].now = nullptr;
  if (sync_folder != 0) self->disk->sync_folder();
  return code;
}

int FaultDisk::Vfs::randomness(sqlite3_vfs* vfs, int size, char* out) {
  std::generate_n(out, size, [vfs] { return static_cast<char>(of(vfs)->random()); });
  return size;
}

int DiskFile::close(sqlite3_file* file) {
  DiskFile* const self = of(file);
  const int code = self->real()->pMethods->xClose(self->real());
  self->~DiskFile();
  return code;
}

int DiskFile::read(sqlite3_file* file, void* to, int size, sqlite3_int64 at) {
  DiskFile* const self = of(file);
  if (self->disk->off()) return SQLITE_IOERR_READ;
  return self->real()->pMethods->xRead(self->real(), to, size, at);
}

int DiskFile::write(sqlite3_file* file, const void* from, int size, sqlite3_int64 at) {
  DiskFile* const self = of(file);
  FaultDisk& disk = *self->disk;
  const std::lock_guard lock(disk.mutex_);
  if (!self->inode) return disk.off_ ? SQLITE_IOERR_WRITE : self->real()->pMethods->xWrite(self->real(), from, size, at);
  if (disk.off_) return SQLITE_IOERR_WRITE;
  const bool lives = disk.change();
  const auto begin = static_cast<std::uint64_t>(at);
  const bool full = disk.grows_in_vain(begin + static_cast<std::uint64_t>(size), self->inode->size);
  if (full) size /= 2;
  self->inode->pending.push_back({begin, std::string(static_cast<const char*>(from), static_cast<std::size_t>(size))});
  self->inode->size = std::max(self->inode->size, begin + static_cast<std::uint64_t>(size));
  if (!lives) return SQLITE_IOERR_WRITE;
  const int code = self->real()->pMethods->xWrite(self->real(), from, size, at);
  return full ? SQLITE_FULL : code;
}

int DiskFile::truncate(sqlite3_file* file, sqlite3_int64 size) {
  DiskFile* const self = of(file);
  const std::lock_guard lock(self->disk->mutex_);
  if (self->disk->off_) return SQLITE_IOERR_TRUNCATE;
  const bool lives = self->disk->change();
  if (self->inode) {
    self->inode->pending.push_back({static_cast<std::uint64_t>(size), std::nullopt});
    self->inode->size = std::min(self->inode->size, static_cast<std::uint64_t>(size));
  }
  return lives ? self->real()->pMethods->xTruncate(self->real(), size) : SQLITE_IOERR_TRUNCATE;
}

int DiskFile::sync(sqlite3_file* file, int) {
  DiskFile* const self = of(file);
  const std::lock_guard lock(self->disk->mutex_);
  if (!self->disk->change(true)) return SQLITE_IOERR_FSYNC;
  if (!self->inode) return SQLITE_OK;
  for (const Change& change : self->inode->pending) apply(self->inode->synced, change);
  self->inode->pending.clear();
  if (std::exchange(self->inode->new_name, false)) self->disk->sync_folder();
  return SQLITE_OK;
}

// The shared index is a file that grows, too.
int DiskFile::map_shared(sqlite3_file* file, int region, int size, int extend, void volatile** at) {
  DiskFile* const self = of(file);
  bool full = false;
  {
    const std::lock_guard lock(self->disk->mutex_);
    if (self->disk->off_) return SQLITE_IOERR_SHMMAP;
    full = self->disk->full_;
  }
  const int code = self->real()->pMethods->xShmMap(self->real(), region, size, full ? 0 : extend, at);
  return code == SQLITE_OK && full && extend != 0 && *at == nullptr ? SQLITE_IOERR_SHMSIZE : code;
}

}  // namespace kubeedge::tests
