#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/boot/network/ipv4_ranges.hpp"
#include "pipeline/boot/network/netlink.hpp"

namespace nanobox {

struct NftTable {
  std::uint8_t family = 0;  ///< NFPROTO_INET, NFPROTO_IPV4
  std::string name;
};

/// One element of a set, or of a map with a value or a verdict.
struct NftElement {
  std::string set;
  std::string key = {};                  ///< as the kernel keeps it: see the functions below
  std::string data = {};                 ///< a map's value
  std::string chain = {};                ///< a verdict map's: `goto chain`
  bool interval_end = false;             ///< of an interval set: the first key behind it
  std::chrono::milliseconds timeout{0};  ///< 0: for ever
  bool operator==(const NftElement&) const = default;
};

/// Keys and values: an address is four bytes in network order, numbers are the host's, a link's name fills 16 bytes;
/// concatenated keys follow each other.
std::string nft_address(std::uint32_t address);
std::string nft_number(std::uint32_t number);
std::string nft_short_number(std::uint16_t number);
std::string nft_link(std::string_view name);
/// The elements of an interval set that hold `ranges`.
std::vector<NftElement> nft_intervals(const std::string& set, const Ipv4Ranges& ranges);

/// Changes of the elements of one table's sets that take place together or not at all, as bytes for the kernel.
/// Building them costs what the changes are, not what the sets hold.
class NftBatch {
public:
  explicit NftBatch(NftTable table);

  void flush(const std::string& set);
  void add(std::span<const NftElement> elements) { change(elements, true); }
  void remove(std::span<const NftElement> elements) { change(elements, false); }

  /// Ends the batch; call it once. @returns the bytes to be sent
  std::span<const char> finish();
  NetlinkTraffic traffic() const { return {messages_, used_}; }
  std::uint32_t last_change() const { return messages_ - 1; }  ///< the sequence number of the last change

private:
  char* room();
  void change(std::span<const NftElement> elements, bool add);
  void write(const std::string& set, std::span<const NftElement> elements, bool add);

  NftTable table_;
  std::vector<char> buffer_;
  std::size_t used_ = 0;
  std::uint32_t messages_ = 0;
};

/// A socket to nftables in the network namespace of the thread that opens it. One thread at a time.
class NftSocket {
public:
  static Result<NftSocket> open();

  /// Nothing happens when the batch has no change.
  /// @errors network_unavailable · not_ready when a table, set or element named is not there · conflict when an element
  /// is there with another value
  Result<NetlinkTraffic> commit(NftBatch& batch);
  /// @errors not_ready when there is no such table or set · network_unavailable
  Result<std::vector<NftElement>> elements(const NftTable& table, const std::string& set);

private:
  explicit NftSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace nanobox
