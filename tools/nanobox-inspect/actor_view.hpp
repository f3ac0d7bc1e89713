#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "tools/nanobox-inspect/style.hpp"
#include "tools/nanobox/api_client.hpp"

namespace nanobox::inspection {

/// One supervised actor, or all of a kind that there are many of, as GET /actors shows it.
struct ActorView {
  std::string id;
  std::string node_id;  ///< empty: the control plane's
  std::string concern;
  std::string parent;        ///< another's id, or the node's, or "control"
  std::int64_t mailbox = 0;  ///< messages that wait
  std::int64_t wait_us = 0;  ///< how long the last one measured waited
  std::int64_t handled = 0;  ///< messages since the daemon's start
  std::int64_t restarts = 0;
  std::string last_error;
  bool unsteady = false;
  std::int64_t count = 1;
};
ActorView read_actor(const rapidjson::Value& json);

/// All of them. @errors forbidden: the key is no admin's · route_not_found, worded for people: an older server
Result<std::vector<ActorView>> fetch_actors(cli::ApiClient& client);

/// Who holds whom, with what waits and what died, as lines.
std::vector<std::string> actor_tree(Style style, const std::vector<ActorView>& actors, std::size_t columns);

}  // namespace nanobox::inspection
