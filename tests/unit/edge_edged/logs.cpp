// A container's log: what is asked for, which instance has it, its lines as the user wants them, and the file under it.
#include <doctest/doctest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "edge/edged/log_file.h"
#include "edge/edged/log_filter.h"
#include "edge/edged/log_query.h"

using namespace kubeedge;
using namespace kubeedge::edged;

namespace {

constexpr std::int64_t kNow = 1'800'000'000'000'000'000;

LogQuery query(const std::string& text) {
  const auto parsed = parse_log_query(text, kNow);
  REQUIRE(std::holds_alternative<LogQuery>(parsed));
  return std::get<LogQuery>(parsed);
}

bool refused(const std::string& text) { return std::holds_alternative<Refusal>(parse_log_query(text, kNow)); }

// The whole text through a filter, in pieces of `step` bytes.
std::string filtered(const std::string& file, const LogQuery& wanted, std::size_t step = 3) {
  LogFilter filter(wanted);
  std::string out;
  for (std::size_t at = 0; at < file.size(); at += step) filter.feed(std::string_view(file).substr(at, step), out);
  filter.finish(out);
  return out;
}

const std::string kLog =
    "2026-11-25T10:00:00.1Z stdout F one\n"
    "2026-11-25T10:00:01.123456789Z stderr F two\n"
    "2026-11-25T10:00:02Z stdout P thr\n"
    "2026-11-25T10:00:03Z stdout F ee\n"
    "2026-11-25T11:00:04.5+01:00 stdout F \n";

std::string log_of(const Json& status, const std::string& container, bool previous = false) {
  const auto found = log_container(status, "web", container, previous);
  if (const auto* refusal = std::get_if<Refusal>(&found)) return std::to_string(refusal->status) + " " + refusal->text;
  return std::get<std::string>(found);
}

Json status_with(const char* container) { return base::parse_json(std::string(R"({"containerStatuses":[)") + container + "]}"); }

struct LogFolder {
  std::string path = (std::filesystem::temp_directory_path() / ("ke-logs." + std::to_string(::getpid()))).string();
  LogFolder() { std::filesystem::create_directory(path); }
  ~LogFolder() { std::filesystem::remove_all(path); }
  std::string file(const char* name) const { return path + "/" + name; }
  void append(const char* name, const std::string& text) const { std::ofstream(file(name), std::ios::app) << text; }
};

std::string read_all(LogFile& file, bool follow) {
  std::string out;
  for (;;) {
    auto piece = file.read(follow);
    REQUIRE(piece);
    if (piece->rotated) out += "|";
    out += piece->bytes;
    if (piece->end) return out;
  }
}

std::unique_ptr<LogFile> opened(const std::string& path) {
  auto file = LogFile::open(path);
  REQUIRE(file);
  return std::move(*file);
}

std::string tail(const std::string& path, std::int64_t lines) {
  const auto file = opened(path);
  while (!file->seek_tail(lines)) {}
  return read_all(*file, false);
}

}  // namespace

