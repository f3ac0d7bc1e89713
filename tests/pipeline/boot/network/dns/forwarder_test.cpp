#include "pipeline/boot/network/dns/forwarder.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <mutex>
#include <stdexcept>

#include "tests/pipeline/boot/network/dns/sockets.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t free_address = 0x7F000002;      // internet, no list
constexpr std::uint32_t listed_address = 0x7F000003;    // internet, www.example.com and *.example.org
constexpr std::uint32_t internal_address = 0x7F000004;  // internal
constexpr std::uint32_t isolated_address = 0x7F000005;
constexpr std::uint32_t unknown_address = 0x7F000009;
constexpr std::uint32_t public_one = 0xCB007105, public_two = 0xCB007106;

struct Allowance {
  std::string client;
  std::vector<AllowedAddress> addresses;
  bool operator==(const Allowance&) const = default;
};

/// A node's forwarder with four sandboxes and two upstreams.
class Node {
public:
  explicit Node(DnsForwarderSettings settings = {}) {
    const auto add = [&](std::uint32_t address, std::string id, DnsClient::Mode mode,
                         std::vector<NamePattern> patterns) {
      const bool narrowed = !patterns.empty();
      clients_[address] = std::make_shared<DnsClient>(DnsClient{
          .id = std::move(id), .mode = mode, .group = "blue", .allow_domains = patterns, .narrowed = narrowed});
    };
    add(free_address, "sb-free", DnsClient::Mode::internet, {});
    add(listed_address, "sb-listed", DnsClient::Mode::internet,
        {*NamePattern::parse("www.example.com"), *NamePattern::parse("*.example.org")});
    add(internal_address, "sb-internal", DnsClient::Mode::internal, {});
    add(isolated_address, "sb-isolated", DnsClient::Mode::isolated, {});
    upstreams = {first.address(), second.address()};
    auto pair = BoundPair::make(INADDR_LOOPBACK);
    port_ = pair.port;
    DnsSockets sockets;
    sockets.udp.push_back(std::move(pair.udp));
    sockets.tcp.push_back(std::move(pair.tcp));
    auto started = DnsForwarder::start(
        std::move(sockets), settings,
        {.find_client = [this](auto address) { return find_client(address); },
         .find_sandbox =
             [](auto id) {
               return id == "sb-other" ? std::optional(NamedSandbox{0x0A640007, "blue"}) : std::nullopt;
             },
         .allow = [this](const auto& client, auto addresses) { return allow(client, addresses); },
         .upstreams =
             [this] {
               const std::lock_guard lock(mutex_);
               return upstreams;
             }});
    REQUIRE(started);
    forwarder = std::move(*started);
  }

  FakeClient client(std::uint32_t address) const { return {address, port_}; }
  std::vector<Allowance> allowed() {
    const std::lock_guard lock(mutex_);
    return allowed_;
  }
  void remove_client(std::uint32_t address) {
    const std::lock_guard lock(mutex_);
    clients_.erase(address);
  }
  void replace_client(std::uint32_t address, DnsClient client) {
    const std::lock_guard lock(mutex_);
    clients_[address] = std::make_shared<DnsClient>(std::move(client));
  }
  void use_upstreams(std::vector<UpstreamAddress> addresses) {
    const std::lock_guard lock(mutex_);
    upstreams = std::move(addresses);
  }
  void do_before_allowing(std::function<Result<void>()> action) {
    const std::lock_guard lock(mutex_);
    before_allowing_ = std::move(action);
  }

  FakeUpstream first, second;
  std::vector<UpstreamAddress> upstreams;

private:
  std::shared_ptr<const DnsClient> find_client(std::uint32_t address) {
    const std::lock_guard lock(mutex_);
    const auto found = clients_.find(address);
    return found == clients_.end() ? nullptr : found->second;
  }
  Result<void> allow(const DnsClient& client, std::span<const AllowedAddress> addresses) {
    const std::lock_guard lock(mutex_);
    if (before_allowing_) NANOBOX_TRY(before_allowing_());
    allowed_.push_back({client.id, {addresses.begin(), addresses.end()}});
    return {};
  }

