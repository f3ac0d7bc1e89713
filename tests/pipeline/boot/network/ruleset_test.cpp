#include <catch2/catch.hpp>

#include "pipeline/boot/network/host_ruleset.hpp"
#include "pipeline/boot/network/ipv4_ranges.hpp"
#include "pipeline/boot/network/names.hpp"
#include "pipeline/boot/network/subnet.hpp"
#include "pipeline/boot/network/vm_ruleset.hpp"

namespace nanobox {
namespace {

const Ipv4Subnet subnet{0x0A640000, 16};

Ipv4Subnet cidr(std::string_view text) {
  return parse_cidr(text).value();
}

std::uint32_t address(std::string_view text) {
  return cidr(text).base;
}

TEST_CASE("networks of any length are read", "[network]") {
  CHECK(cidr("0.0.0.0/0") == Ipv4Subnet{0, 0});
  CHECK(cidr("1.2.3.4") == Ipv4Subnet{0x01020304, 32});
  CHECK(cidr("1.2.3.4/32") == Ipv4Subnet{0x01020304, 32});
  CHECK(cidr("128.0.0.0/1") == Ipv4Subnet{0x80000000, 1});
  for (const auto* wrong :
       {"", "/8", "1.2.3/24", "1.2.3.0/33", "1.2.3.0/", "1.2.3.0/-1", "1.2.3.0/8x", "::/0", "a", "1.2.3.4 "}) {
    INFO(wrong);
    const auto read = parse_cidr(wrong);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == ErrorCode::invalid_value);
    CHECK(read.error().subject == wrong);
  }
  CHECK(parse_cidr("10.1.2.3/8").error().mend == "did you mean 10.0.0.0/8?");
}

TEST_CASE("ranges are merged and cut", "[network]") {
  const auto ranges = [](std::initializer_list<std::string_view> texts) {
    std::vector<Ipv4Subnet> prefixes;
    for (const auto text : texts) prefixes.push_back(cidr(text));
    return ranges_of(prefixes);
  };
  CHECK(ranges({}).empty());
  CHECK(ranges({"10.0.1.0/24", "10.0.0.0/24", "10.0.0.7"}) == Ipv4Ranges{{0x0A000000, 0x0A0001ff}});
  CHECK(ranges({"255.255.255.0/24", "0.0.0.0/0", "1.0.0.0/8"}) == Ipv4Ranges{{0, 0xffffffff}});
  CHECK(ranges({"0.0.0.0/1", "128.0.0.0/1"}) == Ipv4Ranges{{0, 0xffffffff}});
  const auto all = ranges({"0.0.0.0/0"});
  CHECK(without(all, all).empty());
  CHECK(without(all, {}) == all);
  CHECK(without(all, ranges({"0.0.0.0", "255.255.255.255"})) == Ipv4Ranges{{1, 0xfffffffe}});
  CHECK(without(ranges({"10.0.0.0/24", "10.0.2.0/24"}), ranges({"10.0.0.128/25", "10.0.1.0/24", "10.0.2.0/25"})) ==
        Ipv4Ranges{{0x0A000000, 0x0A00007f}, {0x0A000280, 0x0A0002ff}});
}

TEST_CASE("a subnet must be free on the host", "[network]") {
  CHECK(sandbox_addresses(subnet) == 65533);
  CHECK(sandbox_addresses({0x0A000000, 30}) == 1);
  const std::vector<RouteInfo> routes{
      {{0, 0}, "eth0", 0}, {{0x0A640500, 24}, "docker0", 0}, {{0xC0A80000, 16}, "eth0", 0}};
  CHECK(check_subnet({0x0A650000, 16}, routes));
  const auto taken = check_subnet(subnet, routes);
  REQUIRE_FALSE(taken);
  CHECK(taken.error().code == ErrorCode::config_invalid);
  CHECK(taken.error().subject == "10.100.0.0/16");
  CHECK(taken.error().reason.find("10.100.5.0/24 on docker0") != std::string::npos);
  CHECK(taken.error().mend.find("10.101.0.0/16") != std::string::npos);
  CHECK_FALSE(check_subnet({0xC0A80A00, 24}, routes));
  CHECK_FALSE(check_subnet({0x0A000000, 8}, {}));
  CHECK_FALSE(check_subnet({0x0A000000, 31}, {}));
}

TEST_CASE("names derive from the bridge", "[network]") {
  const auto standard = network_names("nanobox-br0");
  const auto other = network_names("nanobox-br1");
  CHECK(standard.table == "nanobox");
  CHECK(other.table == "nanobox-nanobox-br1");
  CHECK(standard.link_prefix != other.link_prefix);
  const auto link = vm_link_name(standard, 0xffabcdef);
  CHECK(link.size() == 15);
  CHECK(link.ends_with("-abcdef"));
  CHECK(is_vm_link(standard, link, "veth", standard.group));
  CHECK_FALSE(is_vm_link(standard, link, "veth", 0));
  CHECK_FALSE(is_vm_link(standard, link, "dummy", standard.group));
  CHECK_FALSE(is_vm_link(other, link, "veth", other.group));
}

TEST_CASE("a policy says what is reached", "[network]") {
  const auto isolated = vm_ruleset::reach({}, subnet);
  CHECK(isolated.allowed.empty());
  const auto internal = vm_ruleset::reach({.mode = NetworkMode::internal, .group = 1}, subnet);
  CHECK(internal.allowed == Ipv4Ranges{{0x0A640000, 0x0A640000}, {0x0A640002, 0x0A64ffff}});
  CHECK(contains(internal.denied, address("8.8.8.8")));

  const auto internet = vm_ruleset::reach({.mode = NetworkMode::internet}, subnet);
  for (const auto* open : {"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "172.15.0.1", "172.32.0.1", "192.167.0.1",
                           "223.255.255.255"})
    CHECK(contains(internet.allowed, address(open)));
  for (const auto* closed :
       {"0.0.0.0", "10.0.0.1", "10.100.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1",
        "172.31.255.255", "192.168.1.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"}) {
    INFO(closed);
    CHECK_FALSE(contains(internet.allowed, address(closed)));
    CHECK(contains(internet.denied, address(closed)));
  }
  // A public subnet's siblings are no internet either.
  CHECK_FALSE(
      contains(vm_ruleset::reach({.mode = NetworkMode::internet}, {0x08080000, 16}).allowed, address("8.8.8.8")));

  const auto narrowed = vm_ruleset::reach({.mode = NetworkMode::internet,
                                           .allow_cidrs = {cidr("8.8.8.0/24"), cidr("10.0.0.0/8")},
                                           .deny_cidrs = {cidr("8.8.8.8")}},
                                          subnet);
  CHECK(narrowed.allowed == Ipv4Ranges{{0x08080800, 0x08080807}, {0x08080809, 0x080808ff}});
  CHECK(vm_ruleset::reach({.mode = NetworkMode::internet, .allow_domains = true}, subnet).allowed.empty());
}

TEST_CASE("an interval set's elements", "[network]") {
  const auto elements = nft_intervals("s", {{1, 4}, {0xfffffff0, 0xffffffff}});
  REQUIRE(elements.size() == 3);
  CHECK(elements[0] == NftElement{.set = "s", .key = std::string("\0\0\0\1", 4)});
  CHECK(elements[1] == NftElement{.set = "s", .key = std::string("\0\0\0\5", 4), .interval_end = true});
  CHECK_FALSE(elements[2].interval_end);
}

TEST_CASE("a sandbox's elements on the host, by mode", "[network]") {
  const auto sets = [](NetworkMode mode) {
    std::vector<std::string> names;
    for (const auto& element : host_ruleset::elements({"nb0-1", 0x0A640005, mode, 7}, subnet))
      names.push_back(element.set);
    return names;
  };
  CHECK(sets(NetworkMode::isolated) == std::vector<std::string>{"zones", "leaving"});
  CHECK(sets(NetworkMode::internet) == std::vector<std::string>{"zones", "leaving", "talking", "entering"});
  CHECK(sets(NetworkMode::internal) == std::vector<std::string>{"zones", "leaving", "talking", "groups", "members"});
  // The zone is 1 to 65535 wherever the subnet ends.
  for (const std::uint32_t at : {0U, 1U, 65534U, 65535U, 65536U, 1048574U}) {
    const auto elements = host_ruleset::elements({"nb0-1", 0x0A600000 + at, {}, 0}, {0x0A600000, 12});
    CHECK(elements[0].data != nft_short_number(0));
  }
}

TEST_CASE("what the host's table holds is read back", "[network]") {
  const std::vector<HostAttachment> all{{"nb0-1", 0x0A640005, NetworkMode::isolated, 0},
                                        {"nb0-2", 0x0A640006, NetworkMode::internal, 7},
                                        {"nb0-3", 0x0A640007, NetworkMode::internet, 0}};
  std::vector<NftElement> verdicts, groups;
  for (const auto& attachment : all)
    for (const auto& element : host_ruleset::elements(attachment, subnet)) {
      if (element.set == host_ruleset::verdict_map) verdicts.push_back(element);
      if (element.set == host_ruleset::group_map) groups.push_back(element);
    }
  CHECK(host_ruleset::read(verdicts, groups) == all);
}

TEST_CASE("a change sends what differs", "[network]") {
  const auto names = network_names("nanobox-br0");
  const HostAttachment one{"nb0-1", 0x0A640005, NetworkMode::internal, 7};
  auto other = one;
  other.group = 8;
  const auto messages = [&](const std::optional<HostAttachment>& before, const std::optional<HostAttachment>& after) {
    return host_ruleset::change(names, subnet, before, after).traffic().messages;
  };
  CHECK(messages(std::nullopt, one) == 1 + 5);
  CHECK(messages(one, std::nullopt) == 1 + 5);
  CHECK(messages(one, other) == 1 + 2 + 2);
  CHECK(messages(one, one) == 1);
}

TEST_CASE("the host's table as text", "[network]") {
  const auto names = network_names("br7");
  const auto text = host_ruleset::text(names, subnet, "eth9",
                                       std::vector<HostAttachment>{{"nb0-1", 0x0A640005, NetworkMode::internal, 7}});
  CHECK(text.starts_with("add table inet nanobox-br7\ndelete table inet nanobox-br7\ntable inet nanobox-br7 {"));
  CHECK(text.find('$') == std::string::npos);
  CHECK(text.find("iifname \"" + names.link_prefix + "*\" goto from_sandbox") != std::string::npos);
  CHECK(text.find("ip daddr 10.100.0.1 udp dport 53 accept") != std::string::npos);
  CHECK(text.find("uplinks { \"eth9\" }") != std::string::npos);
  CHECK(text.find("members { 7 . 10.100.0.5 }") != std::string::npos);
  CHECK(host_ruleset::text(names, subnet, "", {}).find("uplinks {  }") == std::string::npos);
  const auto inside = vm_ruleset::text(subnet, {.max_connections = 11, .packets_per_second = 7});
  CHECK(inside.find('$') == std::string::npos);
  CHECK(inside.find("ct count over 11 drop") != std::string::npos);
  CHECK(inside.find("limit rate over 7/second burst 1 packets drop") != std::string::npos);
}

TEST_CASE("the default route's link", "[network]") {
  CHECK(default_route_link({{{0, 0}, "wlan0", 600}, {{0, 0}, "eth0", 100}, {{0x0A000000, 8}, "x", 0}}).value() ==
        "eth0");
  CHECK(default_route_link({{{0x0A000000, 8}, "x", 0}}).error().code == ErrorCode::network_unavailable);
}

}  // namespace
}  // namespace nanobox
