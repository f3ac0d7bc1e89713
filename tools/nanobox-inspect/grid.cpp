#include "tools/nanobox-inspect/grid.hpp"

#include <algorithm>
#include <numeric>

#include "tools/nanobox/table.hpp"

namespace nanobox::inspection {
namespace {

constexpr std::size_t kGap = 2;

std::size_t sum_with_gaps(const std::vector<std::size_t>& widths) {
  const auto gaps = widths.empty() ? 0 : (widths.size() - 1) * kGap;
  return std::accumulate(widths.begin(), widths.end(), gaps);
}

}  // namespace

Grid::Grid(std::vector<GridColumn> columns) : columns_(std::move(columns)) {
  for (const auto& column : columns_) widths_.push_back(cli::columns_of(column.head));
}

void Grid::add(std::vector<GridCell> row) {
  row.resize(columns_.size());
  for (std::size_t at = 0; at < row.size(); ++at) widths_[at] = std::max(widths_[at], cli::columns_of(row[at].text));
  rows_.push_back(std::move(row));
}

std::size_t Grid::width() const {
  return sum_with_gaps(widths_);
}

std::vector<std::size_t> Grid::fitted_widths(std::size_t width) const {
  auto widths = widths_;
  if (width == 0) return widths;
  while (sum_with_gaps(widths) > width) {
    std::size_t widest = widths.size();
    for (std::size_t at = 0; at < widths.size(); ++at)
      if (widths[at] > columns_[at].shrinks_to && (widest == widths.size() || widths[at] > widths[widest])) widest = at;
    if (widest == widths.size()) break;
    --widths[widest];
  }
  while (widths.size() > 1 && sum_with_gaps(widths) > width) {
    const auto before = sum_with_gaps(widths) - widths.back();
    // What is left of a column must be worth reading; a part of a number would lie.
    if (before + 4 <= width && widths.size() == widths_.size() && !columns_.back().right) {
      widths.back() = width - before;
      break;
    }
    widths.pop_back();
  }
  if (widths.size() == 1) widths[0] = std::min(widths[0], width);
  return widths;
}

std::vector<std::string> Grid::lines(Style style, std::size_t width) const {
  const auto widths = fitted_widths(width);
  std::vector<std::string> out;
  const auto draw = [&](const auto& text_at, const auto& ink_at) {
    std::string line;
    for (std::size_t at = 0; at < widths.size(); ++at) {
      const auto cell = columns_[at].in_middle ? fitted_in_middle(style, text_at(at), widths[at])
                        : columns_[at].right   ? fitted_right(style, text_at(at), widths[at])
                                               : fitted(style, text_at(at), widths[at]);
      if (at > 0) line.append(kGap, ' ');
      const auto end = cell.find_last_not_of(' ');
      if (at + 1 == widths.size())
        line += painted(style, ink_at(at), end == std::string::npos ? "" : cell.substr(0, end + 1));
      else
        line += painted(style, ink_at(at), cell);
    }
    if (!style.colour) line.erase(line.find_last_not_of(' ') + 1);
    out.push_back(std::move(line));
  };
  draw([&](std::size_t at) -> const std::string& { return columns_[at].head; }, [](std::size_t) { return ink::bold; });
  for (const auto& row : rows_)
    draw([&](std::size_t at) -> const std::string& { return row[at].text; },
         [&](std::size_t at) { return row[at].ink; });
  return out;
}

std::string Grid::text(Style style, std::size_t width) const {
  std::string out;
  for (const auto& line : lines(style, width)) out += line + "\n";
  return out;
}

}  // namespace nanobox::inspection