  std::mutex mutex_;
  std::map<std::uint32_t, std::shared_ptr<const DnsClient>> clients_;
  std::vector<Allowance> allowed_;
  std::function<Result<void>()> before_allowing_;
  std::uint16_t port_ = 0;

public:
  std::unique_ptr<DnsForwarder> forwarder;  // last: its thread uses all the others
};

DnsForwarderSettings waiting_for(std::chrono::milliseconds time) {
  DnsForwarderSettings settings;
  settings.upstream.attempt_timeout = time;
  return settings;
}

DnsForwarderSettings short_idle() {
  DnsForwarderSettings settings;
  settings.tcp.idle = 50ms;
  return settings;
}

/// Shows that the forwarder goes on.
void require_answered(Node& node, std::string name = "alive.example.net") {
  const auto client = node.client(free_address);
  client.send(query_for(name));
  node.first.answer({dns_a_record(name, public_one, 0)});
  REQUIRE(client.receive().answers.size() == 1);
}

}  // namespace

TEST_CASE("a question is answered by the upstream, with the client's id and spelling", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  client.send(query_for("WWW.Example.com"));
  node.first.answer({dns_a_record("www.example.com", public_one, 60)});
  const auto answer = client.receive();
  CHECK(answer.header.id == 0x1234);
  CHECK(answer.header.response);
  CHECK(answer.header.recursion_available);
  CHECK(answer.header.rcode == DnsRcode::no_error);
  CHECK(answer.question.spelling == "WWW.Example.com");
  REQUIRE(answer.answers.size() == 1);
  CHECK(answer.answers[0].ipv4() == public_one);
  CHECK(answer.answers[0].ttl == 60);
  CHECK(node.allowed().empty());
  CHECK(node.forwarder->counts().forwarded == 1);
}

TEST_CASE("that a name does not exist is passed on with its SOA", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  client.send(query_for("no.example.com"));
  const auto asked = node.first.next();
  auto answer = dns_reply(asked.query, DnsRcode::name_error);
  answer.authority.push_back(
      record_of("example.com", DnsType::soa, 60, wire("00 00 00000001 00000002 00000003 00000004 0000003C")));
  node.first.send(asked, answer);
  const auto received = client.receive();
  CHECK(received.header.rcode == DnsRcode::name_error);
  CHECK(received.authority.size() == 1);
}

TEST_CASE("EDNS and DNSSEC wishes go to the upstream, options do not", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  auto query = query_for("example.com");
  query.edns = DnsEdns{.udp_bytes = 4096, .version = 0, .dnssec_ok = true, .extended_error = 15};
  client.send(query);
  const auto asked = node.first.next();
  REQUIRE(asked.query.edns);
  CHECK(asked.query.edns->dnssec_ok);
  CHECK(asked.query.edns->udp_bytes == 1232);
  auto answer = FakeUpstream::answer_to(asked.query, {dns_a_record("example.com", public_one, 60)});
  answer.header.authentic = true;
  node.first.send(asked, answer);
  const auto received = client.receive();
  CHECK(received.header.authentic);
  REQUIRE(received.edns);
  CHECK(received.edns->dnssec_ok);
}

TEST_CASE("a sandbox of the group is answered without an upstream", "[dns]") {
  Node node;
  const auto client = node.client(internal_address);
  client.send(query_for("sb-other.nanobox.internal"));
  const auto answer = client.receive();
  REQUIRE(answer.answers.size() == 1);
  CHECK(answer.answers[0].ipv4() == 0x0A640007);
  client.send(query_for("sb-none.nanobox.internal"));
  CHECK(client.receive().header.rcode == DnsRcode::name_error);
  CHECK(node.forwarder->counts().local == 2);
}

