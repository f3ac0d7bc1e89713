#pragma once

#include <string>

#include "pipeline/board.hpp"

namespace nanobox {

/// Which VMs wait in a node's pools, and for whom. Published by pool_keeper: by a VM's id its template's key.
using PoolVms = Board<std::string>;

}  // namespace nanobox
