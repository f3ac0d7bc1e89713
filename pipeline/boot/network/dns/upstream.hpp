#pragma once

#include <sys/socket.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

/// Where a resolver listens.
struct UpstreamAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
  bool operator==(const UpstreamAddress& other) const;
};

/// Reads an IPv4 or IPv6 address, of link-local ones with their interface ("fe80::1%eth0").
/// @errors invalid_value
Result<UpstreamAddress> parse_upstream(std::string_view address, std::uint16_t port = 53);
/// "192.0.2.1:53", "[2001:db8::1]:53".
std::string to_string(const UpstreamAddress& upstream);

/// The first three `nameserver` lines (resolv.conf(5)) without those in `own`, where we would ask ourselves.
std::vector<UpstreamAddress> parse_nameservers(std::string_view text, std::span<const UpstreamAddress> own);

/// The nameservers of a resolv.conf, read again whenever the file is another or has changed. One thread at a time.
class ResolvConf {
public:
  explicit ResolvConf(std::filesystem::path path, std::vector<UpstreamAddress> own = {})
      : path_(std::move(path)), own_(std::move(own)) {}

  /// While the file is gone or cannot be read: those read last.
  const std::vector<UpstreamAddress>& nameservers();

private:
  std::filesystem::path path_;
  std::vector<UpstreamAddress> own_, nameservers_;
  struct stat seen_ {};
};

}  // namespace nanobox