TEST_CASE("what a client may not ask is refused with the reason", "[dns]") {
  Node node;
  for (const auto address : {internal_address, isolated_address, listed_address}) {
    const auto client = node.client(address);
    auto query = query_for("forbidden.com");
    query.edns.emplace();
    client.send(query);
    const auto bytes = client.receive_bytes();
    CHECK(parsed(bytes).header.rcode == DnsRcode::refused);
    CHECK(Bytes(bytes.end() - 6, bytes.end()) == wire("000F 0002 0012"));  // RFC 8914: prohibited
  }
  CHECK(node.forwarder->counts().refused == 3);
}

TEST_CASE("AAAA is empty, without asking", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  client.send(query_for("example.com", DnsType::aaaa));
  const auto answer = client.receive();
  CHECK(answer.header.rcode == DnsRcode::no_error);
  CHECK(answer.answers.empty());
}

TEST_CASE("who is no client gets no answer", "[dns]") {
  Node node;
  const auto stranger = node.client(unknown_address);
  stranger.send(query_for("example.com"));
  CHECK(stranger.connect().is_ended());
  require_answered(node);
  CHECK(stranger.has_nothing());
  CHECK(node.forwarder->counts().unknown == 1);
}

TEST_CASE("an allowed name's addresses are allowed before the client knows them", "[dns]") {
  Node node;
  const auto client = node.client(listed_address);
  bool answered_before = false;
  node.do_before_allowing([&]() -> Result<void> {
    answered_before = !client.has_nothing();
    return {};
  });
  client.send(query_for("www.example.com"));
  node.first.answer({cname("www.example.com", "a.cdn.net", 30), dns_a_record("a.cdn.net", public_one, 300),
                     dns_a_record("elsewhere.com", public_two, 300)});
  const auto answer = client.receive();
  CHECK(answer.answers.size() == 2);
  CHECK_FALSE(answered_before);
  CHECK(node.allowed() == std::vector<Allowance>{{"sb-listed", {{public_one, 30s}}}});
}

TEST_CASE("addresses that could not be allowed are not told", "[dns]") {
  Node node;
  const auto client = node.client(listed_address);
  node.do_before_allowing([]() -> Result<void> { return fail(errno_error(EIO, "allow", "")); });
  client.send(query_for("www.example.com"));
  node.first.answer({dns_a_record("www.example.com", public_one, 300)});
  const auto failed = client.receive();
  CHECK(failed.header.rcode == DnsRcode::server_failure);
  CHECK(failed.answers.empty());
  node.do_before_allowing([]() -> Result<void> { throw std::runtime_error("no"); });
  client.send(query_for("www.example.com"));
  CHECK(client.receive().header.rcode == DnsRcode::server_failure);
}

TEST_CASE("an answer that changes allows the new addresses, and one from memory its rest of time", "[dns]") {
  Node node;
  const auto client = node.client(listed_address);
  client.send(query_for("www.example.com"));
  node.first.answer({dns_a_record("www.example.com", public_one, 0)});
  CHECK(client.receive().answers.at(0).ipv4() == public_one);
  client.send(query_for("www.example.com"));
  node.first.answer({dns_a_record("www.example.com", public_two, 3600)});
  CHECK(client.receive().answers.at(0).ipv4() == public_two);
  client.send(query_for("www.example.com"));
  CHECK(client.receive().answers.at(0).ipv4() == public_two);
  const auto allowed = node.allowed();
  REQUIRE(allowed.size() == 3);
  CHECK(allowed[0] == Allowance{"sb-listed", {{public_one, 5s}}});
  CHECK(allowed[1] == Allowance{"sb-listed", {{public_two, 3600s}}});
  CHECK(allowed[2].addresses.at(0).address == public_two);
  CHECK(allowed[2].addresses.at(0).ttl <= 3600s);
  CHECK(node.forwarder->counts().cached == 1);
}

