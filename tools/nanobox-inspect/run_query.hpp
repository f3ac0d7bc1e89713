#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "tools/nanobox-inspect/run_view.hpp"
#include "tools/nanobox/api_client.hpp"

namespace nanobox::inspection {

/// Which runs are meant; what is empty does not choose.
struct RunQuery {
  std::optional<std::string> kind;  ///< "boot", "warmup", …
  std::optional<std::string> status;
  std::optional<std::string> subject;
  std::optional<std::string> node_id;
  std::optional<std::int64_t> since_us;  ///< created at or after
  bool every_owner = false;              ///< for the admin's key
  bool newest_first = false;
  std::size_t limit = 0;  ///< 0: all
};

/// Whether it is one of those meant; without looking at owner and limit.
bool is_meant(const RunView& run, const RunQuery& query);

/// The runs meant, page by page. A server that does not know a filter is asked without, and its list filtered here.
/// @param each  gets the server's JSON too, which lives during the call
Result<void> each_run(cli::ApiClient& client, const RunQuery& query,
                      const std::function<void(const rapidjson::Value& json, RunView run)>& each);
Result<std::vector<RunView>> fetch_runs(cli::ApiClient& client, const RunQuery& query);

/// A run by its id, or the latest of the sandbox or template of that name. @errors run_not_found
struct FoundRun {
  RunView run;
  std::string json;  ///< the server's
};
Result<FoundRun> find_run(cli::ApiClient& client, const std::string& name, bool every_owner);

/// The server's clock, which may go otherwise than ours; ours where it does not tell. Unix microseconds.
std::int64_t server_now_us(const cli::ApiAnswer& answer);
Result<std::int64_t> ask_server_now_us(cli::ApiClient& client);

}  // namespace nanobox::inspection
