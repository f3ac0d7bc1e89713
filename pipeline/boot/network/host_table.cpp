#include "pipeline/boot/network/host_table.hpp"

#include <string>
#include <string_view>

namespace nanobox {

Result<std::shared_ptr<HostTable>> HostTable::open(const NetworkNames& names, const Ipv4Subnet& subnet) {
  return std::shared_ptr<HostTable>(new HostTable(names, subnet, NANOBOX_TRY(NftSocket::open())));
}

Result<bool> HostTable::is_there() {
  const std::lock_guard lock(mutex_);
  const auto uplinks = socket_.elements(host_ruleset::table(names_), "uplinks");
  if (!uplinks && uplinks.error().code != ErrorCode::not_ready) return fail(uplinks.error());
  return uplinks.has_value();
}

Result<std::vector<HostAttachment>> HostTable::attachments() {
  const std::lock_guard lock(mutex_);
  const auto table = host_ruleset::table(names_);
  const auto verdicts = NANOBOX_TRY(socket_.elements(table, std::string(host_ruleset::verdict_map)));
  const auto groups = NANOBOX_TRY(socket_.elements(table, std::string(host_ruleset::group_map)));
  return host_ruleset::read(verdicts, groups);
}

Result<NetlinkTraffic> HostTable::put(const std::optional<HostAttachment>& before,
                                      const std::optional<HostAttachment>& after) {
  if (before == after) return NetlinkTraffic{};
  const std::lock_guard lock(mutex_);
  auto batch = host_ruleset::change(names_, subnet_, before, after);
  const auto put = socket_.commit(batch);
  if (put) return *put;
  if (put.error().code != ErrorCode::not_ready && put.error().code != ErrorCode::conflict) return fail(put.error());
  NANOBOX_TRY(clear(before, after));
  if (!after) return NetlinkTraffic{};
  auto anew = host_ruleset::change(names_, subnet_, std::nullopt, after);
  return socket_.commit(anew);
}

Result<void> HostTable::put_uplink(const std::string& link) {
  const std::lock_guard lock(mutex_);
  NftBatch batch(host_ruleset::table(names_));
  batch.flush("uplinks");
  if (!link.empty()) batch.add(std::vector<NftElement>{{.set = "uplinks", .key = nft_link(link)}});
  NANOBOX_TRY(socket_.commit(batch));
  return {};
}

Result<void> HostTable::change(std::span<const NftElement> removed, std::span<const NftElement> added) {
  const std::lock_guard lock(mutex_);
  NftBatch batch(host_ruleset::table(names_));
  batch.remove(removed);
  batch.add(added);
  NANOBOX_TRY(socket_.commit(batch));
  return {};
}

Result<void> HostTable::forget_remote() {
  const std::lock_guard lock(mutex_);
  NftBatch batch(host_ruleset::table(names_));
  batch.flush("remote");
  batch.flush("peers");
  NANOBOX_TRY(socket_.commit(batch));
  return {};
}

/// Removes whatever the table holds of this link and these addresses.
Result<void> HostTable::clear(const std::optional<HostAttachment>& before, const std::optional<HostAttachment>& after) {
  const auto table = host_ruleset::table(names_);
  const auto link = nft_link((before ? before : after)->link);
  NftBatch batch(table);
  for (const std::string set : {"zones", "leaving", "entering", "talking", "groups", "members"}) {
    auto elements = NANOBOX_TRY(socket_.elements(table, set));
    std::erase_if(elements, [&](const NftElement& element) {
      if (set != "members") return !element.key.starts_with(link);
      const auto of = [&](const auto& side) { return side && element.key.ends_with(nft_address(side->address)); };
      return !of(before) && !of(after);
    });
    batch.remove(elements);
  }
  NANOBOX_TRY(socket_.commit(batch));
  return {};
}

}  // namespace nanobox
