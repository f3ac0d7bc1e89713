#pragma once

#include <map>

#include "actors/cluster/concerns.hpp"
#include "actors/node.hpp"

namespace nanobox {

struct NodeFaceState {
  static inline const char* name = "node_face";
  Node node;
  Fetchers fetchers;
  NewsFlushActor link;
  std::map<std::string, caf::typed_response_promise<Sandbox>> fetching;  ///< wait for their template, by sandbox id
};

/// Hands a control plane's orders on to the node's own actors. What an order changed is told before its answer. One a
/// connection; ends with it.
NodeFaceActor::behavior_type node_face(NodeFaceActor::stateful_pointer<NodeFaceState> self, Node node,
                                       Fetchers fetchers, NewsFlushActor link);

}  // namespace nanobox
