#include "pipeline/boot/network/nft_batch.hpp"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <memory>

extern "C" {
#include <libnftnl/common.h>
#include <libnftnl/set.h>
}

namespace nanobox {
namespace {

// A message's attribute has at most 64 KiB; an element takes less than 160 bytes.
constexpr std::size_t elements_per_message = 200;
constexpr std::size_t message_room = std::size_t{48} * 1024;
constexpr timeval patience{.tv_sec = 10, .tv_usec = 0};

struct FreeSet {
  void operator()(nftnl_set* set) const noexcept { nftnl_set_free(set); }
};
using Set = std::unique_ptr<nftnl_set, FreeSet>;

Set named_set(const NftTable& table, const std::string& name) {
  Set set(nftnl_set_alloc());
  nftnl_set_set_u32(set.get(), NFTNL_SET_FAMILY, table.family);
  nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, table.name.c_str());
  nftnl_set_set_str(set.get(), NFTNL_SET_NAME, name.c_str());
  return set;
}

nftnl_set_elem* built(const NftElement& element, bool with_value) {
  auto* made = nftnl_set_elem_alloc();
  nftnl_set_elem_set(made, NFTNL_SET_ELEM_KEY, element.key.data(), static_cast<std::uint32_t>(element.key.size()));
  if (element.interval_end) nftnl_set_elem_set_u32(made, NFTNL_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
  if (!with_value) return made;
  if (!element.data.empty())
    nftnl_set_elem_set(made, NFTNL_SET_ELEM_DATA, element.data.data(), static_cast<std::uint32_t>(element.data.size()));
  if (!element.chain.empty()) {
    nftnl_set_elem_set_u32(made, NFTNL_SET_ELEM_VERDICT, static_cast<std::uint32_t>(NFT_GOTO));
    nftnl_set_elem_set_str(made, NFTNL_SET_ELEM_CHAIN, element.chain.c_str());
  }
  if (element.timeout.count() > 0)
    nftnl_set_elem_set_u64(made, NFTNL_SET_ELEM_TIMEOUT, static_cast<std::uint64_t>(element.timeout.count()));
  return made;
}

std::string bytes_of(nftnl_set_elem* element, std::uint16_t attribute) {
  if (!nftnl_set_elem_is_set(element, attribute)) return {};
  std::uint32_t length = 0;
  const void* bytes = nftnl_set_elem_get(element, attribute, &length);
  return bytes == nullptr ? std::string() : std::string(static_cast<const char*>(bytes), length);
}

int keep(nftnl_set_elem* read, void* found) {
  const auto flags =
      nftnl_set_elem_is_set(read, NFTNL_SET_ELEM_FLAGS) ? nftnl_set_elem_get_u32(read, NFTNL_SET_ELEM_FLAGS) : 0;
  NftElement element{.set = {},
                     .key = bytes_of(read, NFTNL_SET_ELEM_KEY),
                     .data = bytes_of(read, NFTNL_SET_ELEM_DATA),
                     .interval_end = (flags & NFT_SET_ELEM_INTERVAL_END) != 0};
  if (nftnl_set_elem_is_set(read, NFTNL_SET_ELEM_CHAIN))
    element.chain = nftnl_set_elem_get_str(read, NFTNL_SET_ELEM_CHAIN);
  static_cast<std::vector<NftElement>*>(found)->push_back(std::move(element));
  return 0;
}

Error nft_error(int number, std::string attempted, std::string subject) {
  auto error = errno_error(number, std::move(attempted), std::move(subject), ErrorCode::network_unavailable);
  if (number == ENOENT) error.code = ErrorCode::not_ready;
  if (number == EEXIST || number == EBUSY) error.code = ErrorCode::conflict;
  if (number == EPERM) error.mend = "run nanoboxd as root, or with CAP_NET_ADMIN";
  return error;
}

/// Answers that an earlier call gave up waiting for.
void drain(int fd) {
  char dropped[1024];
  while (::recv(fd, dropped, sizeof dropped, MSG_DONTWAIT) > 0) {
  }
}

std::size_t aligned(std::size_t length) {
  return NLMSG_ALIGN(length);
}

}  // namespace

std::string nft_address(std::uint32_t address) {
  const auto network = htonl(address);
  return {reinterpret_cast<const char*>(&network), sizeof network};
}

std::string nft_number(std::uint32_t number) {
  return {reinterpret_cast<const char*>(&number), sizeof number};
}

std::string nft_short_number(std::uint16_t number) {
  return {reinterpret_cast<const char*>(&number), sizeof number};
}

std::string nft_link(std::string_view name) {
  std::string filled(name.substr(0, IFNAMSIZ - 1));
  filled.resize(IFNAMSIZ);
  return filled;
}

std::vector<NftElement> nft_intervals(const std::string& set, const Ipv4Ranges& ranges) {
  std::vector<NftElement> elements;
  for (const auto& range : ranges) {
    elements.push_back({.set = set, .key = nft_address(range.first)});
    if (range.last != 0xffffffff)
      elements.push_back({.set = set, .key = nft_address(range.last + 1), .interval_end = true});
  }
  return elements;
}

NftBatch::NftBatch(NftTable table) : table_(std::move(table)) {
  used_ += aligned(nftnl_batch_begin(room(), messages_++)->nlmsg_len);
}

char* NftBatch::room() {
  if (buffer_.size() < used_ + message_room) buffer_.resize(used_ + 2 * message_room);
  return buffer_.data() + used_;
}

void NftBatch::flush(const std::string& set) {
  write(set, {}, false);
}

void NftBatch::change(std::span<const NftElement> elements, bool add) {
  while (!elements.empty()) {
    std::size_t same = 1;
    while (same < elements.size() && same < elements_per_message && elements[same].set == elements[0].set) ++same;
    write(elements[0].set, elements.first(same), add);
    elements = elements.subspan(same);
  }
}

void NftBatch::write(const std::string& name, std::span<const NftElement> elements, bool add) {
  const auto set = named_set(table_, name);
  for (const auto& element : elements) nftnl_set_elem_add(set.get(), built(element, add));
  // Every change is acknowledged: the last one's answer says that there is no more to read.
  const std::uint16_t flags = NLM_F_ACK | (add ? NLM_F_CREATE : 0);
  auto* header =
      nftnl_nlmsg_build_hdr(room(), add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, table_.family, flags, messages_++);
  nftnl_set_elems_nlmsg_build_payload(header, set.get());
  used_ += aligned(header->nlmsg_len);
}

std::span<const char> NftBatch::finish() {
  used_ += aligned(nftnl_batch_end(room(), messages_)->nlmsg_len);
  const std::span<const char> bytes(buffer_.data(), used_);
  return bytes;
}

Result<NftSocket> NftSocket::open() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  const sockaddr_nl self{.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = 0, .nl_groups = 0};
  if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&self), sizeof self) != 0 ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
    return fail(errno_error(errno, "open nftables", "", ErrorCode::network_unavailable));
  return NftSocket(std::move(fd));
}

