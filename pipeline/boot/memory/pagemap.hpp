#pragma once

#include <cstdint>
#include <vector>

#include "config/error.hpp"
#include "pipeline/boot/memory/page_run.hpp"

namespace nanobox {

/// The pages of a private mapping that are the process' own (present and not a file's, or swapped), counted from its
/// begin, as runs that do not touch; asked of the kernel by PAGEMAP_SCAN (Linux 6.7). The page of zeros that reading
/// anonymous memory leaves is not among them.
/// @param pagemap  /proc/PID/pagemap. @param begin  address; a multiple of 4096, like `bytes`
/// @errors host_unsuitable (this kernel has no PAGEMAP_SCAN) · vmm_failed
Result<std::vector<PageRun>> scan_own_pages(int pagemap, std::uint64_t begin, std::uint64_t bytes);

/// The same by reading the table, on any kernel. Without CAP_SYS_ADMIN and for huge ones, the page of zeros cannot be
/// told and is among them. @errors vmm_failed
Result<std::vector<PageRun>> read_own_pages(int pagemap, std::uint64_t begin, std::uint64_t bytes);

}  // namespace nanobox
