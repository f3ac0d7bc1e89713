#include "tools/nanobox/warmup_progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "config/byte_size.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

constexpr std::size_t kNameColumns = 12;
constexpr std::size_t kBarColumns = 28;

std::size_t terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string cut(std::string text, std::size_t columns) {
  std::size_t seen = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) continue;
    if (seen++ == columns) return text.substr(0, at);
  }
  return text;
}

bool has_ended(const ProgressLine& line) {
  return line.status == "succeeded" || line.status == "failed" || line.status == "undone";
}

std::string bytes_text(const ProgressLine& line) {
  if (line.status == "running" && line.total_bytes > 0)
    return format_byte_size(line.done_bytes) + " / " + format_byte_size(line.total_bytes);
  return line.done_bytes > 0 ? format_byte_size(line.done_bytes) : "";
}

std::string mark(const ProgressLine& line) {
  if (line.status == "succeeded") return "✔";
  if (line.status == "failed") return "✘";
  if (line.status == "running") return "▸";
  return " ";
}

std::uint64_t unsigned_at(const rapidjson::Value& object, const char* key) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, json_number(object, key)));
}

}  // namespace

std::vector<ProgressLine> progress_lines(const rapidjson::Value& status) {
  std::vector<ProgressLine> lines;
  const auto* stages = json_member(status, "stages");
  if (stages == nullptr || !stages->IsArray()) return lines;
  const auto* progress = json_member(status, "progress");
  for (const auto& stage : stages->GetArray()) {
    ProgressLine line{.name = json_text(stage, "name"),
                      .status = json_text(stage, "status"),
                      .done_bytes = unsigned_at(stage, "bytes"),
                      .total_bytes = unsigned_at(stage, "total_bytes"),
                      .duration_ms = json_number(stage, "duration_ms"),
                      .detail = json_text(stage, "detail")};
    if (progress != nullptr && line.status == "running" && json_text(*progress, "stage") == line.name) {
      line.done_bytes = std::max(line.done_bytes, unsigned_at(*progress, "done_bytes"));
      line.total_bytes = std::max(line.total_bytes, unsigned_at(*progress, "total_bytes"));
    }
    if (line.status == "skipped") continue;
    const bool running = line.status == "running";
    lines.push_back(std::move(line));
    const auto* layers = json_member(stage, "layers");
    if (!running || layers == nullptr || !layers->IsArray()) continue;
    for (const auto& layer : layers->GetArray()) {
      const auto digest = json_text(layer, "digest");
      const auto total = unsigned_at(layer, "total_bytes");
      const auto done = unsigned_at(layer, "done_bytes");
      lines.push_back({.name = "  " + digest.substr(digest.starts_with("sha256:") ? 7 : 0, 8),
                       .status = total > 0 && done >= total ? "succeeded" : "running",
                       .done_bytes = done,
                       .total_bytes = total,
                       .duration_ms = 0,
                       .detail = ""});
    }
  }
  return lines;
}

std::string draw(const ProgressLine& line, std::size_t columns) {
  std::string text = mark(line) + " " + cut(printable(line.name), kNameColumns);
  text.append(kNameColumns - std::min(kNameColumns, columns_of(printable(line.name))) + 1, ' ');
  const bool full = line.status == "succeeded";
  const double share =
      full ? 1.0
      : line.total_bytes == 0
          ? 0.0
          : std::min(1.0, static_cast<double>(line.done_bytes) / static_cast<double>(line.total_bytes));
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(kBarColumns));
  for (std::size_t column = 0; column < kBarColumns; ++column) text += column < filled ? "█" : "░";
  if (const auto bytes = bytes_text(line); !bytes.empty()) text += "  " + bytes;
  if (line.duration_ms > 0) text += "  " + duration_text(line.duration_ms);
  if (!line.detail.empty() && line.status == "running") text += "  " + printable(line.detail);
  return cut(std::move(text), columns);
}

WarmupProgress::WarmupProgress(bool quiet) : quiet_(quiet), terminal_(::isatty(STDERR_FILENO) == 1) {}

void WarmupProgress::show(const rapidjson::Value& status) {
  if (quiet_) return;
  const auto lines = progress_lines(status);
  terminal_ ? redraw(lines) : append_ended(lines);
}

void WarmupProgress::redraw(const std::vector<ProgressLine>& lines) {
  const auto columns = terminal_columns() - 1;
  std::string out;
  if (drawn_ > 0) out += "\x1b[" + std::to_string(drawn_) + "A";
  for (const auto& line : lines) out += "\x1b[2K" + draw(line, columns) + "\n";
  if (lines.size() < drawn_) out += "\x1b[J";
  drawn_ = lines.size();
  std::fputs(out.c_str(), stderr);
  std::fflush(stderr);
}

void WarmupProgress::append_ended(const std::vector<ProgressLine>& lines) {
  for (const auto& line : lines) {
    if (!has_ended(line) || line.name.starts_with(' ') || std::ranges::find(told_, line.name) != told_.end()) continue;
    told_.push_back(line.name);
    std::fprintf(stderr, "%s  %s  %s  %s\n", printable(line.name).c_str(), line.status.c_str(),
                 duration_text(line.duration_ms).c_str(), bytes_text(line).c_str());
  }
}

}  // namespace nanobox::cli