TEST_CASE("a public name with a private address is refused", "[dns]") {
  Node node;
  for (const auto address : {free_address, listed_address}) {
    const auto client = node.client(address);
    client.send(query_for("www.example.com"));
    if (address == free_address)
      node.first.answer({cname("www.example.com", "x.com", 60), dns_a_record("x.com", public_one, 60),
                         dns_a_record("x.com", 0xA9FEA9FE, 60)});
    const auto answer = client.receive();
    CHECK(answer.header.rcode == DnsRcode::refused);
    CHECK(answer.answers.empty());
  }
  CHECK(node.allowed().empty());
  CHECK(node.forwarder->counts().rebinding == 2);
}

TEST_CASE("clients that ask the same at the same time share the question, not what is decided", "[dns]") {
  Node node;
  const auto listed = node.client(listed_address);
  const auto free = node.client(free_address);
  listed.send(query_for("www.example.com"));
  const auto asked = node.first.next();
  free.send(query_for("www.example.com"));
  const auto isolated = node.client(isolated_address);
  isolated.send(query_for("www.example.com"));
  CHECK(isolated.receive().header.rcode == DnsRcode::refused);  // so the one before was taken, too
  node.first.send(asked, FakeUpstream::answer_to(asked.query, {dns_a_record("www.example.com", public_one, 60)}));
  CHECK(listed.receive().answers.size() == 1);
  CHECK(free.receive().answers.size() == 1);
  CHECK(node.allowed() == std::vector<Allowance>{{"sb-listed", {{public_one, 60s}}}});
}

TEST_CASE("a client that went while its question was under way is not answered", "[dns]") {
  Node node;
  const auto client = node.client(listed_address);
  client.send(query_for("www.example.com"));
  const auto asked = node.first.next();
  node.remove_client(listed_address);
  node.first.send(asked, FakeUpstream::answer_to(asked.query, {dns_a_record("www.example.com", public_one, 60)}));
  require_answered(node);
  CHECK(client.has_nothing());
  CHECK(node.allowed().empty());
}

TEST_CASE("a sandbox does not get the answer of the one that had its address", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  client.send(query_for("www.example.com"));
  const auto asked = node.first.next();
  node.replace_client(
      free_address,
      {.id = "sb-next", .mode = DnsClient::Mode::internet, .group = "red", .allow_domains = {}, .narrowed = false});
  node.first.send(asked, FakeUpstream::answer_to(asked.query, {dns_a_record("www.example.com", public_one, 60)}));
  client.send(query_for("other.com"));
  node.first.answer({dns_a_record("other.com", public_two, 60)});
  CHECK(client.receive().question.name == "other.com");
}

TEST_CASE("a list that changed while the question was under way counts", "[dns]") {
  Node node;
  const auto client = node.client(listed_address);
  client.send(query_for("www.example.com"));
  const auto asked = node.first.next();
  node.replace_client(listed_address, {.id = "sb-listed",
                                       .mode = DnsClient::Mode::internet,
                                       .group = "blue",
                                       .allow_domains = {*NamePattern::parse("other.com")},
                                       .narrowed = true});
  node.first.send(asked, FakeUpstream::answer_to(asked.query, {dns_a_record("www.example.com", public_one, 60)}));
  CHECK(client.receive().header.rcode == DnsRcode::refused);
  CHECK(node.allowed().empty());
}

TEST_CASE("answers with another id or to another question are passed over", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  client.send(query_for("www.example.com"));
  const auto asked = node.first.next();
  const auto right = FakeUpstream::answer_to(asked.query, {dns_a_record("www.example.com", public_one, 60)});
  auto wrong = FakeUpstream::answer_to(asked.query, {dns_a_record("www.example.com", public_two, 60)});
  wrong.header.id ^= 1;
  node.first.send(asked, wrong);
  wrong = FakeUpstream::answer_to(query_for("evil.com"), {dns_a_record("evil.com", public_two, 60)});
  wrong.header.id = asked.query.header.id;
  node.first.send(asked, wrong);
  wrong = right;
  wrong.header.response = false;
  node.first.send(asked, wrong);
  node.first.send(asked, right);
  CHECK(client.receive().answers.at(0).ipv4() == public_one);
}

