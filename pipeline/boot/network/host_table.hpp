#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "config/error.hpp"
#include "pipeline/boot/network/host_ruleset.hpp"
#include "pipeline/boot/network/names.hpp"
#include "pipeline/boot/network/nft_batch.hpp"

namespace nanobox {

/// The table on the host, by one socket that stays open: closing one makes the kernel wait for what was removed lately,
/// some 20 ms. Thread-safe; one change follows the other, as in the kernel.
/// @errors of all: not_ready when there is no table of ours · network_unavailable
class HostTable {
public:
  /// In the calling thread's network namespace, and then always there.
  static Result<std::shared_ptr<HostTable>> open(const NetworkNames& names, const Ipv4Subnet& subnet);

  /// Whether there is a table of ours.
  Result<bool> is_there();
  /// The sandboxes that the table holds, as the kernel tells. Costs what the table holds.
  Result<std::vector<HostAttachment>> attachments();
  /// Changes one sandbox's elements in one transaction of constant cost. Where the table turns out to hold something
  /// else of this link (somebody else changed it), it is listed once and put right.
  Result<NetlinkTraffic> put(const std::optional<HostAttachment>& before, const std::optional<HostAttachment>& after);
  /// Where `internet` leaves the host; empty: nowhere.
  Result<void> put_uplink(const std::string& link);
  /// Elements that belong to no sandbox here (host_ruleset::remote, peer).
  Result<void> change(std::span<const NftElement> removed, std::span<const NftElement> added);
  /// Removes all of those.
  Result<void> forget_remote();

private:
  HostTable(NetworkNames names, Ipv4Subnet subnet, NftSocket socket)
      : names_(std::move(names)), subnet_(subnet), socket_(std::move(socket)) {}
  Result<void> clear(const std::optional<HostAttachment>& before, const std::optional<HostAttachment>& after);

  const NetworkNames names_;
  const Ipv4Subnet subnet_;
  std::mutex mutex_;
  NftSocket socket_;
};

}  // namespace nanobox
