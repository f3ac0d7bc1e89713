#pragma once

#include <deque>
#include <map>

#include "actors/concerns.hpp"
#include "actors/services.hpp"

namespace nanobox {

struct VmmStockState {
  static inline const char* name = "vmm_stock";
  struct Shelf {
    std::deque<std::shared_ptr<EmptyVmm>> ready;
    std::uint32_t least = 0;  ///< as asked for
    std::uint32_t on_the_way = 0;
    std::uint32_t failures = 0;  ///< in a row
    std::chrono::steady_clock::time_point not_before{};
    std::deque<std::chrono::steady_clock::time_point> takes;  ///< of the last minute
    std::chrono::steady_clock::time_point used{};
  };
  SharedServices services;
  std::map<StockShape, Shelf> shelves;
  std::uint32_t starting = 0;  ///< VMMs, for a shelf or for who took from an empty one
  bool stopping = false;
  std::vector<caf::typed_response_promise<void>> draining;
};

VmmStockActor::behavior_type vmm_stock(VmmStockActor::stateful_pointer<VmmStockState> self, SharedServices services);

/// What a boot from a saved state takes. Copies of one snapshot have its memory and disk in common, whatever layers of
/// their own lie over them.
StockShape stock_shape(const BootRequest& request);
/// Whether its VMMs have loaded the state, and bring the overlay.
inline bool is_loaded(const StockShape& shape) {
  return !shape.state.empty();
}

/// Ends an empty VMM that nobody wants any more, with all that is noted under its id. Blocking.
void discard(const Services& services, std::shared_ptr<EmptyVmm> vmm);
/// The same of one that was renamed to a sandbox: the sandbox' folder stays, for another VMM or the disk keeper.
/// Blocking.
void discard_renamed(const Services& services, std::shared_ptr<EmptyVmm> vmm);

}  // namespace nanobox