TEST_CASE("answers from elsewhere are passed over", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  client.send(query_for("www.example.com"));
  const auto asked = node.first.next();
  const auto spoofer = bound_socket(SOCK_DGRAM, INADDR_LOOPBACK);
  FakeUpstream::send_from(spoofer, asked,
                          FakeUpstream::answer_to(asked.query, {dns_a_record("www.example.com", public_two, 60)}));
  node.first.send(asked, FakeUpstream::answer_to(asked.query, {dns_a_record("www.example.com", public_one, 60)}));
  CHECK(client.receive().answers.at(0).ipv4() == public_one);
}

TEST_CASE("every question has its own port and id", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  client.send(query_for("a.com"));
  client.send(query_for("b.com"));
  const auto one = node.first.next(), other = node.first.next();
  CHECK(one.from.sin_port != other.from.sin_port);
  // Equal by chance once in 65536.
  client.send(query_for("c.com"));
  const auto third = node.first.next();
  CHECK((one.query.header.id != other.query.header.id || other.query.header.id != third.query.header.id));
}

TEST_CASE("who seems to be guessed at asks over TCP", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  client.send(query_for("www.example.com"));
  const auto asked = node.first.next();
  auto wrong = FakeUpstream::answer_to(asked.query, {dns_a_record("www.example.com", public_two, 60)});
  for (int i = 0; i < 8; ++i) {
    ++wrong.header.id;
    node.first.send(asked, wrong);
  }
  const auto connection = node.first.next_connection();
  connection.send(FakeUpstream::answer_to(connection.receive(), {dns_a_record("www.example.com", public_one, 60)}));
  CHECK(client.receive().answers.at(0).ipv4() == public_one);
}

TEST_CASE("an upstream that does not keep a name's case is asked over TCP", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  const std::string name = "a-name-with-so-many-letters-that-they-are-never-all-small.example.com";
  client.send(query_for(name));
  auto asked = node.first.next();
  CHECK(asked.query.question.spelling != name);
  asked.query.question.spelling = name;
  node.first.send(asked, FakeUpstream::answer_to(asked.query, {dns_a_record(name, public_two, 60)}));
  const auto connection = node.first.next_connection();
  auto query = connection.receive();
  query.question.spelling = name;
  connection.send(FakeUpstream::answer_to(query, {dns_a_record(name, public_one, 60)}));
  CHECK(client.receive().answers.at(0).ipv4() == public_one);
}

TEST_CASE("a truncated answer is asked for over TCP, in whatever pieces it comes", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  client.send(query_for("www.example.com"));
  const auto asked = node.first.next();
  auto truncated = dns_reply(asked.query, DnsRcode::no_error);
  truncated.header.truncated = true;
  node.first.send(asked, truncated);
  const auto connection = node.first.next_connection();
  std::vector<DnsRecord> records;
  for (std::uint32_t i = 0; i < 64; ++i) records.push_back(dns_a_record("www.example.com", public_one + i, 60));
  const auto bytes = Stream::framed(write_dns_message(FakeUpstream::answer_to(connection.receive(), records)));
  connection.send_bytes(std::span(bytes).first(1));
  connection.send_bytes(std::span(bytes).subspan(1, 100));
  connection.send_bytes(std::span(bytes).subspan(101));
  const auto over_udp = client.receive();
  CHECK(over_udp.header.truncated);
  CHECK(over_udp.answers.empty());
  const auto stream = client.connect();
  stream.send(query_for("www.example.com"));
  const auto over_tcp = stream.receive();
  CHECK_FALSE(over_tcp.header.truncated);
  CHECK(over_tcp.answers.size() == 64);
}