TEST_CASE("log query: kubectl's options, and those that are malformed") {
  const LogQuery all = query("follow=true&previous=true&timestamps=true&tailLines=0&sinceSeconds=60&limitBytes=10&pretty=true");
  CHECK(all.follow);
  CHECK(all.previous);
  CHECK(all.timestamps);
  CHECK(*all.tail == 0);
  CHECK(*all.since_ns == kNow - 60'000'000'000);
  CHECK(*all.limit_bytes == 10);
  CHECK(*query("sinceTime=2026-11-25T10%3A00%3A00.5Z").since_ns == *log_time("2026-11-25T10:00:00Z") + 500'000'000);
  CHECK(*query("sinceSeconds=9223372036854775807").since_ns == 0);
  CHECK(!query("stream=Stderr").out);
  CHECK(query("").out);
  for (const char* bad : {"tailLines=-1", "tailLines=x", "limitBytes=0", "sinceSeconds=0", "sinceTime=now", "stream=both", "tailLines=%zz", "tailLines=99999999999999999999"}) {
    CAPTURE(bad);
    CHECK(refused(bad));
  }
}

TEST_CASE("log container: the instance that a kubelet would read, or its words why there is none") {
  const Json running = status_with(R"({"name":"c","containerID":"containerd://now","state":{"running":{}},"lastState":{"terminated":{"containerID":"containerd://before"}}})");
  CHECK(log_of(running, "c") == "now");
  CHECK(log_of(running, "c", true) == "before");
  CHECK(log_of(running, "d") == R"(400 container "d" in pod "web" is not available)");
  const Json ended = status_with(R"({"name":"c","containerID":"containerd://now","state":{"terminated":{"containerID":"containerd://now"}},"lastState":{}})");
  CHECK(log_of(ended, "c") == "now");
  CHECK(log_of(ended, "c", true) == R"(400 previous terminated container "c" in pod "web" not found)");
  const Json looping = status_with(R"({"name":"c","state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"containerID":"containerd://dead"}}})");
  CHECK(log_of(looping, "c") == "dead");
  CHECK(log_of(looping, "c", true) == "dead");
  const auto waiting = [](const char* reason) { return status_with((std::string(R"({"name":"c","state":{"waiting":{"reason":")") + reason + "\"}}}").c_str()); };
  CHECK(log_of(waiting("ContainerCreating"), "c") == R"(400 container "c" in pod "web" is waiting to start: ContainerCreating)");
  CHECK(log_of(waiting("ErrImagePull"), "c") == R"(400 container "c" in pod "web" is waiting to start: image can't be pulled)");
  CHECK(log_of(waiting("ImagePullBackOff"), "c") == R"(400 container "c" in pod "web" is waiting to start: trying and failing to pull image)");
  CHECK(log_of(status_with(R"({"name":"c","state":{"terminated":{"exitCode":137}}})"), "c") == R"(400 container "c" in pod "web" is terminated)");
  CHECK(log_of(Json(), "c") == R"(400 container "c" in pod "web" is not available)");
  CHECK(log_of(base::parse_json(R"({"initContainerStatuses":[{"name":"i","containerID":"containerd://x","state":{"running":{}}}]})"), "i") == "x");
}

TEST_CASE("log filter: text alone, partial lines joined, however the bytes are cut") {
  for (const std::size_t step : {1UL, 7UL, 1000UL}) {
    CAPTURE(step);
    CHECK(filtered(kLog, query(""), step) == "one\ntwo\nthree\n\n");
    CHECK(filtered(kLog, query("stream=Stderr"), step) == "two\n");
    CHECK(filtered(kLog, query("timestamps=true"), step) ==
          "2026-11-25T10:00:00.100000000Z one\n2026-11-25T10:00:01.123456789Z two\n2026-11-25T10:00:02.000000000Z three\n2026-11-25T11:00:04.500000000+01:00 \n");
    CHECK(filtered(kLog, query("sinceTime=2026-11-25T10%3A00%3A01.2Z"), step) == "three\n\n");
    CHECK(filtered(kLog, query("limitBytes=6"), step) == "one\ntw");
  }
}

TEST_CASE("log filter: a last line without its end counts, lines that are none do not") {
  CHECK(filtered("2026-11-25T10:00:00Z stdout F whole\n2026-11-25T10:00:00Z stdout F cut", query("")) == "whole\ncut\n");
  CHECK(filtered("rubbish\n\n2026-11-25T10:00:00Z\n2026-11-25T10:00:00Z stdxxx F x\n2026-11-25T10:00:00Z stdout F good\n", query("")) == "good\n");
  CHECK(filtered("later stdout F x\n", query("sinceSeconds=1")) == "");
  const std::string endless = "2026-11-25T10:00:00Z stdout F " + std::string(3 * LogFilter::kMaxLine, 'x') + "\n2026-11-25T10:00:01Z stdout F next\n";
  const std::string cut = filtered(endless, query(""), 64 * 1024);
  CHECK(cut.size() < LogFilter::kMaxLine + 10);
  CHECK(cut.ends_with("x\nnext\n"));
}

TEST_CASE("log file: the last lines are found from its end") {
  const LogFolder folder;
  folder.append("0.log", "a\nb\nc\n");
  CHECK(tail(folder.file("0.log"), 0) == "");
  CHECK(tail(folder.file("0.log"), 1) == "c\n");
  CHECK(tail(folder.file("0.log"), 2) == "b\nc\n");
  CHECK(tail(folder.file("0.log"), 3) == "a\nb\nc\n");
  CHECK(tail(folder.file("0.log"), 30) == "a\nb\nc\n");
  std::string wide;
  for (int i = 0; i < 5; ++i) wide += std::string(LogFile::kPiece / 2 + 17, static_cast<char>('a' + i)) + "\n";
  folder.append("wide.log", wide);
  CHECK(tail(folder.file("wide.log"), 5) == wide);
  CHECK(tail(folder.file("wide.log"), 2) == wide.substr(wide.find('d')));
  folder.append("empty.log", "");
  CHECK(tail(folder.file("empty.log"), 3) == "");
}

TEST_CASE("log file: without follow it ends where it ended, with follow it goes on over a rotation and a cut") {
  const LogFolder folder;
  folder.append("0.log", "one\n");
  const auto once = opened(folder.file("0.log"));
  const auto file = opened(folder.file("0.log"));
  folder.append("0.log", "two\n");
  CHECK(read_all(*once, false) == "one\n");
  CHECK(read_all(*file, true) == "one\ntwo\n");
  CHECK(read_all(*file, true) == "");
  // As kubelet and containerd do it: the old file gets another name and is written to until the new one is there.
  std::filesystem::rename(folder.file("0.log"), folder.file("0.log.1"));
  folder.append("0.log.1", "three\n");
  CHECK(read_all(*file, true) == "three\n");
  folder.append("0.log.1", "four\n");
  folder.append("0.log", "five\n");
  CHECK(read_all(*file, true) == "four\n|five\n");
  std::filesystem::resize_file(folder.file("0.log"), 0);
  folder.append("0.log", "6\n");
  CHECK(read_all(*file, true) == "|6\n");
}

TEST_CASE("log file: only a regular file is a log") {
  const LogFolder folder;
  CHECK(LogFile::open(folder.file("none")).error().code == Errc::kNotFound);
  std::filesystem::create_symlink("/etc/passwd", folder.file("link.log"));
  CHECK(!LogFile::open(folder.file("link.log")));
  REQUIRE(::mkfifo(folder.file("pipe.log").c_str(), 0600) == 0);
  CHECK(!LogFile::open(folder.file("pipe.log")));
  CHECK(!LogFile::open(folder.path));
}
