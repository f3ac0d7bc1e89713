#pragma once

#include "pipeline/cluster/artifact/catalogue.hpp"
#include "pipeline/cluster/byte_stream.hpp"

namespace nanobox {

/// Answers one client until it ends its side: it may get any number of artifacts, one after the other. Takes little
/// more than a chunk's and a manifest's memory. Cut the stream to end it from outside.
/// @errors peer_untrusted · version_incompatible: the client breaks the protocol · connection_lost · deadline_exceeded
/// ·
///         io_failed: of the artifact's files; the client was told
Result<void> serve_artifacts(ByteStream& stream, const ArtifactCatalogue& catalogue);

}  // namespace nanobox