TEST_CASE("a silent upstream's question goes to the second, which is then asked first", "[dns]") {
  Node node(waiting_for(500ms));
  const auto client = node.client(free_address);
  client.send(query_for("a.com"));
  CHECK(node.first.next().query.question.name == "a.com");
  node.second.answer({dns_a_record("a.com", public_one, 60)});
  CHECK(client.receive().answers.size() == 1);
  client.send(query_for("b.com"));
  node.second.answer({dns_a_record("b.com", public_one, 60)});
  CHECK(client.receive().question.name == "b.com");
}

TEST_CASE("an upstream that is not there costs no time", "[dns]") {
  Node node(waiting_for(1h));
  const auto closed = [] { return port_of(bound_socket(SOCK_DGRAM, INADDR_LOOPBACK)); }();
  node.use_upstreams({*parse_upstream("127.0.0.1", closed), node.second.address()});
  const auto client = node.client(free_address);
  client.send(query_for("a.com"));
  node.second.answer({dns_a_record("a.com", public_one, 60)});
  CHECK(client.receive().answers.size() == 1);
}

TEST_CASE("when no upstream answers, the client learns of it", "[dns]") {
  Node node(waiting_for(10ms));
  const auto client = node.client(free_address);
  client.send(query_for("a.com"));
  CHECK(client.receive().header.rcode == DnsRcode::server_failure);
  node.use_upstreams({});
  client.send(query_for("b.com"));
  CHECK(client.receive().header.rcode == DnsRcode::server_failure);
  CHECK(node.forwarder->counts().failed == 2);
}

TEST_CASE("an upstream that fails is passed over for the second, and if that fails too the client learns of it",
          "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  const auto fail_at = [](const FakeUpstream& upstream, DnsRcode rcode) {
    const auto asked = upstream.next();
    upstream.send(asked, dns_reply(asked.query, rcode));
  };
  client.send(query_for("a.com"));
  fail_at(node.first, DnsRcode::server_failure);
  node.second.answer({dns_a_record("a.com", public_one, 60)});
  CHECK(client.receive().answers.size() == 1);
  client.send(query_for("b.com"));
  fail_at(node.second, DnsRcode::server_failure);
  fail_at(node.first, DnsRcode::refused);
  CHECK(client.receive().header.rcode == DnsRcode::server_failure);
}

TEST_CASE("an upstream from before EDNS is asked again without", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  client.send(query_for("a.com"));
  auto asked = node.first.next();
  REQUIRE(asked.query.edns);
  node.first.send(asked, dns_reply(asked.query, DnsRcode::format_error));
  asked = node.first.next();
  CHECK_FALSE(asked.query.edns);
  node.first.send(asked, FakeUpstream::answer_to(asked.query, {dns_a_record("a.com", public_one, 60)}));
  CHECK(client.receive().answers.size() == 1);
}

TEST_CASE("a client that floods is refused, another is answered", "[dns]") {
  DnsForwarderSettings settings;
  settings.queries_per_client = 4;
  Node node(settings);
  const auto flood = node.client(listed_address);
  for (int i = 0; i < 10; ++i) flood.send(query_for(std::to_string(i) + ".example.org"));
  for (int i = 0; i < 6; ++i) CHECK(flood.receive().header.rcode == DnsRcode::refused);
  for (int i = 0; i < 4; ++i) node.first.next();
  require_answered(node);
  CHECK(flood.has_nothing());
  CHECK(node.forwarder->counts().overloaded == 6);
}

TEST_CASE("a client that has taken all places gives one up to another", "[dns]") {
  DnsForwarderSettings settings;
  settings.queries = settings.queries_per_client = 4;
  Node node(settings);
  const auto flood = node.client(listed_address);
  for (int i = 0; i < 4; ++i) flood.send(query_for(std::to_string(i) + ".example.org"));
  for (int i = 0; i < 4; ++i) node.first.next();
  require_answered(node);
  CHECK(flood.receive().header.rcode == DnsRcode::refused);
  CHECK(flood.has_nothing());
}

