#pragma once

#include "config/error.hpp"
#include "pipeline/cluster/node_report.hpp"

namespace nanobox {

// What a node says is checked as an enemy's: nothing longer or larger than an honest one has reason to say at once.
// What a single value may be, its reading from the wire checks (actors/wire). @errors peer_untrusted

Result<void> check_word(const NodeHello& hello);
Result<void> check_word(const std::string& node_id, const NodeBeat& beat);
Result<void> check_word(const std::string& node_id, const NodeNews& news);

}  // namespace nanobox
