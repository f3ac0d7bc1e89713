#pragma once

#include <cstdint>
#include <string>

namespace nanobox {

/// How a concern of a node fares, as the node tells it.
struct ConcernReport {
  std::string concern;
  std::string parent;         ///< the concern that holds it; empty: the node itself
  std::uint64_t mailbox = 0;  ///< messages that wait
  std::int64_t wait_us = 0;   ///< how long the last one that was measured waited
  std::uint64_t handled = 0;  ///< messages since the daemon's start
  std::uint64_t restarts = 0;
  std::string last_error;   ///< why it last died; empty: it never did
  bool unsteady = false;    ///< it died often, lately
  std::uint64_t count = 1;  ///< of a kind that there are many of: how many
  bool operator==(const ConcernReport&) const = default;
};

}  // namespace nanobox
