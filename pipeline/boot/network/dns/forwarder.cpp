#include "pipeline/boot/network/dns/forwarder.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <type_traits>
#include <variant>

#include "pipeline/boot/network/dns/answer_cache.hpp"
#include "pipeline/boot/network/dns/event_loop.hpp"
#include "pipeline/boot/network/dns/fair_share.hpp"
#include "pipeline/boot/network/dns/message.hpp"
#include "pipeline/boot/network/dns/rate_limit.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kUdpQueryMax = 4096;
constexpr int kUdpAtOnce = 64;  // then others get their turn
constexpr std::size_t kUdpPlain = 512;
constexpr std::size_t kUdpEdnsMax = 1232;
constexpr std::uint32_t kSandboxTtl = 1;  // its address may be another's soon

// RFC 8914 section 4.
constexpr std::uint16_t kBlocked = 15;
constexpr std::uint16_t kProhibited = 18;
constexpr std::uint16_t kNetworkError = 23;

struct ByUdp {
  int socket;
  sockaddr_in to;
};
struct ByTcp {
  std::uint64_t connection;
};
using ReplyTo = std::variant<ByUdp, ByTcp>;

/// A client's question that waits for its answer.
struct Waiter {
  std::uint32_t address;
  std::string client_id;
  ReplyTo reply_to;
  DnsMessage query;
};

/// One question under way, and all who want to know.
struct Flight {
  std::list<Waiter> waiters;
  std::unique_ptr<UpstreamQuery> query;
};

DnsKey key_of(const DnsClient& client, const DnsMessage& query) {
  return {client.group, query.question.name, query.question.type, query.edns && query.edns->dnssec_ok,
          query.header.checking_disabled};
}

Result<void> make_nonblocking(int socket) {
  const int flags = ::fcntl(socket, F_GETFL);
  if (flags < 0 || ::fcntl(socket, F_SETFL, flags | O_NONBLOCK) != 0)
    return fail(errno_error(errno, "start the DNS forwarder", "socket"));
  return {};
}

/// What `call` returns; a value-less one if it throws.
template <class Call>
auto or_nothing(const Call& call) noexcept -> std::invoke_result_t<Call> {
  try {
    return call();
  } catch (...) {
    return {};
  }
}

}  // namespace

class DnsForwarder::Server {
public:
  Server(std::unique_ptr<EventLoop> loop, const DnsForwarderSettings& settings, DnsCallbacks callbacks)
      : loop_(std::move(loop)),
        settings_(settings),
        callbacks_(std::move(callbacks)),
        share_(settings.queries, settings.queries_per_client),
        rate_(settings.queries_per_second, settings.burst),
        cache_(settings.cache_entries, settings.policy.ttl_max, settings.negative_ttl_max),
        tcp_(
            *loop_, settings.tcp, [this](std::uint32_t address) { return find_client(address) != nullptr; },
            [this](std::uint64_t connection, std::uint32_t client, std::vector<std::byte> message) {
              take(message, client, ByTcp{connection});
            }) {}

  ~Server() {
    loop_->stop();
    if (thread_.joinable()) thread_.join();
  }

  Result<void> start(DnsSockets sockets) {
    for (auto& socket : sockets.udp) NANOBOX_TRY(serve_udp(std::move(socket)));
    for (auto& socket : sockets.tcp) {
      NANOBOX_TRY(make_nonblocking(socket.get()));
      NANOBOX_TRY(tcp_.listen(std::move(socket)));
    }
    try {
      thread_ = std::thread([this] { loop_->run(); });
    } catch (const std::system_error& error) {
      return fail(errno_error(error.code().value(), "start the DNS forwarder", "thread"));
    }
    return {};
  }

  DnsCounts counts() const {
    const std::lock_guard lock(counts_mutex_);
    return counts_;
  }

private:
  struct UdpSocket {
    UniqueFd socket;
    LoopWatch watch;
  };

  Result<void> serve_udp(UniqueFd socket) {
    NANOBOX_TRY(make_nonblocking(socket.get()));
    auto watch = NANOBOX_TRY(loop_->watch(socket.get(), EPOLLIN, [this, fd = socket.get()](auto) { read_udp(fd); }));
    udp_.push_back({std::move(socket), std::move(watch)});
    return {};
  }

  void read_udp(int socket) {
    for (int i = 0; i < kUdpAtOnce; ++i) {
      std::array<std::byte, kUdpQueryMax> bytes;
      sockaddr_in from{};
      socklen_t length = sizeof from;
      const auto count =
          ::recvfrom(socket, bytes.data(), bytes.size(), MSG_TRUNC, reinterpret_cast<sockaddr*>(&from), &length);
      if (count < 0) return;
      if (from.sin_family != AF_INET) continue;
      const auto size = static_cast<std::size_t>(count);
      if (size > bytes.size()) {
        count_one(&DnsCounts::malformed);
        continue;
      }
      take(std::span(bytes).first(size), ntohl(from.sin_addr.s_addr), ByUdp{socket, from});
    }
  }