TEST_CASE("a client that asks too fast is passed over, another is answered", "[dns]") {
  DnsForwarderSettings settings;
  settings.queries_per_second = 0.0001;
  settings.burst = 3;
  Node node(settings);
  const auto flood = node.client(internal_address);
  for (int i = 0; i < 5; ++i) flood.send(query_for("sb-other.nanobox.internal"));
  for (int i = 0; i < 3; ++i) CHECK(flood.receive().answers.size() == 1);
  require_answered(node);
  CHECK(flood.has_nothing());
  CHECK(node.forwarder->counts().rate_limited == 2);
}

TEST_CASE("what cannot be read is answered so, or not at all, and harms nobody", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  client.send_bytes(wire("1234"));
  client.send_bytes(Bytes(5000, std::byte{1}));
  client.send_bytes(wire("1234 8100 0001 0000 0000 0000 01'a' 00 0001 0001"));  // an answer
  client.send_bytes(wire("0001 0100 0001 0000 0000 0000 C00C 0001 0001"));
  client.send_bytes(wire("0002 0100 0002 0000 0000 0000 01'a' 00 0001 0001 01'b' 00 0001 0001"));
  client.send_bytes(wire("0003 0100 0001 0001 0000 0000 01'a' 00 0001 0001 C00C 0001 0001 00000001 0004 01020304"));
  client.send_bytes(wire("0004 2000 0001 0000 0000 0000 01'a' 00 0001 0001"));
  client.send_bytes(wire("0005 0100 0001 0000 0000 0001 01'a' 00 0001 0001 00 0029 1000 00 01 0000 0000"));
  CHECK(client.receive_bytes() == wire("0001 8181 0000 0000 0000 0000"));
  CHECK(client.receive_bytes() == wire("0002 8181 0000 0000 0000 0000"));
  CHECK(client.receive_bytes() == wire("0003 8181 0000 0000 0000 0000"));
  CHECK(client.receive_bytes() == wire("0004 A084 0000 0000 0000 0000"));
  CHECK(client.receive().header.rcode == DnsRcode::bad_version);
  require_answered(node);
  CHECK(client.has_nothing());
  CHECK(node.forwarder->counts().malformed == 8);
}

TEST_CASE("questions over TCP are answered, several on one connection, in pieces", "[dns]") {
  Node node;
  const auto stream = node.client(internal_address).connect();
  const auto one = Stream::framed(write_dns_message(query_for("sb-other.nanobox.internal")));
  for (const auto& piece : one) stream.send_bytes(std::span(&piece, 1));
  CHECK(stream.receive().answers.size() == 1);
  Bytes many;
  for (int i = 0; i < 50; ++i) many = many + one;
  stream.send_bytes(many);
  for (int i = 0; i < 50; ++i) REQUIRE(stream.receive().answers.size() == 1);
}

TEST_CASE("more questions on one connection than may wait are taken as answers go", "[dns]") {
  Node node;
  const auto stream = node.client(free_address).connect();
  Bytes many;
  for (int i = 0; i < 20; ++i) many = many + Stream::framed(write_dns_message(query_for(std::to_string(i) + ".com")));
  stream.send_bytes(many);
  for (int i = 0; i < 20; ++i) node.first.answer({dns_a_record(std::to_string(i) + ".com", public_one, 60)});
  for (int i = 0; i < 20; ++i) REQUIRE(stream.receive().answers.size() == 1);
}

TEST_CASE("a client that ends its side still gets its answer", "[dns]") {
  Node node;
  const auto stream = node.client(free_address).connect();
  stream.send(query_for("a.com"));
  REQUIRE(::shutdown(stream.socket.get(), SHUT_WR) == 0);
  node.first.answer({dns_a_record("a.com", public_one, 60)});
  CHECK(stream.receive().answers.size() == 1);
  CHECK(stream.is_ended());
}

