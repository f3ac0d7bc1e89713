#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/clock.hpp"
#include "config/error.hpp"

namespace nanobox {

/// A VM of this node that may outlive the daemon.
struct VmRow {
  std::string sandbox_id;
  std::string identity;  ///< JSON: boot id, pid, start time, uuid, sockets; only the VMM code reads it
  bool operator==(const VmRow&) const = default;
};

/// Something of which the node has a limited number, held by a sandbox: an address, a uid, a CID.
struct HeldLease {
  std::string kind;
  std::uint64_t number = 0;
  std::string holder;
  bool operator==(const HeldLease&) const = default;
};

/// What a node must know of its VMs after a restart. SQLite; thread-safe; blocks: worker threads and detached actors
/// only. Written with synchronous=NORMAL: it survives the daemon's death, and no VM survives a power failure anyway.
/// Every function fails with `store_failed` (or `disk_full`); `lease` also as it says.
class NodeStore {
public:
  /// Opens or makes DATA/node.db (0600). @errors as ControlStore::open
  static Result<std::shared_ptr<NodeStore>> open(const std::filesystem::path& file);
  ~NodeStore();
  NodeStore(const NodeStore&) = delete;
  NodeStore& operator=(const NodeStore&) = delete;

  Result<void> put_vm(std::string_view sandbox_id, std::string_view identity);
  Result<std::optional<VmRow>> vm(std::string_view sandbox_id) const;
  Result<std::vector<VmRow>> vms() const;  ///< by sandbox id
  Result<void> remove_vm(std::string_view sandbox_id);

  /// All that `from` holds is `to`'s, in one transaction, with this identity.
  Result<void> take_over(std::string_view from, std::string_view to, std::string_view identity);

  /// When the sandbox expires; the node is the authority for it.
  Result<void> put_deadline(std::string_view sandbox_id, WallTime expires_at);
  Result<std::map<std::string, WallTime>> deadlines() const;
  Result<void> remove_deadline(std::string_view sandbox_id);

  /// Takes the lowest free number of `kind` in [first, last] for `holder`. @errors no_capacity: all are held
  Result<std::uint64_t> lease(std::string_view kind, std::uint64_t first, std::uint64_t last, std::string_view holder);
  Result<std::vector<HeldLease>> leases(std::string_view kind) const;  ///< by number
  Result<void> release(std::string_view kind, std::uint64_t number);

  /// A VMM that is gone, and its user: another may follow for the same sandbox, whose address it is.
  Result<void> forget_vmm(std::string_view sandbox_id);
  /// VM, deadline and every lease of a sandbox, in one transaction; a missing one is success.
  Result<void> forget(std::string_view sandbox_id);

private:
  struct Impl;
  explicit NodeStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nanobox
