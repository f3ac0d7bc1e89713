#pragma once

#include <string>

#include "config/error.hpp"
#include "tools/nanobox/guest_path.hpp"
#include "tools/nanobox/interruption.hpp"
#include "tools/nanobox/transfer.hpp"

namespace nanobox::cli {

struct CopyCall {
  CopyPlace from;
  CopyPlace to;
  std::string user;  ///< inside; empty: the server's default
  bool quiet = false;
};

/// Copies a file or a folder, as `cp -r` and docker cp place it: into `to` where that is a folder, else under that
/// name. A file or folder of ours appears when it is whole.
/// @errors invalid_value: none of both is inside · file_not_found · file_is_folder · not_a_folder · not_a_file · the
/// server's · io_failed, each with the path · cancelled
Result<void> copy(const ServerAddress& server, Interruption& interruption, const CopyCall& call);

}  // namespace nanobox::cli