  /// Answers, or asks upstream; a message over TCP that gets no answer ends its connection.
  void take(std::span<const std::byte> bytes, std::uint32_t address, const ReplyTo& reply_to) {
    const auto client = find_client(address);
    if (!client) return drop(reply_to, &DnsCounts::unknown);
    if (!rate_.take(address, now())) return drop(reply_to, &DnsCounts::rate_limited);
    const auto header = parse_dns_header(bytes);
    // Answering an answer could go on for ever.
    if (!header || header->response) return drop(reply_to, &DnsCounts::malformed);
    if (header->opcode != 0) return object(reply_to, *header, DnsRcode::not_implemented);
    auto query = parse_dns_message(bytes);
    if (!query || !query->answers.empty() || !query->authority.empty())
      return object(reply_to, *header, DnsRcode::format_error);
    query->header.rcode = DnsRcode::no_error;
    if (query->edns && query->edns->version != 0) {
      count_one(&DnsCounts::malformed);
      return reply(reply_to, *query, dns_reply(*query, DnsRcode::bad_version));
    }
    count_one(&DnsCounts::queries);
    answer(client, {address, client->id, reply_to, std::move(*query)});
  }

  void answer(const std::shared_ptr<const DnsClient>& client, Waiter waiter) {
    const auto verdict = decide_for(*client, waiter.query.question);
    if (verdict.action != DnsVerdict::Action::forward) return answer_locally(waiter, verdict);
    const auto key = key_of(*client, waiter.query);
    if (auto known = cache_.find(key, now())) return finish(waiter, std::move(*known), &DnsCounts::cached);
    if (!make_room_for(waiter.address))
      return reply_error(waiter, DnsRcode::refused, std::nullopt, &DnsCounts::overloaded);
    join_flight(key, std::move(waiter));
  }

  DnsVerdict decide_for(const DnsClient& client, const DnsQuestion& question) {
    return decide(client, question,
                  [this](std::string_view id) { return or_nothing([&] { return callbacks_.find_sandbox(id); }); });
  }

  void answer_locally(const Waiter& waiter, const DnsVerdict& verdict) {
    if (verdict.action == DnsVerdict::Action::refuse)
      return reply_error(waiter, DnsRcode::refused, kProhibited, &DnsCounts::refused);
    auto message = dns_reply(waiter.query, verdict.rcode);
    if (verdict.address)
      message.answers.push_back(dns_a_record(waiter.query.question.name, *verdict.address, kSandboxTtl));
    count_one(&DnsCounts::local);
    reply(waiter.reply_to, waiter.query, message);
  }

  bool make_room_for(std::uint32_t client) {
    const auto admission = share_.ask(client);
    if (admission.verdict == FairShare::Verdict::displace) displace_one_of(admission.displaced);
    return admission.verdict != FairShare::Verdict::refuse;
  }

  void displace_one_of(std::uint32_t client) {
    for (auto flight = flights_.begin(); flight != flights_.end(); ++flight) {
      auto& waiters = flight->second.waiters;
      const auto waiter = std::ranges::find(waiters, client, &Waiter::address);
      if (waiter == waiters.end()) continue;
      share_.remove(client);
      reply_error(*waiter, DnsRcode::refused, std::nullopt, &DnsCounts::overloaded);
      waiters.erase(waiter);
      if (waiters.empty()) flights_.erase(flight);
      return;
    }
  }

  void join_flight(const DnsKey& key, Waiter waiter) {
    auto& flight = flights_[key];
    share_.add(waiter.address);
    flight.waiters.push_back(std::move(waiter));
    if (flight.query) return;
    flight.query = std::make_unique<UpstreamQuery>(
        *loop_, settings_.upstream, upstreams(), flight.waiters.back().query.question, key.dnssec_ok,
        key.checking_disabled, [this, key](Result<UpstreamAnswer> answered) { land(key, std::move(answered)); });
  }

  void land(const DnsKey& key, Result<UpstreamAnswer> answered) {
    auto node = flights_.extract(key);
    if (node.empty()) return;
    auto& waiters = node.mapped().waiters;
    for (const auto& waiter : waiters) share_.remove(waiter.address);
    if (answered) {
      if (is_answer(answered->message.header.rcode)) preferred_ = answered->from;
      cache_.put(key, answered->message, now());
    }
    for (const auto& waiter : waiters) {
      if (answered)
        finish(waiter, answered->message, &DnsCounts::forwarded);
      else
        reply_error(waiter, DnsRcode::server_failure, kNetworkError, &DnsCounts::failed);
    }
  }

