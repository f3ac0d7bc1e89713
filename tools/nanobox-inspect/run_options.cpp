#include "tools/nanobox-inspect/run_options.hpp"

#include "config/clock.hpp"

namespace nanobox::inspection {

std::vector<cli::Option> with_run_options(std::vector<cli::Option> more) {
  more.insert(more.begin(), {{"kind", 'k', "PIPELINE", "only runs of one pipeline: boot, warmup, pause, fork"},
                             {"node", 'n', "NODE", "only runs on one node"},
                             {"all", 'a', "", "runs of every key; for the admin's key"}});
  return cli::with_common(std::move(more));
}

RunQuery run_query_of(const cli::Arguments& arguments) {
  RunQuery query;
  query.kind = arguments.value("kind");
  query.node_id = arguments.value("node");
  query.every_owner = arguments.has("all");
  return query;
}

Result<std::int64_t> moment_option(const cli::Arguments& arguments, std::string_view name, std::string_view otherwise,
                                   std::int64_t now_us) {
  return parse_moment(arguments.value(name).value_or(std::string(otherwise)), now_us);
}

Result<void> check_moment(const cli::Arguments& arguments, std::string_view name) {
  NANOBOX_TRY(moment_option(arguments, name, "now", precise_now().time_since_epoch().count()));
  return {};
}

}  // namespace nanobox::inspection