TEST_CASE("a connection whose client sends a length and nothing else is ended, others are served", "[dns]") {
  Node node(short_idle());
  const auto stream = node.client(internal_address).connect();
  stream.send_bytes(wire("0040"));
  require_answered(node);
  CHECK(stream.is_ended());
}

TEST_CASE("a connection is not idle while its question is under way", "[dns]") {
  Node node(short_idle());
  const auto stream = node.client(free_address).connect();
  stream.send(query_for("slow.com"));
  const auto asked = node.first.next();
  const auto idle = node.client(internal_address).connect();
  CHECK(idle.is_ended());  // so that much time has passed
  node.first.send(asked, FakeUpstream::answer_to(asked.query, {dns_a_record("slow.com", public_one, 60)}));
  CHECK(stream.receive().answers.size() == 1);
}

TEST_CASE("a connection with a question longer than any is ended", "[dns]") {
  Node node;
  const auto stream = node.client(free_address).connect();
  stream.send_bytes(wire("FFFF"));
  CHECK(stream.is_ended());
}

TEST_CASE("a client has so many connections and no more", "[dns]") {
  DnsForwarderSettings settings;
  settings.tcp.connections_per_client = 2;
  Node node(settings);
  const auto client = node.client(internal_address);
  const auto one = client.connect(), two = client.connect(), three = client.connect();
  CHECK(three.is_ended());
  two.send(query_for("sb-other.nanobox.internal"));
  CHECK(two.receive().answers.size() == 1);
}

TEST_CASE("a client that has taken all connections loses its oldest to another", "[dns]") {
  DnsForwarderSettings settings;
  settings.tcp.connections = settings.tcp.connections_per_client = 2;
  Node node(settings);
  const auto one = node.client(listed_address).connect(), two = node.client(listed_address).connect();
  const auto other = node.client(internal_address).connect();
  other.send(query_for("sb-other.nanobox.internal"));
  CHECK(other.receive().answers.size() == 1);
  CHECK(one.is_ended());
}

TEST_CASE("a connection whose client does not read is ended, others are served", "[dns]") {
  auto settings = short_idle();
  settings.queries_per_second = settings.burst = 1e9;
  Node node(settings);
  const auto client = node.client(free_address);
  client.send(query_for("large.com", DnsType::txt));
  auto asked = node.first.next();
  auto truncated = dns_reply(asked.query, DnsRcode::no_error);
  truncated.header.truncated = true;
  node.first.send(asked, truncated);
  const auto upstream = node.first.next_connection();
  upstream.send(FakeUpstream::answer_to(upstream.receive(), {record_of("large.com", DnsType::txt, 3600, Bytes(3500))}));
  CHECK(client.receive().header.truncated);

  const auto stream = client.connect();
  const auto question = Stream::framed(write_dns_message(query_for("large.com", DnsType::txt)));
  while (::send(stream.socket.get(), question.data(), question.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
  }
  require_answered(node);
  pollfd ended{.fd = stream.socket.get(), .events = 0, .revents = 0};
  CHECK(::poll(&ended, 1, 60'000) == 1);
}

TEST_CASE("a rate that is exceeded over TCP ends the connection", "[dns]") {
  DnsForwarderSettings settings;
  settings.queries_per_second = 0.0001;
  settings.burst = 1;
  Node node(settings);
  const auto stream = node.client(internal_address).connect();
  stream.send(query_for("sb-other.nanobox.internal"));
  CHECK(stream.receive().answers.size() == 1);
  stream.send(query_for("sb-other.nanobox.internal"));
  CHECK(stream.is_ended());
}

TEST_CASE("a forwarder that is destroyed ends at once, whatever is under way", "[dns]") {
  Node node;
  const auto client = node.client(free_address);
  const auto stream = client.connect();
  stream.send(query_for("a.com"));
  client.send(query_for("b.com"));
  node.first.next();
  node.first.next();
  node.forwarder.reset();
  CHECK(stream.is_ended());
}
