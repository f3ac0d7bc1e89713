#include "actors/cluster/node_word.hpp"

#include <cmath>

#include "config/utf8.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kNameMax = 256;
constexpr std::size_t kTextMax = std::size_t{16} << 10;
constexpr std::size_t kManyMax = 100'000;
constexpr std::uint64_t kAmountMax = std::uint64_t{1} << 40;
constexpr double kFactorMax = 1e6;

Result<void> refuse(const std::string& node_id, std::string reason) {
  return fail({.code = ErrorCode::peer_untrusted,
               .attempted = "take the word of node",
               .subject = node_id.substr(0, kNameMax),
               .reason = std::move(reason),
               .mend = "look what runs there, or remove it: nanobox nodes"});
}

/// The first that is too long, with `what` it is.
Result<void> check_names(const std::string& node_id, const char* what, std::initializer_list<std::string_view> names) {
  for (const auto name : names)
    if (name.size() > kNameMax) return refuse(node_id, std::string(what) + " is too long");
  return {};
}

Result<void> check_sandboxes(const std::string& node_id, const std::vector<Sandbox>& sandboxes) {
  if (sandboxes.size() > kManyMax) return refuse(node_id, "it has too many sandboxes");
  for (const auto& sandbox : sandboxes) {
    if (sandbox.id.empty()) return refuse(node_id, "a sandbox has no id");
    NANOBOX_TRY(check_names(node_id, "a sandbox' name",
                            {sandbox.id, sandbox.owner, sandbox.template_name, sandbox.parent, sandbox.vmm}));
    if (sandbox.reason.size() > kTextMax) return refuse(node_id, "a sandbox' reason is too long");
  }
  return {};
}

Result<void> check_templates(const std::string& node_id, const std::vector<Template>& templates) {
  if (templates.size() > kManyMax) return refuse(node_id, "it has too many templates");
  for (const auto& entry : templates) {
    if (entry.name.empty()) return refuse(node_id, "a template has no name");
    NANOBOX_TRY(check_names(node_id, "a template's name",
                            {entry.name, entry.owner, entry.parent, entry.operation_id, entry.rootfs.identity}));
  }
  return {};
}

Result<void> check_pools(const std::string& node_id, const std::vector<PoolState>& pools) {
  if (pools.size() > kManyMax) return refuse(node_id, "it has too many pools");
  for (const auto& pool : pools) {
    NANOBOX_TRY(check_names(node_id, "a pool's name", {pool.owner, pool.template_name}));
    if (pool.problem.size() > kTextMax) return refuse(node_id, "a pool's problem is too long");
  }
  return {};
}

Result<void> check_deaths(const std::string& node_id, const std::vector<SandboxDeath>& deaths) {
  if (deaths.size() > kManyMax) return refuse(node_id, "too many of its sandboxes have ended");
  for (const auto& death : deaths) {
    if (death.id.empty()) return refuse(node_id, "a sandbox that ended has no id");
    if (death.node_id != node_id) return refuse(node_id, "it tells of the end of another node's sandbox");
    NANOBOX_TRY(
        check_names(node_id, "an ended sandbox' name", {death.id, death.owner, death.template_name, death.boot_path}));
    if (death.reason.size() > kTextMax) return refuse(node_id, "why a sandbox ended is too long");
    if (death.console.size() > kDeathConsoleMax) return refuse(node_id, "an ended sandbox' console is too long");
    if (!is_utf8(death.console) || !is_utf8(death.reason)) return refuse(node_id, "a console is no UTF-8");
    if (death.cause < DeathCause::asked || death.cause > DeathCause::failed)
      return refuse(node_id, "a sandbox ended of nothing that is known");
  }
  return {};
}

bool is_factor(double value) {
  return std::isfinite(value) && value > 0 && value <= kFactorMax;
}

}  // namespace

Result<void> check_word(const NodeHello& hello) {
  const auto& id = hello.node_id;
  if (id.empty()) return refuse(id, "it has no id");
  NANOBOX_TRY(check_names(
      id, "what it says of itself",
      {id, hello.version, hello.incarnation, hello.vmm, hello.machine, hello.data_addr, hello.overlay_addr}));
  if (hello.subnet_parts.size() > kManyMax || hello.kept_states.size() > kManyMax)
    return refuse(id, "it has too many parts of the subnet, or saved states");
  for (const auto& part : hello.subnet_parts) NANOBOX_TRY(check_names(id, "a part of the subnet", {part}));
  for (const auto& saved : hello.kept_states) NANOBOX_TRY(check_names(id, "a saved state's name", {saved}));
  const auto& capacity = hello.capacity;
  if (capacity.memory_mb > kAmountMax || capacity.disk_mb > kAmountMax || !is_factor(capacity.vcpu_overcommit) ||
      !is_factor(capacity.disk_overcommit))
    return refuse(id, "nothing has such a capacity");
  // The next epoch is one more.
  if (hello.epoch > kAmountMax) return refuse(id, "no node was there so often");
  NANOBOX_TRY(check_sandboxes(id, hello.sandboxes));
  NANOBOX_TRY(check_templates(id, hello.templates));
  return check_pools(id, hello.pools);
}

Result<void> check_word(const std::string& node_id, const NodeBeat& beat) {
  if (beat.reason.size() > kTextMax) return refuse(node_id, "the reason why it is not ready is too long");
  return {};
}

Result<void> check_word(const std::string& node_id, const NodeNews& news) {
  NANOBOX_TRY(check_sandboxes(node_id, news.sandboxes));
  NANOBOX_TRY(check_templates(node_id, news.templates));
  NANOBOX_TRY(check_pools(node_id, news.pools));
  NANOBOX_TRY(check_deaths(node_id, news.deaths));
  if (news.gone_sandboxes.size() > kManyMax || news.gone_templates.size() > kManyMax || news.runs.size() > kManyMax)
    return refuse(node_id, "it says too much at once");
  for (const auto& run : news.runs)
    NANOBOX_TRY(check_names(node_id, "a run's name", {run.id, run.pipeline, run.subject, run.owner}));
  return {};
}

}  // namespace nanobox
