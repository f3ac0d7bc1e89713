#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "config/unique_fd.hpp"
#include "pipeline/boot/network/dns/event_loop.hpp"
#include "pipeline/boot/network/dns/message.hpp"
#include "pipeline/boot/network/dns/upstream.hpp"

namespace nanobox {

struct UpstreamSettings {
  std::chrono::milliseconds attempt_timeout{1500};
  unsigned rounds = 2;   ///< how often each upstream is asked
  bool mix_case = true;  ///< more bits to guess: draft-vixie-dnsext-dns0x20
};

struct UpstreamAnswer {
  DnsMessage message;
  UpstreamAddress from;
};

/// One question to upstreams in turn until one answers. Over UDP from a socket of its own, connected, so that the
/// kernel gives it a random port and drops what comes from elsewhere; with a random id (RFC 5452). Over TCP where the
/// answer is truncated (RFC 7766 section 5), or where so much wrong comes that somebody may be guessing.
class UpstreamQuery {
public:
  /// Called once, not from within the constructor; may destroy the query. The last bad answer (SERVFAIL, REFUSED …)
  /// where there is none better.
  /// @errors deadline_exceeded
  using Done = std::function<void(Result<UpstreamAnswer>)>;

  UpstreamQuery(EventLoop& loop, const UpstreamSettings& settings, const std::vector<UpstreamAddress>& upstreams,
                const DnsQuestion& question, bool dnssec_ok, bool checking_disabled, Done done);
  UpstreamQuery(const UpstreamQuery&) = delete;
  UpstreamQuery& operator=(const UpstreamQuery&) = delete;

private:
  enum class Match : std::uint8_t { right, other_case, wrong };

  void next_attempt();
  void ask_by_udp();
  void ask_by_tcp();
  void write_query();
  bool open_socket(int type);
  void start_timer();
  void read_udp();
  void go_on_by_tcp(std::uint32_t events);
  bool send_rest();
  bool receive_some();
  Match match(const DnsMessage& answer) const;
  void take(DnsMessage answer);
  void fail_attempt();
  void finish(Result<UpstreamAnswer> answer);

  EventLoop& loop_;
  UpstreamSettings settings_;
  std::deque<UpstreamAddress> attempts_;
  UpstreamAddress upstream_;
  DnsMessage query_;
  std::vector<std::byte> query_bytes_;
  Done done_;
  std::optional<UpstreamAnswer> bad_;
  unsigned wrong_ = 0;
  std::vector<std::byte> out_, in_;  ///< over TCP, with the length before the message
  std::size_t sent_ = 0;
  UniqueFd socket_;
  LoopWatch watch_, timer_;  ///< after the socket: they go first
};

}  // namespace nanobox
