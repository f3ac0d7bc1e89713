#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/nanobox-inspect/style.hpp"

namespace nanobox::inspection {

struct GridColumn {
  std::string head;
  bool right = false;             ///< numbers
  bool in_middle = false;         ///< cut there: of ids the end tells more than the beginning
  std::size_t shrinks_to = 1000;  ///< where there is no room, it may get as narrow as this
};

struct GridCell {
  std::string text;
  std::string_view ink = ink::none;
};

/// A table that fits a width: first the columns that may shrink do, the widest first; then the last ones go.
class Grid {
public:
  explicit Grid(std::vector<GridColumn> columns);
  void add(std::vector<GridCell> row);
  std::size_t rows() const { return rows_.size(); }
  /// How wide it is, nothing cut.
  std::size_t width() const;
  /// Its head and rows, one line each. @param width  0: as wide as it is
  std::vector<std::string> lines(Style style, std::size_t width) const;
  std::string text(Style style, std::size_t width) const;

private:
  std::vector<std::size_t> fitted_widths(std::size_t width) const;

  std::vector<GridColumn> columns_;
  std::vector<std::vector<GridCell>> rows_;
  std::vector<std::size_t> widths_;
};

}  // namespace nanobox::inspection
