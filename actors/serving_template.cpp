#include "actors/serving_template.hpp"

#include <algorithm>

namespace nanobox {

Result<std::shared_ptr<const Template>> serving_template(const Boards& boards, const Sandbox& sandbox) {
  auto entry = boards.templates.find(template_key(sandbox.owner, sandbox.template_name));
  if (!entry)
    return fail({.code = ErrorCode::template_not_found,
                 .attempted = "create a sandbox from template",
                 .subject = sandbox.template_name,
                 .reason = "no template has that name",
                 .mend = "POST /api/v1/templates/warmup makes one"});
  if (!entry->usable() && entry->error && entry->error->code == ErrorCode::node_lost)
    return fail({.code = ErrorCode::node_lost,
                 .attempted = "create a sandbox from template",
                 .subject = sandbox.template_name,
                 .reason = entry->error->reason,
                 .mend = entry->error->mend,
                 .transient = true,
                 .retry_after_sec = 5});
  if (!entry->usable())
    return fail({.code = ErrorCode::template_not_ready,
                 .attempted = "create a sandbox from template",
                 .subject = sandbox.template_name,
                 .reason = "it is " + std::string(to_string(entry->status)),
                 .mend = "wait until its status says ready"});
  const auto least_mb = std::max<std::uint64_t>((entry->rootfs.size_bytes + (1 << 20) - 1) >> 20,
                                                entry->disk.empty() ? 0 : entry->resources.disk_mb);
  if (sandbox.resources.disk_mb < least_mb)
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "create a sandbox",
                 .subject = "",
                 .reason = "disk_mb is below the root's size",
                 .mend = "ask for at least " + std::to_string(least_mb) + " MiB",
                 .fields = {{"/resources/disk_mb", "must be at least " + std::to_string(least_mb)}}});
  return entry;
}

bool is_same_version(const Template& a, const Template& b) {
  // The disk of one made from a sandbox lies under its key, which is given once.
  const bool same_disk = a.disk.empty() ? b.disk.empty() : !b.disk.empty() && a.snapshot_key == b.snapshot_key;
  return a.rootfs.identity == b.rootfs.identity && same_disk && a.prime == b.prime && a.resources == b.resources;
}

}  // namespace nanobox
