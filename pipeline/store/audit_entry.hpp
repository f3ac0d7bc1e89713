#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/clock.hpp"

namespace nanobox {

/// One thing that somebody did through the API.
struct AuditEntry {
  std::string id;     ///< "au-…", ascending
  WallTime time{};    ///< when it was over
  std::string owner;  ///< the name of the key
  std::string peer;   ///< the client's address
  std::string request_id;
  std::string action;   ///< "sandbox.exec"
  std::string subject;  ///< what it was done to; empty: nothing that has a name
  std::string method;
  std::string route;   ///< the pattern
  std::string detail;  ///< a JSON object; empty: none
  int status = 0;      ///< 0: the client went before the answer
  std::string code;    ///< of a problem; empty: none
  std::int64_t duration_ms = 0;
  bool operator==(const AuditEntry&) const = default;
};

/// Which entries are wanted, by id; what is not set lets all pass.
struct AuditQuery {
  std::optional<std::string> owner = {};
  std::optional<std::string> action = {};
  std::optional<std::string> subject = {};
  std::optional<WallTime> since = {};  ///< inclusive
  std::optional<WallTime> until = {};  ///< exclusive
  bool newest_first = false;
  std::optional<std::string> behind = {};  ///< an id, exclusive, in the order that is asked for
  std::size_t most = 100;
};

/// How much of the audit is kept.
struct AuditRetention {
  std::chrono::days age{30};
  std::uint64_t bytes = 256ULL << 20;  ///< on disk
};

}  // namespace nanobox
