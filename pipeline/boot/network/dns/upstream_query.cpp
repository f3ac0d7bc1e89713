#include "pipeline/boot/network/dns/upstream_query.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "pipeline/boot/network/dns/random_bits.hpp"

namespace nanobox {

namespace {

// The size that passes everywhere without fragments, which an attacker could exchange (DNS Flag Day 2020).
constexpr std::uint16_t kUdpBytes = 1232;
constexpr unsigned kWrongMax = 8;

std::string mixed_case(std::string name) {
  std::uint64_t bits = 0;
  unsigned left = 0;
  for (char& one : name) {
    if (one < 'a' || one > 'z') continue;
    if (left == 0) {
      bits = random_bits();
      left = 64;
    }
    if ((bits & 1) != 0) one = static_cast<char>(one - 'a' + 'A');
    bits >>= 1;
    --left;
  }
  return name;
}

}  // namespace

UpstreamQuery::UpstreamQuery(EventLoop& loop, const UpstreamSettings& settings,
                             const std::vector<UpstreamAddress>& upstreams, const DnsQuestion& question, bool dnssec_ok,
                             bool checking_disabled, Done done)
    : loop_(loop), settings_(settings), done_(std::move(done)) {
  for (unsigned round = 0; round < settings.rounds; ++round)
    attempts_.insert(attempts_.end(), upstreams.begin(), upstreams.end());
  query_.header.recursion_desired = true;
  query_.header.checking_disabled = checking_disabled;
  query_.question = question;
  query_.edns = DnsEdns{.udp_bytes = kUdpBytes, .version = 0, .dnssec_ok = dnssec_ok, .extended_error = {}};
  timer_ = loop_.after(std::chrono::milliseconds::zero(), [this] { next_attempt(); });
}

void UpstreamQuery::next_attempt() {
  watch_.reset();
  socket_.reset();
  if (attempts_.empty()) {
    if (bad_) return finish(std::move(*bad_));
    return finish(fail({.code = ErrorCode::deadline_exceeded,
                        .attempted = "resolve name",
                        .subject = query_.question.name,
                        .reason = "no resolver answered",
                        .mend = "check the host's /etc/resolv.conf",
                        .transient = true}));
  }
  upstream_ = attempts_.front();
  attempts_.pop_front();
  wrong_ = 0;
  ask_by_udp();
}

void UpstreamQuery::write_query() {
  query_.header.id = static_cast<std::uint16_t>(random_bits());
  query_.question.spelling = settings_.mix_case ? mixed_case(query_.question.name) : query_.question.name;
  query_bytes_ = write_dns_message(query_);
}

bool UpstreamQuery::open_socket(int type) {
  watch_.reset();
  socket_.reset(::socket(upstream_.storage.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return socket_ && (::connect(socket_.get(), upstream_.raw(), upstream_.length) == 0 || errno == EINPROGRESS);
}

void UpstreamQuery::start_timer() {
  timer_ = loop_.after(settings_.attempt_timeout, [this] { next_attempt(); });
}

// Without recursion, however many upstreams cannot be asked at all; descriptors may be there again soon.
void UpstreamQuery::fail_attempt() {
  watch_.reset();
  timer_ = loop_.after(std::chrono::milliseconds::zero(), [this] { next_attempt(); });
}

void UpstreamQuery::ask_by_udp() {
  start_timer();
  write_query();
  if (!open_socket(SOCK_DGRAM) || ::send(socket_.get(), query_bytes_.data(), query_bytes_.size(), MSG_NOSIGNAL) < 0)
    return fail_attempt();
  auto watch = loop_.watch(socket_.get(), EPOLLIN, [this](auto) { read_udp(); });
  if (!watch) return fail_attempt();
  watch_ = std::move(*watch);
}

void UpstreamQuery::read_udp() {
  std::array<std::byte, 4096> bytes;
  const auto count = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_TRUNC);
  if (count < 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    return fail_attempt();  // ECONNREFUSED: nobody is there
  }
  const auto size = std::min(static_cast<std::size_t>(count), bytes.size());
  auto answer = parse_dns_message(std::span(bytes).first(size));
  const auto header = parse_dns_header(std::span(bytes).first(size));
  // A truncated answer may end within a record.
  const bool cut = header && header->response && header->truncated && header->id == query_.header.id;
  if (cut && !answer) return ask_by_tcp();
  switch (answer ? match(*answer) : Match::wrong) {
    case Match::right:
      return answer->header.truncated ? ask_by_tcp() : take(std::move(*answer));
    case Match::other_case:
      return ask_by_tcp();
    case Match::wrong:
      if (++wrong_ >= kWrongMax) ask_by_tcp();
  }
}

void UpstreamQuery::ask_by_tcp() {
  start_timer();
  write_query();
  out_.assign({static_cast<std::byte>(query_bytes_.size() >> 8), static_cast<std::byte>(query_bytes_.size())});
  out_.insert(out_.end(), query_bytes_.begin(), query_bytes_.end());
  in_.clear();
  sent_ = 0;
  if (!open_socket(SOCK_STREAM)) return fail_attempt();
  auto watch = loop_.watch(socket_.get(), EPOLLIN | EPOLLOUT, [this](auto events) { go_on_by_tcp(events); });
  if (!watch) return fail_attempt();
  watch_ = std::move(*watch);
}

void UpstreamQuery::go_on_by_tcp(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0 && !send_rest()) return fail_attempt();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  if (!receive_some()) return fail_attempt();
  if (in_.size() < 2) return;
  const auto length = std::to_integer<std::size_t>(in_[0]) << 8 | std::to_integer<std::size_t>(in_[1]);
  if (in_.size() < 2 + length) return;
  auto answer = parse_dns_message(std::span(in_).subspan(2, length));
  // Over TCP nobody guesses: another case is a server's way.
  if (!answer || match(*answer) == Match::wrong || answer->header.truncated) return fail_attempt();
  take(std::move(*answer));
}

bool UpstreamQuery::send_rest() {
  const auto rest = std::span(out_).subspan(sent_);
  const auto count = ::send(socket_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  sent_ += static_cast<std::size_t>(count);
  if (sent_ == out_.size()) watch_.want(EPOLLIN);
  return true;
}

/// Whether more may come or enough has.
bool UpstreamQuery::receive_some() {
  std::array<std::byte, 16'384> bytes;
  const auto count = ::recv(socket_.get(), bytes.data(), std::min(bytes.size(), 2 + kDnsMessageMax - in_.size()), 0);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  in_.insert(in_.end(), bytes.begin(), bytes.begin() + count);
  return count > 0;
}

UpstreamQuery::Match UpstreamQuery::match(const DnsMessage& answer) const {
  const auto& asked = query_.question;
  if (!answer.header.response || answer.header.opcode != 0 || answer.header.id != query_.header.id ||
      answer.question.name != asked.name || answer.question.type != asked.type || answer.question.klass != asked.klass)
    return Match::wrong;
  return answer.question.spelling == asked.spelling ? Match::right : Match::other_case;
}

void UpstreamQuery::take(DnsMessage answer) {
  if (is_answer(answer.header.rcode)) return finish(UpstreamAnswer{std::move(answer), upstream_});
  const auto rcode = answer.header.rcode;
  if (query_.edns && (rcode == DnsRcode::format_error || rcode == DnsRcode::not_implemented)) {
    query_.edns.reset();  // a server from before EDNS (RFC 6891 section 7)
    attempts_.push_front(upstream_);
  } else {
    bad_ = UpstreamAnswer{std::move(answer), upstream_};
    std::erase(attempts_, upstream_);
  }
  fail_attempt();
}

void UpstreamQuery::finish(Result<UpstreamAnswer> answer) {
  watch_.reset();
  timer_.reset();
  socket_.reset();
  const auto done = std::move(done_);
  done(std::move(answer));
}

}  // namespace nanobox
