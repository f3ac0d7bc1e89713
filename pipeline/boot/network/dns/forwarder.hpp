#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/boot/network/dns/answer_policy.hpp"
#include "pipeline/boot/network/dns/tcp_server.hpp"
#include "pipeline/boot/network/dns/upstream.hpp"
#include "pipeline/boot/network/dns/upstream_query.hpp"

namespace nanobox {

struct DnsForwarderSettings {
  std::size_t queries = 1024;  ///< asked of upstreams at a time, by all; each has a descriptor
  std::size_t queries_per_client = 64;
  double queries_per_second = 100;  ///< of one client, after `burst`; more is dropped
  double burst = 200;
  std::size_t cache_entries = 2048;
  std::chrono::seconds negative_ttl_max{60};
  DnsTcpSettings tcp;
  UpstreamSettings upstream;
  DnsPolicy policy;
};

/// Bound to where guests ask: IPv4, any number of either.
struct DnsSockets {
  std::vector<UniqueFd> udp, tcp;
};

/// Called on the forwarder's thread, which waits for them: everybody's names wait too. What they throw counts as no.
struct DnsCallbacks {
  /// The client with this source address (host byte order); nothing: it is not answered at all. Asked again before
  /// the answer goes, for meanwhile the address may be another's.
  std::function<std::shared_ptr<const DnsClient>(std::uint32_t address)> find_client;
  FindSandbox find_sandbox;
  /// Lets a client with an allow list connect to these addresses for at least these times; an address may be there
  /// already, and holds until the later end. The answer is sent after it returns; an error makes it SERVFAIL.
  std::function<Result<void>(const DnsClient& client, std::span<const AllowedAddress> addresses)> allow;
  /// Whom to ask, in order of preference; for instance a ResolvConf's nameservers.
  std::function<std::vector<UpstreamAddress>()> upstreams;
};

/// What was done since the start.
struct DnsCounts {
  std::uint64_t queries = 0;       ///< of known clients
  std::uint64_t unknown = 0;       ///< from addresses of no client: dropped
  std::uint64_t malformed = 0;     ///< answered FORMERR, NOTIMP or BADVERS, or dropped
  std::uint64_t rate_limited = 0;  ///< dropped
  std::uint64_t overloaded = 0;    ///< REFUSED: too many at a time
  std::uint64_t local = 0;         ///< answered without asking anybody
  std::uint64_t refused = 0;       ///< REFUSED by policy
  std::uint64_t cached = 0;        ///< answered from the cache
  std::uint64_t forwarded = 0;     ///< answered by an upstream
  std::uint64_t rebinding = 0;     ///< REFUSED: a public name with an address that is not
  std::uint64_t failed = 0;        ///< SERVFAIL: no upstream answered well, or `allow` failed
};

/// The resolver that guests see: answers by who asks (answer_policy.hpp) and lets a client's firewall know before it
/// does (RFC 1035, 6891, 7766). dnsmasq does neither: its rules are one for all who ask, and it does not wait until an
/// address is in a set. One thread of its own; upstream sockets are made in the network namespace of the
/// thread that calls `start`. The destructor ends it at once; queries in flight get no answer.
class DnsForwarder {
public:
  /// @errors io_failed
  static Result<std::unique_ptr<DnsForwarder>> start(DnsSockets sockets, const DnsForwarderSettings& settings,
                                                     DnsCallbacks callbacks);
  ~DnsForwarder();
  DnsForwarder(const DnsForwarder&) = delete;
  DnsForwarder& operator=(const DnsForwarder&) = delete;

  /// Any thread.
  DnsCounts counts() const;

private:
  class Server;
  explicit DnsForwarder(std::unique_ptr<Server> server);
  std::unique_ptr<Server> server_;
};

}  // namespace nanobox
