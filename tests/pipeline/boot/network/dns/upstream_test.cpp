#include "pipeline/boot/network/dns/upstream.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

using namespace nanobox;

namespace {

std::vector<std::string> texts(const std::vector<UpstreamAddress>& upstreams) {
  std::vector<std::string> found;
  for (const auto& one : upstreams) found.push_back(to_string(one));
  return found;
}

class TemporaryFile {
public:
  TemporaryFile() {
    std::string form = (std::filesystem::temp_directory_path() / "nanobox-resolv-XXXXXX").string();
    ::close(::mkstemp(form.data()));
    path = form;
  }
  ~TemporaryFile() { std::filesystem::remove(path); }
  void write(const std::string& text) const { std::ofstream(path) << text; }

  std::filesystem::path path;
};

}  // namespace

TEST_CASE("addresses of resolvers are read and printed", "[dns]") {
  CHECK(to_string(*parse_upstream("192.0.2.1")) == "192.0.2.1:53");
  CHECK(to_string(*parse_upstream("2001:db8::1", 5353)) == "[2001:db8::1]:5353");
  CHECK(parse_upstream("fe80::1%lo"));
  CHECK(*parse_upstream("192.0.2.1") == *parse_upstream("192.0.2.1"));
  CHECK(*parse_upstream("fe80::1%lo") != *parse_upstream("fe80::1"));
}

TEST_CASE("what is no address is refused", "[dns]") {
  for (const auto* text : {"", "example.com", "192.0.2", "fe80::1%nosuchinterface", "192.0.2.1%lo"}) {
    const auto upstream = parse_upstream(text);
    REQUIRE_FALSE(upstream);
    CHECK(upstream.error().code == ErrorCode::invalid_value);
    CHECK(upstream.error().subject == text);
  }
}

TEST_CASE("a resolv.conf's nameservers are found, the first three", "[dns]") {
  CHECK(
      texts(parse_nameservers("# nameserver 1.1.1.1\n; nameserver 1.1.1.1\nsearch example.com\nnameserver\t192.0.2.1\n"
                              "nameserver 2001:db8::1 # mine\r\nnameserver nonsense\noptions edns0\n"
                              "nameserver 192.0.2.3\nnameserver 192.0.2.4",
                              {})) == std::vector<std::string>{"192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"});
}

TEST_CASE("our own address is no nameserver for us", "[dns]") {
  const std::vector own{*parse_upstream("10.100.0.1")};
  CHECK(texts(parse_nameservers("nameserver 10.100.0.1\nnameserver 192.0.2.1\n", own)) ==
        std::vector<std::string>{"192.0.2.1:53"});
}

TEST_CASE("a resolv.conf is read again when it changes or is replaced", "[dns]") {
  const TemporaryFile file, other;
  file.write("nameserver 192.0.2.1\n");
  ResolvConf conf(file.path);
  CHECK(texts(conf.nameservers()) == std::vector<std::string>{"192.0.2.1:53"});
  file.write("nameserver 192.0.2.22\n");
  CHECK(texts(conf.nameservers()) == std::vector<std::string>{"192.0.2.22:53"});
  other.write("nameserver 192.0.2.33\n");
  std::filesystem::rename(other.path, file.path);
  CHECK(texts(conf.nameservers()) == std::vector<std::string>{"192.0.2.33:53"});
}

TEST_CASE("while a resolv.conf is gone the last nameservers stay", "[dns]") {
  const TemporaryFile file;
  file.write("nameserver 192.0.2.1\n");
  ResolvConf conf(file.path);
  conf.nameservers();
  std::filesystem::remove(file.path);
  CHECK(texts(conf.nameservers()) == std::vector<std::string>{"192.0.2.1:53"});
}
