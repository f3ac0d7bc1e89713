#include "config/ipv4_subnet.hpp"

#include <arpa/inet.h>

#include <charconv>

namespace nanobox {
namespace {

tl::unexpected<Error> refuse(std::string_view text, std::string reason, std::string mend) {
  return fail({.code = ErrorCode::config_invalid,
               .attempted = "read network",
               .subject = std::string(text),
               .reason = std::move(reason),
               .mend = std::move(mend)});
}

}  // namespace

Result<Ipv4Subnet> parse_subnet(std::string_view text) {
  const std::string example = "write an IPv4 network such as 10.100.0.0/16";
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return refuse(text, "it has no prefix length", example);
  const auto address = parse_ipv4(text.substr(0, slash));
  if (!address) return refuse(text, "it is no IPv4 address", example);
  const auto digits = text.substr(slash + 1);
  Ipv4Subnet subnet;
  const auto [end, wrong] = std::from_chars(digits.data(), digits.data() + digits.size(), subnet.prefix);
  if (wrong != std::errc{} || end != digits.data() + digits.size() || subnet.prefix < 8 || subnet.prefix > 30)
    return refuse(text, "the prefix length must be 8 to 30", example);
  subnet.base = *address;
  if ((subnet.base & ~subnet.mask()) != 0) {
    subnet.base &= subnet.mask();
    return refuse(text, "bits are set behind the prefix", "did you mean " + to_string(subnet) + "?");
  }
  return subnet;
}

std::string to_string(const Ipv4Subnet& subnet) {
  return ipv4_text(subnet.base) + "/" + std::to_string(subnet.prefix);
}

std::string ipv4_text(std::uint32_t address) {
  const in_addr network{htonl(address)};
  char text[INET_ADDRSTRLEN];
  return ::inet_ntop(AF_INET, &network, text, sizeof text);
}

std::optional<std::uint32_t> parse_ipv4(std::string_view text) {
  in_addr address;
  if (::inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

std::string first_address(const Ipv4Subnet& subnet) {
  return ipv4_text(subnet.base + 1);
}

std::vector<Ipv4Subnet> parts_of(const Ipv4Subnet& subnet) {
  constexpr std::uint8_t smallest = 30;
  const auto prefix = static_cast<std::uint8_t>(subnet.prefix <= 20 ? 24 : subnet.prefix + 4);
  std::vector<Ipv4Subnet> parts;
  if (prefix > smallest) return parts;
  const std::uint32_t each = std::uint32_t{1} << (32 - prefix);
  for (std::uint32_t i = 0; i < std::uint32_t{1} << (prefix - subnet.prefix); ++i)
    parts.push_back({subnet.base + i * each, prefix});
  return parts;
}

}  // namespace nanobox
