#pragma once

#include <cstdint>
#include <string>

namespace nanobox {

/// A template's warm pool as GET /stats shows it.
struct PoolState {
  std::string owner;
  std::string template_name;
  std::uint32_t ready = 0;
  std::uint32_t min_ready = 0;
  std::uint32_t max_ready = 0;
  std::string problem;  ///< why it is not being filled; empty: nothing is wrong
};

}  // namespace nanobox