  /// The policy is that of now: since the question the client may have gone, or got another allow list.
  void finish(const Waiter& waiter, DnsMessage answer, std::uint64_t DnsCounts::*done) {
    const auto client = find_client(waiter.address);
    if (!client || client->id != waiter.client_id) return drop(waiter.reply_to, &DnsCounts::unknown);
    const auto verdict = decide_for(*client, waiter.query.question);
    if (verdict.action != DnsVerdict::Action::forward) return answer_locally(waiter, verdict);
    const auto rcode = answer.header.rcode;
    if (!is_answer(rcode)) return reply_error(waiter, DnsRcode::server_failure, kNetworkError, &DnsCounts::failed);
    const bool authentic = answer.header.authentic;
    auto judged = judge(settings_.policy, *client, waiter.query.question, std::move(answer));
    if (judged.rebinding) return reply_error(waiter, DnsRcode::refused, kBlocked, &DnsCounts::rebinding);
    if (!judged.allowed.empty() && !allow(*client, judged.allowed))
      return reply_error(waiter, DnsRcode::server_failure, std::nullopt, &DnsCounts::failed);
    auto message = dns_reply(waiter.query, rcode);
    // Only who knows of AD is told (RFC 6840 section 5.7).
    const bool asks_for_ad = waiter.query.header.authentic || (waiter.query.edns && waiter.query.edns->dnssec_ok);
    message.header.authentic = authentic && asks_for_ad;
    message.answers = std::move(judged.answers);
    message.authority = std::move(judged.authority);
    count_one(done);
    reply(waiter.reply_to, waiter.query, message);
  }

  bool allow(const DnsClient& client, std::span<const AllowedAddress> addresses) {
    return or_nothing([&] { return std::optional(callbacks_.allow(client, addresses).has_value()); }).value_or(false);
  }

  std::shared_ptr<const DnsClient> find_client(std::uint32_t address) {
    return or_nothing([&] { return callbacks_.find_client(address); });
  }

  /// Begins with the one that answered last, so that a dead one costs one query its time, not each.
  std::vector<UpstreamAddress> upstreams() {
    auto upstreams = or_nothing([&] { return callbacks_.upstreams(); });
    if (!preferred_) return upstreams;
    const auto first = std::ranges::find(upstreams, *preferred_);
    if (first != upstreams.end()) std::rotate(upstreams.begin(), first, first + 1);
    return upstreams;
  }

  void reply_error(const Waiter& waiter, DnsRcode rcode, std::optional<std::uint16_t> extended,
                   std::uint64_t DnsCounts::*why) {
    auto message = dns_reply(waiter.query, rcode);
    if (message.edns) message.edns->extended_error = extended;
    count_one(why);
    reply(waiter.reply_to, waiter.query, message);
  }

  void object(const ReplyTo& reply_to, const DnsHeader& query, DnsRcode rcode) {
    count_one(&DnsCounts::malformed);
    send(reply_to, dns_error_reply(query, rcode));
  }

  void reply(const ReplyTo& reply_to, const DnsMessage& query, const DnsMessage& message) {
    const auto wanted = query.edns ? std::size_t{query.edns->udp_bytes} : kUdpPlain;
    const bool tcp = std::holds_alternative<ByTcp>(reply_to);
    send(reply_to, write_dns_message(message, tcp ? kDnsMessageMax : std::clamp(wanted, kUdpPlain, kUdpEdnsMax)));
  }

  void send(const ReplyTo& reply_to, std::span<const std::byte> bytes) {
    if (const auto* tcp = std::get_if<ByTcp>(&reply_to)) return tcp_.send(tcp->connection, bytes);
    const auto& udp = std::get<ByUdp>(reply_to);
    // An answer that the kernel has no room for is lost, as others are on their way.
    ::sendto(udp.socket, bytes.data(), bytes.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&udp.to),
             sizeof udp.to);
  }

  void drop(const ReplyTo& reply_to, std::uint64_t DnsCounts::*why) {
    count_one(why);
    if (const auto* tcp = std::get_if<ByTcp>(&reply_to)) tcp_.close(tcp->connection);
  }

  void count_one(std::uint64_t DnsCounts::*what) {
    const std::lock_guard lock(counts_mutex_);
    ++(counts_.*what);
  }

  static std::chrono::steady_clock::time_point now() { return std::chrono::steady_clock::now(); }

  std::unique_ptr<EventLoop> loop_;  // first: all others have watches of it
  DnsForwarderSettings settings_;
  DnsCallbacks callbacks_;
  FairShare share_;
  RateLimit rate_;
  AnswerCache cache_;
  std::optional<UpstreamAddress> preferred_;
  std::map<DnsKey, Flight> flights_;
  std::vector<UdpSocket> udp_;
  DnsTcpServer tcp_;
  mutable std::mutex counts_mutex_;
  DnsCounts counts_;
  std::thread thread_;
};

Result<std::unique_ptr<DnsForwarder>> DnsForwarder::start(DnsSockets sockets, const DnsForwarderSettings& settings,
                                                          DnsCallbacks callbacks) {
  auto server = std::make_unique<Server>(NANOBOX_TRY(EventLoop::make()), settings, std::move(callbacks));
  NANOBOX_TRY(server->start(std::move(sockets)));
  return std::unique_ptr<DnsForwarder>(new DnsForwarder(std::move(server)));
}

DnsForwarder::DnsForwarder(std::unique_ptr<Server> server) : server_(std::move(server)) {}

DnsForwarder::~DnsForwarder() = default;

DnsCounts DnsForwarder::counts() const {
  return server_->counts();
}

}  // namespace nanobox
