#include "store/checks.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace kubeedge::store {
namespace {

std::string quoted(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

std::string literal(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + '\'';
}

std::string column(std::string_view row, std::string_view name) {
  return row.empty() ? quoted(name) : fmt::format("{}.{}", row, quoted(name));
}

// In the manner of FNV-1a, eight bytes at a time: it is against flash and memory that forget, not against people.
class Hash {
 public:
  void add(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    for (; size >= sizeof(std::uint64_t); size -= sizeof(std::uint64_t), bytes += sizeof(std::uint64_t)) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes, sizeof word);
      mix(word);
    }
    for (; size > 0; --size, ++bytes) mix(*bytes);
  }
  void add(sqlite3_value* value) {
    const int type = sqlite3_value_type(value);
    add(&type, sizeof type);   // NULL is not ''
    if (type == SQLITE_NULL) return;
    if (type == SQLITE_INTEGER) {
      const sqlite3_int64 number = sqlite3_value_int64(value);
      return add(&number, sizeof number);
    }
    if (type == SQLITE_FLOAT) {
      const double number = sqlite3_value_double(value);
      return add(&number, sizeof number);
    }
    const void* bytes = sqlite3_value_blob(value);
    const int size = sqlite3_value_bytes(value);
    add(&size, sizeof size);   // "ab","c" is not "a","bc"
    add(bytes, static_cast<std::size_t>(size));
  }
  // 0 stands for "damaged" in ke_sum.
  sqlite3_int64 value() const { return state_ == 0 ? 1 : static_cast<sqlite3_int64>(state_); }

 private:
  void mix(std::uint64_t word) {
    state_ = (state_ ^ word) * 1099511628211ULL;
    state_ ^= state_ >> 32;
  }

  std::uint64_t state_ = 14695981039346656037ULL;
};

std::string text_of(sqlite3_value* value) {
  const auto* bytes = static_cast<const char*>(sqlite3_value_blob(value));
  return bytes == nullptr ? std::string() : std::string(bytes, static_cast<std::size_t>(sqlite3_value_bytes(value)));
}

// ke_hash(table, column...)
void hash(sqlite3_context* context, int count, sqlite3_value** values) {
  Hash hash;
  for (int i = 0; i < count; ++i) hash.add(values[i]);
  sqlite3_result_int64(context, hash.value());
}

// ke_good(sum, key, table, column...)
void good(sqlite3_context* context, int count, sqlite3_value** values) {
  Hash hash;
  for (int i = 2; i < count; ++i) hash.add(values[i]);
  const bool same = sqlite3_value_type(values[0]) == SQLITE_INTEGER && sqlite3_value_int64(values[0]) == hash.value();
  auto* damaged = static_cast<std::set<RowName>*>(sqlite3_user_data(context));
  if (!same && damaged != nullptr) damaged->insert({text_of(values[2]), text_of(values[1])});
  sqlite3_result_int(context, same ? 1 : 0);
}

std::string columns_of(const std::vector<std::string>& names, std::string_view row) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ", ") + column(row, name);
  return out;
}

}  // namespace

std::string_view own_schema() {
  return "CREATE TABLE IF NOT EXISTS `ke_store` (`key` text,`value` text,PRIMARY KEY (`key`));\n"
         "CREATE TABLE IF NOT EXISTS ke_sum (tbl text NOT NULL, key text NOT NULL, sum integer NOT NULL, PRIMARY KEY (tbl, key)) WITHOUT ROWID;\n";
}

std::string GuardedTable::key(std::string_view row) const {
  std::string out;
  for (const auto& name : key_columns) out += fmt::format("{}ifnull({}, '')", out.empty() ? "''||" : "||'/'||", column(row, name));
  return out;
}
std::string GuardedTable::sum(std::string_view row) const { return fmt::format("ke_hash({}, {})", literal(name), list(row)); }
std::string GuardedTable::list(std::string_view row) const { return columns_of(columns, row); }

