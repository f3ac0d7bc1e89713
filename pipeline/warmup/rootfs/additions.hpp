#pragma once

#include <string>
#include <vector>

#include "config/error.hpp"
#include "pipeline/warmup/rootfs/build.hpp"
#include "pipeline/warmup/rootfs/data_area.hpp"
#include "pipeline/warmup/rootfs/layer_index.hpp"

namespace nanobox {

/// A script for `.` of any POSIX shell that exports "K=V" for each of `env`, any byte of V intact. What a shell cannot
/// name or hold (a key that is no identifier, a NUL) is left out.
std::string env_script(const std::vector<std::string>& env);

/// The layer that NanoBox puts on top, its files' data written.
Result<LayerIndex> additions_layer(const ResolvedImage& image, const RootfsAdditions& additions, DataWriter& writer);

}  // namespace nanobox
