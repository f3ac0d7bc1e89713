#include "tools/nanobox-inspect/waterfall.hpp"

#include <algorithm>

#include "tools/nanobox-inspect/grid.hpp"
#include "tools/nanobox-inspect/time_window.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::inspection {
namespace {

constexpr std::size_t kLeastBar = 16;

void append(std::vector<std::string>& lines, std::vector<std::string> more) {
  lines.insert(lines.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

/// Words broken into lines, each behind `indent` blanks.
std::vector<std::string> wrapped(Style style, std::string_view text, std::size_t columns, std::size_t indent) {
  const std::size_t room = std::max<std::size_t>(columns, indent + 20) - indent;
  std::vector<std::string> lines;
  std::string line;
  const auto flush = [&] {
    if (!line.empty()) lines.push_back(std::string(indent, ' ') + line);
    line.clear();
  };
  std::size_t at = 0;
  while (at < text.size()) {
    const auto space = std::min(text.find_first_of(" \n", at), text.size());
    const auto word = cli::printable(text.substr(at, space - at));
    at = space + 1;
    if (word.empty()) continue;
    if (!line.empty() && cli::columns_of(line) + 1 + cli::columns_of(word) > room) flush();
    if (!line.empty()) line += ' ';
    line += cli::columns_of(word) > room ? fitted(style, word, room) : word;
  }
  flush();
  return lines;
}

std::vector<std::string> failure_lines(Style style, const Failure& failure, const std::string& where,
                                       std::size_t columns) {
  std::vector<std::string> lines = {painted(style, ink::red, fitted(style, where + ": " + failure.code, columns))};
  const auto add = [&](const char* label, const std::string& text) {
    if (text.empty()) return;
    constexpr std::size_t indent = 13;
    auto wrapped_lines = wrapped(style, text, columns, indent);
    if (wrapped_lines.empty()) return;
    wrapped_lines[0].replace(2, std::string_view(label).size(), label);
    append(lines, std::move(wrapped_lines));
  };
  if (failure.attempted.empty() && failure.reason.empty()) {
    add("because", failure.detail);
  } else {
    add("attempted", failure.attempted + (failure.subject.empty() ? "" : " " + failure.subject));
    add("because", failure.reason);
  }
  add("mend", failure.mend);
  for (auto& line : lines) line.erase(line.find_last_not_of(' ') + 1);
  return lines;
}

std::string bytes_text(const StageView& stage) {
  if (stage.status == "running" && stage.total_bytes > 0)
    return size_text(stage.bytes) + " of " + size_text(stage.total_bytes);
  return size_text(stage.bytes);
}

/// What is behind the start of `what`, in the runs' scale: 0 up to the run's length.
struct Scale {
  std::int64_t begin_us;
  std::int64_t length_us;
};

Scale scale_of(const RunView& run) {
  std::int64_t end = run.end_us();
  for (const auto& stage : run.stages)
    if (stage.ran()) end = std::max(end, *stage.started_us + stage.duration_us);
  return {.begin_us = run.begin_us(), .length_us = std::max<std::int64_t>(1, end - run.begin_us())};
}

std::vector<std::string> header(Style style, const RunView& run, std::size_t columns, std::int64_t now_us) {
  const auto status = painted(style, ink_of_status(run.status), run.status);
  const auto room = columns - std::min(columns, run.pipeline.size() + run.status.size() + 6);
  auto subject = cli::printable(run.subject);
  if (cli::columns_of(subject) > room) subject = fitted(style, subject, room);
  std::vector<std::string> lines = {painted(style, ink::bold, cli::printable(run.pipeline) + " of " + subject) + "  " +
                                    status};
  std::string line = cli::printable(run.id) + (run.node_id.empty() ? "" : " on " + cli::printable(run.node_id)) +
                     ", created " + time_text(run.created_us) + " (" + ago_text(run.created_us, now_us) + " ago)";
  append(lines, wrapped(style, line, columns, 0));
  line.clear();
  if (run.started_us) {
    if (*run.started_us - run.created_us > 1000) line = "waited " + span_text(*run.started_us - run.created_us) + ", ";
    line += (run.ended() ? "took " : "runs since ") + span_text(run.duration_us);
  } else {
    line = run.ended() ? "never started" : "waits for its start";
  }
  lines.push_back(fitted(style, line, columns));
  lines.back().erase(lines.back().find_last_not_of(' ') + 1);
  return lines;
}

std::string ruler(Style style, std::int64_t total_us, std::size_t columns) {
  const auto end = span_text(total_us);
  if (columns < end.size() + 4) return "";
  std::string line = "0 ";
  for (std::size_t at = 0; at < columns - end.size() - 3; ++at) line += style.unicode ? "─" : "-";
  return line + " " + end;
}

}  // namespace

std::string bar(Style style, std::int64_t start, std::int64_t length, std::int64_t total, std::size_t columns) {
  if (columns == 0 || total <= 0) return "";
  start = std::clamp<std::int64_t>(start, 0, total);
  length = std::clamp<std::int64_t>(length, 0, total - start);
  // In eighths of a column.
  const auto width = static_cast<double>(columns) * 8;
  auto from = static_cast<std::size_t>(static_cast<double>(start) / static_cast<double>(total) * width);
  auto until = static_cast<std::size_t>(static_cast<double>(start + length) / static_cast<double>(total) * width + 0.5);
  // Beginnings are whole columns: there are no blocks for the other side.
  const auto first = std::min(from / 8, columns - 1);
  until = std::clamp(until, first * 8 + 1, columns * 8);
  std::string text(first, ' ');
  if (!style.unicode) return text + std::string((until + 7) / 8 - first, '#');
  for (std::size_t at = first; at < until / 8; ++at) text += "█";
  static constexpr const char* kParts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  return text + kParts[until % 8];
}

std::vector<std::string> waterfall(Style style, const RunView& run, std::size_t columns, std::int64_t now_us) {
  auto lines = header(style, run, columns, now_us);
  const auto scale = scale_of(run);
  const bool moved = std::ranges::any_of(run.stages, [](const auto& stage) { return stage.bytes > 0; });
  const bool elsewhere =
      std::ranges::any_of(run.stages, [&](const auto& stage) { return stage.ran() && stage.node_id != run.node_id; });

  std::vector<GridColumn> heads = {
      {.head = "STAGE", .shrinks_to = 8}, {.head = "STATUS"}, {.head = "TRY", .right = true}};
  std::vector<std::vector<GridCell>> rows;
  heads.push_back({.head = "TIME", .right = true});
  const bool wide = columns >= 100;
  if (wide) heads.push_back({.head = "ACTOR", .shrinks_to = 8});
  if (elsewhere) heads.push_back({.head = "NODE", .shrinks_to = 6});
  if (moved) heads.push_back({.head = "BYTES", .right = true});
  if (moved && wide) heads.push_back({.head = "RATE", .right = true});
  for (const auto& stage : run.stages) {
    const auto shade = stage.ran() ? ink::none : ink::dim;
    std::vector<GridCell> row = {{stage.name, shade}, {stage.status, ink_of_status(stage.status)}};
    row.push_back(
        {stage.attempts > 0 ? std::to_string(stage.attempts) : "", stage.attempts > 1 ? ink::yellow : ink::none});
    row.push_back({stage.ran() ? span_text(stage.duration_us) : ""});
    if (wide) row.push_back({stage.actor, shade});
    if (elsewhere) row.push_back({stage.ran() ? stage.node_id : "", shade});
    if (moved) row.push_back({bytes_text(stage)});
    if (moved && wide) row.push_back({rate_text(stage.bytes, stage.duration_us)});
    rows.push_back(std::move(row));
  }
  Grid measure(heads);
  for (const auto& row : rows) measure.add(row);
  const auto taken = measure.width() + 2;
  const auto bar_columns = std::max(kLeastBar, columns - std::min(columns, taken));
  heads.push_back({.head = ruler(style, scale.length_us, bar_columns)});
  Grid grid(heads);
  for (std::size_t at = 0; at < rows.size(); ++at) {
    const auto& stage = run.stages[at];
    auto row = std::move(rows[at]);
    const auto shade = stage.status == "succeeded" ? ink::blue : ink_of_status(stage.status);
    row.push_back({stage.ran()
                       ? bar(style, *stage.started_us - scale.begin_us, stage.duration_us, scale.length_us, bar_columns)
                       : "",
                   shade});
    grid.add(std::move(row));
  }
  lines.emplace_back();
  append(lines, grid.lines(style, columns));

  std::vector<std::string> notes;
  for (const auto& stage : run.stages) {
    std::string note = stage.detail;
    if (!wide && stage.bytes > 0 && !rate_text(stage.bytes, stage.duration_us).empty())
      note += (note.empty() ? "" : ", ") + rate_text(stage.bytes, stage.duration_us);
    if (!note.empty()) append(notes, wrapped(style, stage.name + ": " + note, columns, 0));
  }
  std::optional<Failure> said;
  for (const auto& stage : run.stages) {
    if (!stage.error) continue;
    const auto tries = stage.attempts > 1 ? " after " + std::to_string(stage.attempts) + " tries" : "";
    const auto what = stage.status == "failed" ? " failed" : " had failed before";
    append(notes, failure_lines(style, *stage.error, cli::printable(stage.name) + what + tries, columns));
    said = stage.error;
  }
  if (run.error && run.error != said) append(notes, failure_lines(style, *run.error, "the run", columns));
  if (!notes.empty()) lines.emplace_back();
  append(lines, std::move(notes));
  return lines;
}

}  // namespace nanobox::inspection
