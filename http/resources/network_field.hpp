#pragma once

#include <string>

#include "http/json/reader.hpp"
#include "pipeline/sandbox.hpp"

namespace nanobox::http {

/// Reads what a sandbox may reach; a mode that is not given is `default_mode`.
SandboxNetwork read_network(json::ObjectReader& network, const std::string& default_mode);

}  // namespace nanobox::http
