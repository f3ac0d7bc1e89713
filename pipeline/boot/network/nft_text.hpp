#pragma once

#include <string>

#include "config/error.hpp"

namespace nanobox {

/// Runs nft commands, all together or not at all, in the calling thread's network namespace. For whole rulesets; what
/// changes with each VM goes by NftBatch. Callers wait for each other: libnftables keeps state that threads share.
/// @errors network_unavailable, with what nftables says
Result<void> run_nft(const std::string& commands);

/// What an nft command, such as "list chains", prints. As run_nft.
Result<std::string> ask_nft(const std::string& command);

}  // namespace nanobox
