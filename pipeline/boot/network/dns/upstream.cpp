#include "pipeline/boot/network/dns/upstream.hpp"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "config/ipv4_subnet.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kNameserversMax = 3;
constexpr std::size_t kFileMax = 64 << 10;

template <class Address>
UpstreamAddress upstream_of(const Address& address) {
  UpstreamAddress upstream;
  std::memcpy(&upstream.storage, &address, sizeof address);
  upstream.length = sizeof address;
  return upstream;
}

template <class Address>
Address socket_address(const UpstreamAddress& upstream) {
  Address address;
  std::memcpy(&address, &upstream.storage, sizeof address);
  return address;
}

bool is_same_file(const struct stat& one, const struct stat& other) {
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino && one.st_size == other.st_size &&
         one.st_mtim.tv_sec == other.st_mtim.tv_sec && one.st_mtim.tv_nsec == other.st_mtim.tv_nsec &&
         one.st_ctim.tv_sec == other.st_ctim.tv_sec && one.st_ctim.tv_nsec == other.st_ctim.tv_nsec;
}

}  // namespace

bool UpstreamAddress::operator==(const UpstreamAddress& other) const {
  if (storage.ss_family != other.storage.ss_family) return false;
  if (storage.ss_family == AF_INET) {
    const auto a = socket_address<sockaddr_in>(*this), b = socket_address<sockaddr_in>(other);
    return a.sin_port == b.sin_port && a.sin_addr.s_addr == b.sin_addr.s_addr;
  }
  const auto a = socket_address<sockaddr_in6>(*this), b = socket_address<sockaddr_in6>(other);
  return a.sin6_port == b.sin6_port && a.sin6_scope_id == b.sin6_scope_id &&
         std::memcmp(&a.sin6_addr, &b.sin6_addr, sizeof a.sin6_addr) == 0;
}

Result<UpstreamAddress> parse_upstream(std::string_view address, std::uint16_t port) {
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(port);
  if (::inet_pton(AF_INET, std::string(address).c_str(), &four.sin_addr) == 1) return upstream_of(four);
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  const auto percent = std::min(address.find('%'), address.size());
  const std::string scope(address.substr(std::min(percent + 1, address.size())));
  if (!scope.empty()) six.sin6_scope_id = ::if_nametoindex(scope.c_str());
  if (::inet_pton(AF_INET6, std::string(address.substr(0, percent)).c_str(), &six.sin6_addr) == 1 &&
      (scope.empty() || six.sin6_scope_id != 0))
    return upstream_of(six);
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "read resolver address",
               .subject = std::string(address),
               .reason = "it is no IP address",
               .mend = "write an address such as 192.0.2.1"});
}

std::string to_string(const UpstreamAddress& upstream) {
  if (upstream.storage.ss_family == AF_INET) {
    const auto four = socket_address<sockaddr_in>(upstream);
    return ipv4_text(ntohl(four.sin_addr.s_addr)) + ":" + std::to_string(ntohs(four.sin_port));
  }
  const auto six = socket_address<sockaddr_in6>(upstream);
  char text[INET6_ADDRSTRLEN];
  ::inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text);
  return "[" + std::string(text) + "]:" + std::to_string(ntohs(six.sin6_port));
}

std::vector<UpstreamAddress> parse_nameservers(std::string_view text, std::span<const UpstreamAddress> own) {
  std::vector<UpstreamAddress> found;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line) && found.size() < kNameserversMax;) {
    std::istringstream words(line);
    std::string keyword, address;
    if (!(words >> keyword >> address) || keyword != "nameserver") continue;
    const auto upstream = parse_upstream(address);
    if (upstream && std::ranges::find(own, *upstream) == own.end()) found.push_back(*upstream);
  }
  return found;
}

const std::vector<UpstreamAddress>& ResolvConf::nameservers() {
  struct stat now {};
  if (::stat(path_.c_str(), &now) != 0 || is_same_file(now, seen_)) return nameservers_;
  std::ifstream file(path_, std::ios::binary);
  std::string text(kFileMax, '\0');
  file.read(text.data(), kFileMax);
  if (!file.is_open() || file.bad()) return nameservers_;
  text.resize(static_cast<std::size_t>(file.gcount()));
  nameservers_ = parse_nameservers(text, own_);
  seen_ = now;
  return nameservers_;
}

}  // namespace nanobox
