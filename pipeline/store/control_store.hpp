#pragma once

#include <filesystem>
#include <memory>

#include "pipeline/store/idempotency_store.hpp"
#include "pipeline/store/record_store.hpp"

namespace nanobox {

/// The control plane's store: both interfaces over one SQLite file.
class ControlStore : public RecordStore, public IdempotencyStore {
public:
  /// Opens or makes DATA/control.db (0600). Every commit survives a power failure (synchronous=FULL).
  /// Idempotency rows that were at work become `Interrupted`.
  /// @errors store_failed: damaged, made by a newer NanoBox, not ours, or not accessible; the mend says what to do
  static Result<std::shared_ptr<ControlStore>> open(const std::filesystem::path& file);
};

}  // namespace nanobox
