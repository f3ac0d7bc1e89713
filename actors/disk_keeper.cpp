#include "actors/disk_keeper.hpp"

#include "actors/job.hpp"
#include "actors/vmm_stock.hpp"
#include "config/id.hpp"
#include "pipeline/boot/disk/memory_file.hpp"
#include "pipeline/boot/disk/overlay.hpp"

namespace nanobox {

namespace {

constexpr std::chrono::seconds kFileDeadline{60};

Result<SandboxFiles> make_files(const Services& services, const BootRequest& request) {
  const auto& sandbox = request.sandbox;
  auto files = sandbox_files(services, sandbox.id);
  NANOBOX_TRY(make_folders(files));
  const auto disk_bytes = static_cast<std::uint64_t>(sandbox.resources.disk_mb) << 20;
  const auto& layers = sandbox.lineage.disk_layers;
  if (layers.empty()) {
    NANOBOX_TRY(create_overlay(files.overlay, sandbox.rootfs_path, disk_bytes));
    return files;
  }
  if (request.from && is_loaded(stock_shape(request))) return files;  // its VMM brings the overlay
  // A copy begins with the size that its guest knows; it grows when the guest runs.
  const auto known = request.from ? request.from->saved.disk_bytes : disk_bytes;
  NANOBOX_TRY(create_empty_overlay(files.overlay, known, layers.back().filename(), "qcow2"));
  return files;
}

}  // namespace

Result<void> make_folders(const SandboxFiles& files) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::create_directories(files.folder, error);
  if (!error) fs::create_directories(files.run_dir, error);
  if (!error) fs::permissions(files.folder, fs::perms::owner_all, error);
  if (error) return fail(errno_error(error.value(), "make the sandbox's folder", files.folder.string()));
  return {};
}

Result<void> remove_files(const SandboxFiles& files) {
  std::error_code error;
  std::filesystem::remove_all(files.folder, error);
  if (!error) std::filesystem::remove_all(files.run_dir, error);
  if (error) return fail(errno_error(error.value(), "remove the sandbox's files", files.folder.string()));
  return {};
}

SandboxFiles sandbox_files(const Services& services, const std::string& sandbox_id) {
  const auto folder = services.sandboxes_folder / sandbox_id;
  // A Unix socket's path has 108 bytes: the ULID's random part is enough of a name.
  const auto short_id = sandbox_id.substr(sandbox_id.size() > 16 ? sandbox_id.size() - 16 : 0);
  return {.folder = folder, .overlay = folder / "disk.qcow2", .run_dir = services.run_folder / short_id};
}

Result<std::filesystem::path> empty_memory(const Services& services, std::uint32_t memory_mb) {
  const auto folder = services.sandboxes_folder / kEmptyMemoryFolder;
  auto file = folder / std::to_string(memory_mb);
  std::error_code error;
  if (std::filesystem::exists(file, error)) return file;
  std::filesystem::create_directories(folder, error);
  if (error) return fail(errno_error(error.value(), "make folder", folder));
  std::filesystem::permissions(folder, std::filesystem::perms(0711), error);
  const auto half = folder / make_id("half");
  NANOBOX_TRY(create_memory_file(half, memory_mb));
  std::filesystem::permissions(half, std::filesystem::perms(0444), error);
  std::filesystem::rename(half, file, error);
  if (error) return fail(errno_error(error.value(), "make memory file", file));
  return file;
}

LineageFolders lineage_folders(const Services& services) {
  return {.snapshots = services.snapshots_folder, .layers = services.sandboxes_folder / kLayersFolder};
}

std::filesystem::path new_layer(const Services& services) {
  return services.sandboxes_folder / kLayersFolder / make_id("layer") / "disk.qcow2";
}

DiskKeeperActor::behavior_type disk_keeper(DiskKeeperActor::stateful_pointer<DiskKeeperState> self,
                                           SharedServices services) {
  self->state.services = std::move(services);
  return {
      [self](disk_atom, const BootCall&, const NetworkedBoot& networked) -> caf::result<DiskedBoot> {
        auto promise = self->make_response_promise<DiskedBoot>();
        request_job(self, kFileDeadline,
                    [services = self->state.services, networked]() -> Result<DiskedBoot> {
                      const auto& request = networked.addressed.placed.request;
                      auto files = NANOBOX_TRY(make_files(*services, request));
                      return DiskedBoot{.networked = networked, .files = std::move(files)};
                    })
            .then([promise](DiskedBoot& disked) mutable { promise.deliver(std::move(disked)); },
                  [promise](caf::error& error) mutable { promise.deliver(error); });
        return promise;
      },
      [self](undo_atom, const std::string& sandbox_id) -> caf::result<void> {
        auto promise = self->make_response_promise<void>();
        request_job(self, kFileDeadline,
                    [files = sandbox_files(*self->state.services, sandbox_id)]() -> Result<bool> {
                      NANOBOX_TRY(remove_files(files));
                      return true;  // CAF has no answer for nothing
                    })
            .then([promise](bool) mutable { deliver_done(promise); },
                  [promise](caf::error& error) mutable { promise.deliver(error); });
        return promise;
      },
  };
}

}  // namespace nanobox
