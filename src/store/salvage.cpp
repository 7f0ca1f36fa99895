#include "store/salvage.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <map>

#include "base/text.h"

namespace kubeedge::store {
namespace {

std::string quoted(const std::string& name) { return "\"" + name + "\""; }
bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

void sync_folder(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  if (const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); fd >= 0) {
    ::fsync(fd);
    ::close(fd);
  }
}

// The side files first named like their file: a WAL that meets another file's pages would be replayed into it.
void put_in_place(const std::string& path) {
  ::rename((path + "-wal").c_str(), (path + ".damaged-wal").c_str());
  ::unlink((path + "-shm").c_str());
  sync_folder(path);
  ::rename((path + ".new").c_str(), path.c_str());
  sync_folder(path);
}

// One table's way from the damaged file to the new one.
class Rescue {
 public:
  Rescue(Connection& from, Connection& to, const GuardedTable& table, Salvaged& result) : from_(from), to_(to), table_(table), result_(result) {}

  Result<void> run() {
    const bool sums_whole = read_sums();
    const std::string each = fmt::format("SELECT {}, {}, {} FROM main.{} AS r", table_.key("r"), table_.sum("r"), table_.list("r"), quoted(table_.name));
    // From both ends up to the damage; then by key, which reaches what lies behind it.
    const bool rows_whole = take(each + " ORDER BY " + order("ASC")) || take(each + " ORDER BY " + order("DESC"));
    if (!rows_whole && !table_.single_key.empty())
      for (const auto& [key, sum] : sums_)
        if (!done_.contains(key)) take(each + fmt::format(" WHERE r.{} = ?1", quoted(table_.single_key)), key_value(key));
    for (const auto& [key, sum] : sums_)
      if (!done_.contains(key)) lost_.insert(key);
    for (const auto& key : lost_) result_.lost.push_back({table_.name, key});
    result_.more_lost = result_.more_lost || (!sums_whole && !rows_whole);
    return failed_;
  }

 private:
  // The order in which the rows lie in the file: any other would read it all before it gives the first row.
  std::string order(const char* direction) const {
    if (table_.single_key.empty()) {
      std::string out;
      for (const auto& name : table_.key_columns) out += fmt::format("{}r.{} {}", out.empty() ? "" : ", ", quoted(name), direction);
      return out;
    }
    return fmt::format("r.{} {}", table_.integer_key ? quoted(table_.single_key) : "rowid", direction);
  }

  Value key_value(const std::string& key) const {
    return table_.integer_key ? Value(base::to_int(key.substr(key.rfind('/') + 1)).value_or(0)) : Value(key);
  }

  bool read_sums() {
    for (const char* direction : {"ASC", "DESC"}) {
      std::vector<Row> rows;
      const Result<void> ran = from_.run({fmt::format("SELECT key, sum FROM main.ke_sum WHERE tbl = ?1 ORDER BY key {}", direction), {table_.name}}, &rows);
      for (const Row& row : rows) sums_.try_emplace(text(row[0]), integer(row[1]));
      if (ran) return true;
    }
    return false;
  }

  // True when the statement came to its end.
  bool take(const std::string& sql, std::optional<Value> key = std::nullopt) {
    std::vector<Row> rows;
    Statement statement{sql, {}};
    if (key) statement.params.push_back(*key);
    const Result<void> ran = from_.run(statement, &rows);
    for (Row& row : rows) keep(std::move(row));
    return ran.ok();
  }

  void keep(Row row) {
    const std::string name = text(row[0]);
    if (done_.contains(name)) return;
    const auto sum = sums_.find(name);
    if (sum == sums_.end() || row[1] != Value(sum->second)) {
      lost_.insert(name);
      return;
    }
    std::string places;
    for (std::size_t i = 0; i < table_.columns.size(); ++i) places += fmt::format("{}?{}", i == 0 ? "" : ", ", i + 1);
    row.erase(row.begin(), row.begin() + 2);
    const Result<void> written = to_.run({fmt::format("INSERT INTO main.{}({}) VALUES ({})", quoted(table_.name), columns(), places), std::move(row)}, nullptr);
    if (!written) {
      failed_ = written;
      return;
    }
    done_.insert(name);
    lost_.erase(name);
    ++result_.kept;
  }

  std::string columns() const {
    std::string out;
    for (const auto& name : table_.columns) out += (out.empty() ? "" : ", ") + quoted(name);
    return out;
  }

  Connection& from_;
  Connection& to_;
  const GuardedTable& table_;
  Salvaged& result_;
  std::map<std::string, std::int64_t> sums_;
  std::set<std::string> done_, lost_;
  Result<void> failed_;
};

}  // namespace

Result<Salvaged> salvage(const std::string& path, std::string_view schema) {
  const std::string fresh = path + ".new";
  for (const char* side : {"", "-wal", "-shm", "-journal"}) ::unlink((fresh + side).c_str());
  Salvaged result;
  {
    // 0600 from the first byte on, as the file it replaces.
    const int fd = ::open(fresh.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return base::error(Errc::kIo, "database {}: {}", fresh, std::strerror(errno));
    ::close(fd);
    Connection from, to;
    if (Result<void> opened = to.open(fresh); !opened) return std::move(opened).error();
    if (Result<void> made = to.exec(std::string(schema) + ";" + std::string(own_schema()) + "PRAGMA synchronous=FULL; BEGIN"); !made) return std::move(made).error();
    auto tables = guarded_tables(to, schema);
    if (!tables) return std::move(tables).error();
    add_functions(to, nullptr);
    if (Result<void> kept = keep_sums(to, *tables); !kept) return std::move(kept).error();
    // writable_schema: a CREATE statement that cannot be read takes its own table along, not the others.
    if (Result<void> opened = from.open(path); opened && from.exec("PRAGMA writable_schema=ON; PRAGMA cell_size_check=ON")) {
      add_functions(from, nullptr);
      for (const GuardedTable& table : *tables)
        if (Result<void> rescued = Rescue(from, to, table, result).run(); !rescued) return std::move(rescued).error();
      std::vector<Row> id;
      if (from.run({"SELECT value FROM main.ke_store WHERE key = 'id'", {}}, &id) && !id.empty() && result.complete())
        if (Result<void> kept = to.run({"INSERT INTO ke_store(key, value) VALUES ('id', ?1)", {text(id[0][0])}}, nullptr); !kept) return std::move(kept).error();
    } else {
      result.more_lost = true;
    }
    if (Result<void> done = to.exec("COMMIT"); !done) return std::move(done).error();
  }
  if (::rename(path.c_str(), (path + ".damaged").c_str()) != 0) return base::error(Errc::kIo, "database {}: set aside: {}", path, std::strerror(errno));
  put_in_place(path);
  return result;
}

void finish_salvage(const std::string& path) {
  if (!exists(path + ".new")) return;
  if (!exists(path)) return put_in_place(path);
  for (const char* side : {"", "-wal", "-shm", "-journal"}) ::unlink((path + ".new" + side).c_str());
}

}  // namespace kubeedge::store
