#pragma once

#include "actors/boards.hpp"

namespace nanobox {

/// The template of a sandbox that is to be made, if it serves and the sandbox fits on it.
/// @errors template_not_found · template_not_ready · invalid_value: a disk that is smaller than the root
Result<std::shared_ptr<const Template>> serving_template(const Boards& boards, const Sandbox& sandbox);

/// Whether both are the same version of a template, as two nodes may have it.
bool is_same_version(const Template& a, const Template& b);

}  // namespace nanobox
