// Checksums of rows. They lie in a table of ours, ke_sum, written by TEMP triggers of the writer's connection in the
// transaction of the row itself; the reader sees each table through a TEMP view that leaves damaged rows out. Both are
// gone with the connection: a Go edge that takes the file over finds upstream's tables and two more that it ignores.
// Triggers that stay in the file take the checksum of each row away that another program writes: it is taken over, not damaged.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "store/connection.h"

namespace kubeedge::store {

// Our own tables: ke_sum, and ke_store with the file's id.
std::string_view own_schema();

// The key in ke_store that says another program wrote to the file.
inline constexpr std::string_view kForeignWrites = "foreign_writes";

// A row by its table and key: the primary key's columns with '/' between them. An integer key says nothing to a
// reader, so the table's first two other columns stand before it ("default/thermo/temperature/17").
struct RowName {
  std::string table, key;
  auto operator<=>(const RowName&) const = default;
};

struct GuardedTable {
  std::string name;
  std::vector<std::string> columns;
  std::string single_key;   // the key's one column; "" when it has several
  bool integer_key = false;
  std::vector<std::string> key_columns;

  // SQL with `row` (an alias, "new", "old") before each column: the key's text, the checksum, the columns.
  std::string key(std::string_view row) const;
  std::string sum(std::string_view row) const;
  std::string list(std::string_view row) const;
};

// Those of `schema`, as they are in the connection's file (an older or newer upstream may have other columns).
Result<std::vector<GuardedTable>> guarded_tables(Connection& connection, std::string_view schema);

// Makes the SQL function ke_hash. What ke_good finds damaged goes to `damaged`, which must outlive the connection.
void add_functions(Connection& connection, std::set<RowName>* damaged);

// The writer's triggers, and those for other programs. An update whose old row is damaged leaves it damaged: a column that the statement does not
// set would get a checksum that vouches for it.
Result<void> keep_sums(Connection& writer, const std::vector<GuardedTable>& tables);
// The reader's views.
Result<void> hide_damaged(Connection& reader, const std::vector<GuardedTable>& tables);

// Compares every row. Lost are rows that do not match their checksum, and checksums whose row is gone. With `adopt`, rows
// without a checksum (of a Go edge) get one, but not while others are gone: a damaged key looks like both.
Result<std::vector<RowName>> scan(Connection& connection, const GuardedTable& table, bool adopt);

// What drops a row that is still damaged when they run, and its checksum.
std::vector<Statement> drop_statements(const GuardedTable& table, const std::string& key);

}  // namespace kubeedge::store
