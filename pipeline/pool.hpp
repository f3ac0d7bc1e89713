#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nanobox {

/// A template's warm pool as GET /stats shows it.
struct PoolState {
  std::string owner;
  std::string template_name;
  std::uint32_t ready = 0;
  std::uint32_t min_ready = 0;
  std::uint32_t max_ready = 0;
  std::string problem;  ///< why it is not being filled; empty: nothing is wrong
  bool operator==(const PoolState&) const = default;
};

/// All of it, and back; nothing where the text is not exactly that.
std::string pool_to_record(const PoolState& pool);
std::optional<PoolState> pool_from_record(std::string_view json);

}  // namespace nanobox
