#pragma once

#include <vector>

#include "tools/nanobox-inspect/run_query.hpp"
#include "tools/nanobox-inspect/time_window.hpp"
#include "tools/nanobox/command.hpp"

namespace nanobox::inspection {

/// --kind, --node, --all, and `more`, with --json and --server.
std::vector<cli::Option> with_run_options(std::vector<cli::Option> more);

/// What those say. `since_us` is left to who knows the server's time.
RunQuery run_query_of(const cli::Arguments& arguments);

/// `--NAME MOMENT` by the server's clock; `otherwise` where it is not given. @errors invalid_value
Result<std::int64_t> moment_option(const cli::Arguments& arguments, std::string_view name, std::string_view otherwise,
                                   std::int64_t now_us);

/// The form of `--NAME MOMENT`, before a server is asked: for a command's check. @errors invalid_value
Result<void> check_moment(const cli::Arguments& arguments, std::string_view name);

}  // namespace nanobox::inspection