Result<NetlinkTraffic> NftSocket::commit(NftBatch& batch) {
  const auto last = batch.last_change();
  if (last == 0) return NetlinkTraffic{};
  const auto bytes = batch.finish();
  // A batch must arrive in one piece; the usual limit is 208 KiB.
  drain(fd_.get());
  const int size = static_cast<int>(bytes.size() * 2);
  if (bytes.size() > std::size_t{64} * 1024) ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  if (::send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) return fail(nft_error(errno, "change nftables", ""));
  int first_error = 0;
  alignas(nlmsghdr) char answer[16 * 1024];
  for (bool done = false; !done;) {
    const auto length = ::recv(fd_.get(), answer, sizeof answer, 0);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return fail(nft_error(errno, "read nftables' answer", ""));
    auto left = static_cast<unsigned>(length);
    for (auto* header = reinterpret_cast<nlmsghdr*>(answer); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type != NLMSG_ERROR) continue;
      const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(header));
      if (error->error != 0 && first_error == 0) first_error = -error->error;
      // Sequence number 0 is the batch itself: refused as a whole.
      if (header->nlmsg_seq == last || header->nlmsg_seq == 0) done = true;
    }
  }
  if (first_error != 0) return fail(nft_error(first_error, "change nftables", ""));
  return batch.traffic();
}

Result<std::vector<NftElement>> NftSocket::elements(const NftTable& table, const std::string& name) {
  const auto set = named_set(table, name);
  char request[1024];
  auto* header = nftnl_nlmsg_build_hdr(request, NFT_MSG_GETSETELEM, table.family, NLM_F_DUMP, 1);
  nftnl_set_nlmsg_build_payload(header, set.get());
  drain(fd_.get());
  if (::send(fd_.get(), request, header->nlmsg_len, 0) < 0) return fail(nft_error(errno, "list nftables set", name));
  const Set read(nftnl_set_alloc());
  std::vector<char> answer(std::size_t{64} * 1024);
  for (bool done = false; !done;) {
    const auto length = ::recv(fd_.get(), answer.data(), answer.size(), 0);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return fail(nft_error(errno, "list nftables set", name));
    auto left = static_cast<unsigned>(length);
    for (auto* part = reinterpret_cast<nlmsghdr*>(answer.data()); NLMSG_OK(part, left); part = NLMSG_NEXT(part, left)) {
      if (part->nlmsg_type == NLMSG_ERROR) {
        const auto number = -static_cast<const nlmsgerr*>(NLMSG_DATA(part))->error;
        return fail(nft_error(number, "list nftables set", name));
      }
      if (part->nlmsg_type == NLMSG_DONE)
        done = true;
      else if (nftnl_set_elems_nlmsg_parse(part, read.get()) < 0)
        return fail(nft_error(errno, "read nftables set", name));
    }
  }
  std::vector<NftElement> found;
  nftnl_set_elem_foreach(read.get(), keep, &found);
  for (auto& element : found) element.set = name;
  return found;
}

}  // namespace nanobox
