#pragma once

#include <functional>
#include <map>
#include <set>

#include "actors/cluster/concerns.hpp"
#include "actors/cluster/control_services.hpp"

namespace nanobox {

struct TemplateDirectoryState {
  static inline const char* name = "template_directory";
  SharedControl control;
  struct Node {
    NodeStatus status;
    NodeSessionActor session;
    bool connected = false;
  };
  std::map<std::string, Node> nodes;  ///< by node id
  struct Entry {
    std::string home;                         ///< the node whose warmups make its versions
    std::map<std::string, Template> on_node;  ///< as each node has it
  };
  std::map<std::string, Entry> entries;     ///< by template_key
  std::map<std::string, WallTime> removed;  ///< keys, and when: nodes that were away have yet to remove them
};

/// Detached: it writes the store.
TemplateDirectoryActor::behavior_type template_directory(
    TemplateDirectoryActor::stateful_pointer<TemplateDirectoryState> self, SharedControl control);

}  // namespace nanobox
