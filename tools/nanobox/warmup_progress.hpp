#pragma once

#include <rapidjson/document.h>

#include <cstddef>
#include <string>
#include <vector>

namespace nanobox::cli {

/// One line of progress: a stage, or a layer of it.
struct ProgressLine {
  std::string name;
  std::string status;
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
  std::int64_t duration_ms = 0;
  std::string detail;
};

/// What a template's status says, line by line.
std::vector<ProgressLine> progress_lines(const rapidjson::Value& status);

/// A line drawn `columns` wide: name, bar, bytes, duration.
std::string draw(const ProgressLine& line, std::size_t columns);

/// Shows a warmup on stderr: bars that are drawn over on a terminal, else one line for each stage that ends.
class WarmupProgress {
public:
  explicit WarmupProgress(bool quiet);
  void show(const rapidjson::Value& status);

private:
  void redraw(const std::vector<ProgressLine>& lines);
  void append_ended(const std::vector<ProgressLine>& lines);
  bool quiet_;
  bool terminal_;
  std::size_t drawn_ = 0;
  std::vector<std::string> told_;
};

}  // namespace nanobox::cli
