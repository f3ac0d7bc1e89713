#pragma once

#include <string>

#include "actors/services.hpp"

namespace nanobox {

/// Ends a VM that an earlier daemon left and nobody supervises. Blocking. @returns whether there was one
Result<bool> end_stray(const Services& services, const std::string& sandbox_id);

}  // namespace nanobox
