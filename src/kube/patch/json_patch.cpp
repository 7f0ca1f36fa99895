#include <algorithm>
#include <optional>

#include "base/text.h"
#include "kube/patch/patch.h"

namespace kubeedge::kube::patch {
namespace {

Error bad(const std::string& message) { return Error{Errc::kInvalidArgument, message}; }

Result<std::vector<std::string>> pointer_parts(const std::string& pointer) {
  std::vector<std::string> parts;
  if (pointer.empty()) return parts;
  if (pointer.front() != '/') return bad("path \"" + pointer + "\" does not begin with /");
  for (const std::string& raw : base::split(std::string_view(pointer).substr(1), '/')) {
    std::string part;
    for (std::size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] != '~') {
        part += raw[i];
      } else if (i + 1 < raw.size() && (raw[i + 1] == '0' || raw[i + 1] == '1')) {
        part += raw[++i] == '0' ? '~' : '/';
      } else {
        return bad("path \"" + pointer + "\" has a bad escape");
      }
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

std::optional<std::size_t> array_index(const std::string& part, std::size_t limit) {
  if (part.empty() || (part.size() > 1 && part[0] == '0') || part.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  const auto number = base::to_int(part);
  if (!number || static_cast<std::uint64_t>(*number) >= limit) return std::nullopt;
  return static_cast<std::size_t>(*number);
}

Json* step(Json& at, const std::string& part) {
  if (at.is_object()) {
    const auto found = at.find(part);
    return found == at.end() ? nullptr : &*found;
  }
  if (!at.is_array()) return nullptr;
  const auto index = array_index(part, at.size());
  return index ? &at[*index] : nullptr;
}

Json* walk(Json& document, const std::vector<std::string>& parts, std::size_t count) {
  Json* at = &document;
  for (std::size_t i = 0; i < count && at != nullptr; ++i) at = step(*at, parts[i]);
  return at;
}

Error no_path(const std::string& operation, const std::string& path) {
  return Error{Errc::kConflict, "" + operation + " \"" + path + "\": there is no such path"};
}

Result<void> add_at(Json& document, const std::string& path, const std::vector<std::string>& parts, Json value) {
  if (parts.empty()) {
    document = std::move(value);
    return {};
  }
  Json* parent = walk(document, parts, parts.size() - 1);
  if (parent == nullptr) return no_path("add", path);
  if (parent->is_object()) {
    (*parent)[parts.back()] = std::move(value);
    return {};
  }
  if (!parent->is_array()) return no_path("add", path);
  if (parts.back() == "-") {
    parent->push_back(std::move(value));
    return {};
  }
  const auto index = array_index(parts.back(), parent->size() + 1);
  if (!index) return no_path("add", path);
  parent->insert(parent->begin() + static_cast<std::ptrdiff_t>(*index), std::move(value));
  return {};
}

Result<Json> remove_at(Json& document, const std::string& path, const std::vector<std::string>& parts, const std::string& operation) {
  Json* target = walk(document, parts, parts.size());
  if (target == nullptr || parts.empty()) return no_path(operation, path);
  Json value = std::move(*target);
  Json& parent = *walk(document, parts, parts.size() - 1);
  if (parent.is_object()) {
    parent.erase(parts.back());
  } else {
    parent.erase(*array_index(parts.back(), parent.size()));
  }
  return value;
}

// `copied`: bytes that copies made so far: a few lines of patch could fill the memory.
Result<void> apply_operation(Json& document, const Json& operation, std::size_t& copied) {
  const auto text = [&](const char* key) -> std::optional<std::string> {
    if (!operation.is_object()) return std::nullopt;
    const auto found = operation.find(key);
    if (found == operation.end() || !found->is_string()) return std::nullopt;
    return found->get<std::string>();
  };
  const auto op = text("op"), path = text("path");
  if (!op || !path) return bad("each operation needs \"op\" and \"path\"");
  Result<std::vector<std::string>> parts = pointer_parts(*path);
  if (!parts) return parts.error();
  const bool needs_value = *op == "add" || *op == "replace" || *op == "test";
  if (needs_value && !operation.contains("value")) return bad("" + *op + " \"" + *path + "\" has no value");
  if (*op == "add") return add_at(document, *path, *parts, operation["value"]);
  if (*op == "remove") {
    Result<Json> gone = remove_at(document, *path, *parts, "remove");
    if (!gone) return gone.error();
    return {};
  }
  if (*op == "replace" || *op == "test") {
    Json* target = walk(document, *parts, parts->size());
    if (*op == "replace") {
      if (target == nullptr) return no_path("replace", *path);
      *target = operation["value"];
      return {};
    }
    // A missing path equals null, as the Go library of kube-apiserver has it.
    if (target == nullptr ? !operation["value"].is_null() : *target != operation["value"])
      return Error{Errc::kConflict, "testing path " + *path + ": the value there is another"};
    return {};
  }
  if (*op != "move" && *op != "copy") return bad("unknown operation \"" + *op + "\"");
  const auto from = text("from");
  if (!from) return bad("" + *op + " needs \"from\"");
  Result<std::vector<std::string>> from_parts = pointer_parts(*from);
  if (!from_parts) return from_parts.error();
  if (*op == "move") {
    if (path->starts_with(*from + "/")) return bad("move of \"" + *from + "\" into itself");
    Result<Json> value = remove_at(document, *from, *from_parts, "move");
    if (!value) return value.error();
    return add_at(document, *path, *parts, std::move(*value));
  }
  const Json* source = walk(document, *from_parts, from_parts->size());
  if (source == nullptr) return no_path("copy", *from);
  if (source->is_structured()) copied += source->dump(-1, ' ', false, Json::error_handler_t::replace).size();
  if (copied > kMaxJsonPatchCopyBytes) return base::error(Errc::kLimitExceeded, "the copies of this patch are over {} bytes", kMaxJsonPatchCopyBytes);
  return add_at(document, *path, *parts, *source);
}

}  // namespace

Result<Json> json_patch(const Json& document, const Json& operations) {
  if (!operations.is_array()) return base::error(Errc::kInvalidArgument, "a JSON patch is a list of operations");
  if (operations.size() > kMaxJsonPatchOperations) {
    return base::error(Errc::kLimitExceeded, "The allowed maximum operations in a JSON patch is {}, got {}", kMaxJsonPatchOperations, operations.size());
  }
  Json out = document;
  std::size_t copied = 0;
  for (std::size_t i = 0; i < operations.size(); ++i)
    if (Result<void> done = apply_operation(out, operations[i], copied); !done) return done.error().in(fmt::format("JSON patch operation {}", i));
  return out;
}

}  // namespace kubeedge::kube::patch