Result<std::vector<GuardedTable>> guarded_tables(Connection& connection, std::string_view schema) {
  Connection empty;
  if (Result<void> opened = empty.open(":memory:"); !opened) return std::move(opened).error();
  if (Result<void> made = empty.exec(std::string(schema)); !made) return std::move(made).error();
  std::vector<Row> names;
  const char* kNames = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
  if (Result<void> ran = empty.run({kNames, {}}, &names); !ran) return std::move(ran).error();
  std::vector<GuardedTable> tables;
  for (const Row& row : names) {
    GuardedTable table;
    table.name = text(row[0]);
    std::vector<Row> columns;
    if (Result<void> ran = connection.run({"SELECT name, type, pk FROM pragma_table_info(?1)", {table.name}}, &columns); !ran)
      return std::move(ran).error();
    std::vector<std::string> others;
    for (const Row& one : columns) {
      table.columns.push_back(text(one[0]));
      (integer(one[2]) > 0 ? table.key_columns : others).push_back(text(one[0]));
      if (integer(one[2]) > 0) table.integer_key = base::lower(text(one[1])) == "integer";
    }
    if (table.key_columns.empty()) return base::error(Errc::kInvalidArgument, "table {} has no primary key to keep checksums by", table.name);
    if (table.key_columns.size() == 1) table.single_key = table.key_columns[0];
    table.integer_key = table.integer_key && !table.single_key.empty();
    if (table.integer_key) table.key_columns.insert(table.key_columns.begin(), others.begin(), others.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(2, others.size())));
    tables.push_back(std::move(table));
  }
  return tables;
}

void add_functions(Connection& connection, std::set<RowName>* damaged) {
  sqlite3_create_function_v2(connection.handle(), "ke_hash", -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, nullptr, hash, nullptr, nullptr, nullptr);
  sqlite3_create_function_v2(connection.handle(), "ke_good", -1, SQLITE_UTF8, damaged, good, nullptr, nullptr, nullptr);
}

namespace {

// What any other program's writes do: they take the row's checksum away and leave word of it (Connection has these off).
Result<void> watch_foreign_writes(Connection& writer, const GuardedTable& t) {
  const std::string word = fmt::format("INSERT OR REPLACE INTO ke_store VALUES ('{}', '1')", kForeignWrites);
  const auto forget = [&](const char* row) { return fmt::format("DELETE FROM ke_sum WHERE tbl = {} AND key = {}; ", literal(t.name), t.key(row)); };
  struct { const char* when; std::string what; } const triggers[] = {{"INSERT", forget("new")}, {"UPDATE", forget("old") + forget("new")}, {"DELETE", forget("old")}};
  for (const auto& [when, what] : triggers) {
    const std::string name = quoted(fmt::format("ke_foreign_{}_{}", base::lower(when), t.name));
    if (Result<void> made = writer.exec(fmt::format("CREATE TRIGGER IF NOT EXISTS main.{} AFTER {} ON {} BEGIN {}{}; END", name, when, quoted(t.name), what, word)); !made) return made;
  }
  return {};
}

}  // namespace

Result<void> keep_sums(Connection& writer, const std::vector<GuardedTable>& tables) {
  // Otherwise REPLACE would fire the delete trigger too, to no end: the insert writes the same checksum's row.
  if (Result<void> set = writer.exec("PRAGMA recursive_triggers=OFF"); !set) return set;
  for (const GuardedTable& t : tables) {
    if (Result<void> watched = watch_foreign_writes(writer, t); !watched) return watched;
    const std::string name = literal(t.name), table = quoted(t.name);
    const std::string insert = fmt::format("CREATE TEMP TRIGGER {0} AFTER INSERT ON main.{1} BEGIN INSERT OR REPLACE INTO ke_sum(tbl, key, sum) VALUES ({2}, {3}, {4}); END",
                                           quoted("ke_insert_" + t.name), table, name, t.key("new"), t.sum("new"));
    // No statement of ours changes a key.
    const std::string update = fmt::format("CREATE TEMP TRIGGER {0} AFTER UPDATE ON main.{1} BEGIN UPDATE ke_sum SET sum = CASE WHEN sum = {5} THEN {4} ELSE 0 END "
                                           "WHERE tbl = {2} AND key = {3}; END",
                                           quoted("ke_update_" + t.name), table, name, t.key("old"), t.sum("new"), t.sum("old"));
    const std::string remove = fmt::format("CREATE TEMP TRIGGER {0} AFTER DELETE ON main.{1} BEGIN DELETE FROM ke_sum WHERE tbl = {2} AND key = {3}; END",
                                           quoted("ke_delete_" + t.name), table, name, t.key("old"));
    for (const std::string& sql : {insert, update, remove})
      if (Result<void> made = writer.exec(sql); !made) return made;
  }
  return {};
}

