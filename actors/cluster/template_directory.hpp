#pragma once

#include <map>
#include <optional>

#include "actors/cluster/concerns.hpp"
#include "actors/cluster/control_services.hpp"
#include "actors/cluster/open_questions.hpp"

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
    std::string home;                         ///< the node whose warmups make its versions; always one of `on_node`
    std::map<std::string, Template> on_node;  ///< as each node has it, or says so
  };
  std::map<std::string, Entry> entries;  ///< by template_key
  std::optional<OpenQuestions> questions;
};

/// Detached: it writes the store.
TemplateDirectoryActor::behavior_type template_directory(
    TemplateDirectoryActor::stateful_pointer<TemplateDirectoryState> self, SharedControl control);

}  // namespace nanobox
