#pragma once

#include <functional>

#include "config/error.hpp"

namespace nanobox {

/// Runs `work` on a thread made for it and waits: for what changes a thread, such as its namespaces or its table of
/// descriptors. It begins in the caller's namespaces. @errors those of `work` · io_failed, transient, when there is no
/// thread to be had · internal when `work` throws
Result<void> run_on_own_thread(const std::function<Result<void>()>& work);

}  // namespace nanobox
