#pragma once

#include <cstdint>

namespace nanobox {

/// What one image may ask for. Claimed sizes are checked before anything is placed, real ones while inflating.
struct ImageLimits {
  std::uint64_t max_entries = 600'000;             ///< of all layers together
  std::uint64_t max_inflated_bytes = 64ULL << 30;  ///< of one layer's tar
  std::uint64_t max_total_bytes = 64ULL << 30;     ///< file bytes of all layers together, holes not counted
  std::uint64_t max_file_bytes = 1ULL << 40;       ///< one file's size, holes included
  std::uint64_t max_ratio = 250;                   ///< inflated to compressed, once `ratio_floor_bytes` are inflated
  std::uint64_t ratio_floor_bytes = 1ULL << 30;
  std::uint64_t max_path_bytes = 4095;
  std::uint64_t max_path_depth = 255;
  std::uint64_t max_pax_bytes = 1U << 20;    ///< one PAX header, long name or sparse map
  std::uint64_t max_sparse_ranges = 65'536;  ///< of one file
};

}  // namespace nanobox
