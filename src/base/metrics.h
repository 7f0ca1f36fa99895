// What a part of the program counts, as a page of Prometheus' text format 0.0.4. Pure.
//
// Nothing is registered globally and nothing is looked up while counting: a module counts in plain members and, when the
// page is asked for, a collector that the assembly injected writes them down. Label values come from sets that the module
// bounds itself (nodes it knows, reasons it has names for), and a family stops at kMaxSeries all the same.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kubeedge::base {

using MetricLabels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

class MetricsPage {
 public:
  static constexpr std::size_t kMaxSeries = 20'000;   // of one family; what is past it is left out and counted

  // `name` as Prometheus wants it; a counter's ends in _total. Samples of one name may come in any order.
  void counter(std::string_view name, std::string_view help, std::uint64_t value, MetricLabels labels = {});
  void counter(std::string_view name, std::string_view help, double value, MetricLabels labels = {});
  void gauge(std::string_view name, std::string_view help, std::int64_t value, MetricLabels labels = {});
  std::string text() const;

 private:
  struct Family {
    std::string help;
    const char* type = "";
    std::size_t series = 0;
    std::string lines;
  };
  void sample(const char* type, std::string_view name, std::string_view help, const std::string& value, MetricLabels labels);

  std::map<std::string, Family, std::less<>> families_;
  std::uint64_t left_out_ = 0;
};

// The collectors of one assembly. Lives on its loop.
class Metrics {
 public:
  using Collector = std::function<void(MetricsPage&)>;
  // `collector` is called for every page, for as long as this object lives.
  void add(Collector collector) { collectors_.push_back(std::move(collector)); }
  std::string text() const;

 private:
  std::vector<Collector> collectors_;
};

}  // namespace kubeedge::base
