#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "actors/cluster/concerns.hpp"
#include "actors/cluster/control_services.hpp"
#include "actors/cluster/open_questions.hpp"
#include "actors/death_book.hpp"
#include "pipeline/cluster/placement/cluster_view.hpp"
#include "pipeline/cluster/placement/random_bits.hpp"

namespace nanobox {

struct SandboxDirectoryState {
  static inline const char* name = "sandbox_directory";
  SharedControl control;
  ClusterView view;
  RandomBits random{0};
  struct Node {
    NodeStatus status;
    NodeSessionActor session;
    bool connected = false;
    std::map<std::string, Template> templates;  ///< by template_key
    std::optional<WallTime> drain_seen;         ///< the deadline that `drained` is about
    bool drained = false;                       ///< what ran there when its deadline passed was told to pause
  };
  std::map<std::string, Node> nodes;  ///< by node id
  /// As the node told last; what readers see is on the board.
  std::map<std::string, Sandbox> sandboxes;
  struct Creating {
    BootRequest request;
    Question<Sandbox> question;
    std::vector<std::string> failed_on;
    std::optional<Error> first_error;
    bool cancelled = false;
    std::vector<Question<void>> removers;  ///< asked to remove it meanwhile
  };
  std::map<std::string, Creating> creating;
  /// Ids that are no more. A late word of a node does not bring them back; ids are never used twice.
  struct Gone {
    std::string node_id;  ///< where it was; empty: nobody knows
    std::string owner;
  };
  std::map<std::string, Gone> gone;
  std::deque<std::string> gone_order;
  std::optional<DeathBook> deaths;
  /// By sandbox id: nodes that were away when it ended or went to another, and have yet to end what they have of it.
  std::map<std::string, std::set<std::string>> left_with;
  /// Copies of a paused sandbox' saved state on other nodes.
  struct Copies {
    std::string saved;  ///< its name
    std::set<std::string> nodes;
  };
  std::map<std::string, Copies> copies;                                     ///< by sandbox id
  std::set<std::string> uncopied;                                           ///< paused sandboxes that may lack copies
  std::size_t copying = 0;                                                  ///< copies on their way
  std::map<std::string, std::chrono::steady_clock::time_point> copy_again;  ///< of those that failed: not before then
  std::set<std::string> unadopted;  ///< sandboxes that were given to a node which has yet to take them over
  std::set<std::string> exported;   ///< saved states of forks that are on their way to other nodes
  /// By parent and node: how many children the node was asked for and has not told of yet.
  std::map<std::string, std::map<std::string, std::uint32_t>> children_due;
  std::optional<OpenQuestions> questions;
  std::set<std::string> unsaved;  ///< ids whose record in the store is older than what is here
  bool flushing = false;
};

/// Detached: it writes the store.
SandboxDirectoryActor::behavior_type sandbox_directory(
    SandboxDirectoryActor::stateful_pointer<SandboxDirectoryState> self, SharedControl control);

}  // namespace nanobox