Result<void> hide_damaged(Connection& reader, const std::vector<GuardedTable>& tables) {
  for (const GuardedTable& t : tables) {
    const std::string sum = fmt::format("(SELECT sum FROM main.ke_sum WHERE tbl = {} AND key = {})", literal(t.name), t.key("r"));
    const std::string view = fmt::format("CREATE TEMP VIEW {0} AS SELECT {1} FROM main.{0} AS r WHERE ke_good({2}, {3}, {4}, {1})", quoted(t.name), t.list("r"),
                                         sum, t.key("r"), literal(t.name));
    if (Result<void> made = reader.exec(view); !made) return made;
  }
  return {};
}

Result<std::vector<RowName>> scan(Connection& connection, const GuardedTable& t, bool adopt) {
  std::vector<RowName> lost;
  std::set<std::string> rows;
  std::vector<std::string> fresh;
  const std::string sum = fmt::format("(SELECT sum FROM main.ke_sum WHERE tbl = {} AND key = {})", literal(t.name), t.key("r"));
  std::vector<Row> found;
  const std::string each = fmt::format("SELECT {}, {}, {} FROM main.{} AS r", t.key("r"), t.sum("r"), sum, quoted(t.name));
  if (Result<void> ran = connection.run({each, {}}, &found); !ran) return std::move(ran).error();
  for (const Row& row : found) {
    std::string key = text(row[0]);
    if (std::holds_alternative<std::nullptr_t>(row[2])) fresh.push_back(key);
    else if (row[1] != row[2]) lost.push_back({t.name, key});
    rows.insert(std::move(key));
  }
  std::vector<Row> sums;
  if (Result<void> ran = connection.run({"SELECT key FROM main.ke_sum WHERE tbl = ?1", {t.name}}, &sums); !ran) return std::move(ran).error();
  bool gone = false;
  for (const Row& row : sums) {
    if (rows.contains(text(row[0]))) continue;
    lost.push_back({t.name, text(row[0])});
    gone = true;
  }
  if (!adopt || fresh.empty()) return lost;
  if (gone) {   // a damaged key makes one row of each kind
    for (std::string& key : fresh) lost.push_back({t.name, std::move(key)});
    return lost;
  }
  const Statement take{fmt::format("INSERT OR IGNORE INTO main.ke_sum(tbl, key, sum) SELECT ?1, {}, {} FROM main.{} AS r", t.key("r"), t.sum("r"), quoted(t.name)), {t.name}};
  if (Result<void> ran = connection.run(take, nullptr); !ran) return std::move(ran).error();
  return lost;
}

std::vector<Statement> drop_statements(const GuardedTable& t, const std::string& key) {
  const std::string own = fmt::format("(SELECT sum FROM main.ke_sum WHERE tbl = ?1 AND key = ?2)");
  return {{fmt::format("DELETE FROM main.{0} WHERE {1} = ?2 AND {2} IS NOT {3} AND ?1 = ?1", quoted(t.name), t.key(""), t.sum(""), own), {t.name, key}},
          {fmt::format("DELETE FROM main.ke_sum WHERE tbl = ?1 AND key = ?2 AND NOT EXISTS (SELECT 1 FROM main.{0} WHERE {1} = ?2)", quoted(t.name), t.key("")),
           {t.name, key}}};
}

}  // namespace kubeedge::store
