#pragma once

#include "pipeline/board.hpp"
#include "pipeline/run.hpp"
#include "pipeline/sandbox.hpp"
#include "pipeline/template.hpp"

namespace nanobox {

/// What readers may see without asking an actor. Each board has one writing actor.
struct Boards {
  Board<RunRecord> runs;      ///< run_recorder; by run id, the newest 1000
  Board<Template> templates;  ///< template_registry; by owner + "/" + name
  Board<Sandbox> sandboxes;   ///< sandbox_registry; by id
};

/// The key of a template on its board and in the store.
inline std::string template_key(const std::string& owner, const std::string& name) {
  return owner + "/" + name;
}

}  // namespace nanobox
