#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nanobox {

/// How many letters to insert, delete, replace or swap with their neighbour turn `from` into `to`.
std::size_t edit_distance(std::string_view from, std::string_view to);

/// The one of `known` that `wrong` most likely meant; nothing where none is near.
std::optional<std::string> nearest(std::string_view wrong, const std::vector<std::string>& known);

}  // namespace nanobox
