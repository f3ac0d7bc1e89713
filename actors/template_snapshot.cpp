#include "actors/template_snapshot.hpp"

#include <algorithm>
#include <fstream>

#include "config/sha256.hpp"

namespace nanobox {

std::string snapshot_key_of(const Services& services, const Template& entry) {
  return SnapshotStore::key_of(entry, services.kernel_digest, services.init_digest,
                               services.driver->fingerprint(1, services.boot_args));
}

std::string machine_of(const Services& services) {
  if (!services.driver) return {};
  return sha256_hex(services.kernel_digest + '\n' + services.init_digest + '\n' +
                    services.driver->fingerprint(1, services.boot_args));
}

void stand_on(const Services& services, const Template& entry, Sandbox& sandbox) {
  sandbox.template_name = entry.name;
  sandbox.image = entry.config;
  sandbox.image_digest = entry.digest;
  sandbox.rootfs_identity = entry.rootfs.identity;
  sandbox.rootfs_path = entry.rootfs.image_path;
  sandbox.node_id = services.node_id;
  if (services.driver) sandbox.vmm = to_string(services.driver->kind());
  if (!entry.disk.empty()) sandbox.lineage.disk_layers = {entry.disk};
}

void begin_from(const SavedState& saved, BootRequest& request) {
  auto& lineage = request.sandbox.lineage;
  lineage.snapshot = saved.folder;
  std::error_code error;
  if (std::filesystem::exists(saved.disk(), error)) lineage.disk_layers.push_back(saved.disk());
  request.from = BootSource{.saved = saved, .memory_base = saved.memory(), .memory_layer = {}};
}

SavedState state_to_save(const Services& services, const Resources& size, std::filesystem::path folder) {
  return {.folder = std::move(folder),
          .fingerprint = services.driver->fingerprint(size.vcpu, services.boot_args),
          .tsc_khz = services.driver->tsc_khz().value_or(0),
          .vcpu = size.vcpu,
          .memory_mb = size.memory_mb,
          .disk_bytes = std::uint64_t{size.disk_mb} << 20,
          .taken_at = {}};
}

Result<void> check_fits_here(const Services& services, const SavedState& saved) {
  return check_fits(saved, services.driver->fingerprint(saved.vcpu, services.boot_args),
                    services.driver->tsc_khz().value_or(0));
}

Result<SavedState> usable_snapshot(const Services& services, const Template& entry, const Resources& size) {
  if (!services.driver) return fail(services.driver_problem);
  if (entry.snapshot_key.empty())
    return fail({.code = ErrorCode::boot_path_unavailable,
                 .attempted = "boot a sandbox from a snapshot of",
                 .subject = entry.name,
                 .reason = "the template has none",
                 .mend = "use boot auto or cold, or warm it up with snapshot true"});
  // One made of a sandbox is what it is: there is nothing to make it of again.
  if (entry.disk.empty() && !SnapshotStore::is_of(entry.snapshot_key, snapshot_key_of(services, entry)))
    return fail({.code = ErrorCode::snapshot_invalid,
                 .attempted = "boot a sandbox from a snapshot of",
                 .subject = entry.name,
                 .reason = "it was made with another kernel, init, VMM, command line or version of the template",
                 .mend = "warm the template up again"});
  const auto saved = NANOBOX_TRY(services.snapshots->find(entry.snapshot_key, size.vcpu, size.memory_mb));
  NANOBOX_TRY(check_fits_here(services, saved));
  return saved;
}

namespace {
constexpr const char* kSharedMark = "shared";
}  // namespace

void note_shared(const std::filesystem::path& key_folder) {
  const std::ofstream mark(key_folder / kSharedMark);
}

bool is_shared(const Services& services, const std::string& key) {
  std::error_code error;
  return std::filesystem::exists(services.snapshots->template_folder(key, 1, 1).parent_path() / kSharedMark, error);
}

bool snapshot_in_use(const Services& services, const std::filesystem::path& folder) {
  if (services.snapshots->is_held(folder)) return true;
  const auto is_in = [&](const std::filesystem::path& file) {
    return file.parent_path() == folder || file.parent_path().parent_path() == folder;
  };
  return std::ranges::any_of(all_with_files(*services.boards), [&](const auto& sandbox) {
    const auto& lineage = sandbox->lineage;
    return lineage.snapshot == folder || lineage.snapshot.parent_path() == folder ||
           std::ranges::any_of(lineage.disk_layers, is_in);
  });
}

void collect_snapshots(const Services& services) {
  for (const auto& folder : services.snapshots->key_folders()) {
    const auto is_its = [&](const auto& entry) { return entry->snapshot_key == folder.filename(); };
    if (std::ranges::any_of(services.boards->templates.all(), is_its) || snapshot_in_use(services, folder)) continue;
    services.snapshots->drop(folder);
  }
}

}  // namespace nanobox
