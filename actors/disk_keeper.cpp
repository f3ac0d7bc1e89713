#include "actors/disk_keeper.hpp"

#include "actors/job.hpp"
#include "pipeline/boot/disk/memory_file.hpp"
#include "pipeline/boot/disk/overlay.hpp"

namespace nanobox {

namespace {

constexpr std::chrono::seconds kFileDeadline{60};

Result<SandboxFiles> make_files(const Services& services, const Sandbox& sandbox) {
  namespace fs = std::filesystem;
  auto files = sandbox_files(services, sandbox.id);
  std::error_code error;
  fs::create_directories(files.folder, error);
  if (!error) fs::create_directories(files.run_dir, error);
  if (!error) fs::permissions(files.folder, fs::perms::owner_all, error);
  if (error) return fail(errno_error(error.value(), "make the sandbox's folder", files.folder.string()));
  NANOBOX_TRY(
      create_overlay(files.overlay, sandbox.rootfs_path, static_cast<std::uint64_t>(sandbox.resources.disk_mb) << 20));
  NANOBOX_TRY(create_memory_file(files.memory_file, sandbox.resources.memory_mb));
  return files;
}

/// @returns true; CAF has no answer for nothing
Result<bool> remove_files(const SandboxFiles& files) {
  std::error_code error;
  std::filesystem::remove_all(files.folder, error);
  if (!error) std::filesystem::remove_all(files.run_dir, error);
  if (error) return fail(errno_error(error.value(), "remove the sandbox's files", files.folder.string()));
  return true;
}

}  // namespace

SandboxFiles sandbox_files(const Services& services, const std::string& sandbox_id) {
  const auto folder = services.sandboxes_folder / sandbox_id;
  // A Unix socket's path has 108 bytes: the ULID's random part is enough of a name.
  const auto short_id = sandbox_id.substr(sandbox_id.size() > 16 ? sandbox_id.size() - 16 : 0);
  return {.folder = folder,
          .overlay = folder / "disk.qcow2",
          .memory_file = folder / "mem",
          .run_dir = services.run_folder / short_id};
}

DiskKeeperActor::behavior_type disk_keeper(DiskKeeperActor::stateful_pointer<DiskKeeperState> self,
                                           SharedServices services) {
  self->state.services = std::move(services);
  return {
      [self](disk_atom, const BootCall&, const NetworkedBoot& networked) -> caf::result<DiskedBoot> {
        auto promise = self->make_response_promise<DiskedBoot>();
        request_job(self, kFileDeadline,
                    [services = self->state.services, networked]() -> Result<DiskedBoot> {
                      auto files = NANOBOX_TRY(make_files(*services, networked.addressed.placed.request.sandbox));
                      return DiskedBoot{.networked = networked, .files = std::move(files)};
                    })
            .then([promise](DiskedBoot& disked) mutable { promise.deliver(std::move(disked)); },
                  [promise](caf::error& error) mutable { promise.deliver(error); });
        return promise;
      },
      [self](undo_atom, const std::string& sandbox_id) -> caf::result<void> {
        auto promise = self->make_response_promise<void>();
        request_job(self, kFileDeadline,
                    [files = sandbox_files(*self->state.services, sandbox_id)] { return remove_files(files); })
            .then([promise](bool) mutable { deliver_done(promise); },
                  [promise](caf::error& error) mutable { promise.deliver(error); });
        return promise;
      },
  };
}

}  // namespace nanobox
