#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tools/nanobox-inspect/run_query.hpp"

namespace nanobox::inspection {

/// The runs of the latest time, kept up to date by asking for what is new, what goes on, and what ended since.
class RunFeed {
public:
  using Changed = std::function<void(const rapidjson::Value& json, const RunView& run)>;

  /// @param query    whose `since_us`, `status`, `limit` and order do not matter
  /// @param span_us  how long ago a run that ended may have been created
  RunFeed(RunQuery query, std::int64_t span_us);

  /// @param changed  called for each run that is new or has got on
  Result<void> refresh(cli::ApiClient& client, std::int64_t now_us, const Changed& changed = {});

  /// Another span; a longer one takes a whole new look.
  void set_span(std::int64_t span_us);

  /// Those known, the newest first.
  std::vector<RunView> runs() const;

private:
  RunQuery query_;
  std::int64_t span_us_;
  std::int64_t looked_us_ = 0;  ///< when last; 0: never, or not as far back as it should be
  std::map<std::string, RunView> runs_;
};

}  // namespace nanobox::inspection
