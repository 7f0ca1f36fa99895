#include "base/metrics.h"

#include <fmt/format.h>

namespace kubeedge::base {
namespace {

// Label values and help texts: backslash and newline, in values the quote too.
void append_escaped(std::string& out, std::string_view text, bool quoted) {
  for (const char c : text) {
    if (c == '\\') out += "\\\\";
    else if (c == '\n') out += "\\n";
    else if (c == '"' && quoted) out += "\\\"";
    else out += c;
  }
}

}  // namespace

void MetricsPage::counter(std::string_view name, std::string_view help, std::uint64_t value, MetricLabels labels) {
  sample("counter", name, help, fmt::format("{}", value), labels);
}
void MetricsPage::counter(std::string_view name, std::string_view help, double value, MetricLabels labels) {
  sample("counter", name, help, fmt::format("{:.3f}", value), labels);
}
void MetricsPage::gauge(std::string_view name, std::string_view help, std::int64_t value, MetricLabels labels) {
  sample("gauge", name, help, fmt::format("{}", value), labels);
}

void MetricsPage::sample(const char* type, std::string_view name, std::string_view help, const std::string& value, MetricLabels labels) {
  auto found = families_.find(name);
  if (found == families_.end()) {
    found = families_.emplace(std::string(name), Family{}).first;
    append_escaped(found->second.help, help, false);
    found->second.type = type;
  }
  Family& family = found->second;
  if (family.series >= kMaxSeries) {
    ++left_out_;
    return;
  }
  ++family.series;
  family.lines += name;
  char separator = '{';
  for (const auto& [label, text] : labels) {
    family.lines += separator;
    separator = ',';
    family.lines += label;
    family.lines += "=\"";
    append_escaped(family.lines, text, true);
    family.lines += '"';
  }
  if (separator == ',') family.lines += '}';
  family.lines += ' ';
  family.lines += value;
  family.lines += '\n';
}

std::string MetricsPage::text() const {
  std::string out;
  for (const auto& [name, family] : families_) out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{3}", name, family.help, family.type, family.lines);
  out += fmt::format("# HELP kubeedge_metrics_left_out Series past {} of a family, not on this page\n# TYPE kubeedge_metrics_left_out gauge\n"
                     "kubeedge_metrics_left_out {}\n", kMaxSeries, left_out_);
  return out;
}

std::string Metrics::text() const {
  MetricsPage page;
  for (const auto& collect : collectors_) collect(page);
  return page.text();
}

}  // namespace kubeedge::base
