#include "actors/disk_keeper.hpp"
#include "actors/sandbox_saving.hpp"
#include "actors/template_snapshot.hpp"
#include "config/id.hpp"

namespace nanobox {

namespace {

using Self = SandboxRegistrySelf;
namespace fs = std::filesystem;

constexpr std::chrono::seconds kShort{30};

using TemplatePromise = caf::typed_response_promise<Template>;

Template template_from(const Services& services, const Sandbox& sandbox, const std::string& name,
                       const std::string& key) {
  Template entry;
  if (const auto from = services.boards->templates.find(template_key(sandbox.owner, sandbox.template_name))) {
    entry.image = from->image;
    entry.platform = from->platform;
    if (from->digest == sandbox.image_digest) {
      entry.layers = from->layers;
      entry.config = from->config;
      entry.rootfs = from->rootfs;
    }
  }
  entry.name = name;
  entry.owner = sandbox.owner;
  entry.parent = sandbox.template_name;
  entry.resources = sandbox.resources;
  entry.digest = sandbox.image_digest;
  entry.config.env = sandbox.image.env;
  entry.config.working_dir = sandbox.image.working_dir;
  entry.config.user = sandbox.image.user;
  entry.rootfs.identity = sandbox.rootfs_identity;
  entry.rootfs.image_path = sandbox.rootfs_path;
  std::error_code error;
  if (entry.rootfs.size_bytes == 0) entry.rootfs.size_bytes = fs::file_size(sandbox.rootfs_path, error);
  entry.disk = services.snapshots->template_folder(key, 1, 1).parent_path() / "disk.qcow2";
  entry.snapshot_key = key;
  entry.snapshot_status = SnapshotStatus::ready;
  entry.status = TemplateStatus::ready;
  entry.served = true;
  entry.created_at = entry.updated_at = wall_now();
  return entry;
}

void snapshot_now(Self self, const std::string& id, const std::string& name, TemplatePromise promise) {
  auto& state = self->state;
  auto sandbox = running(self, id, "make a template of");
  if (sandbox && state.services->boards->templates.find(template_key(sandbox->owner, name)))
    sandbox = fail(Error{.code = ErrorCode::conflict,
                         .attempted = "make a template of",
                         .subject = id,
                         .reason = "there is a template '" + name + "' already",
                         .mend = "use another name, or delete it first"});
  const auto key = make_id("own");
  auto order = sandbox ? order_for(self, *sandbox,
                                   state.services->snapshots->template_folder(key, sandbox->resources.vcpu,
                                                                              sandbox->resources.memory_mb))
                       : fail(sandbox.error());
  if (!order) {
    promise.deliver(to_caf(order.error()));
    return turn_over(self, id);
  }
  order->capture.whole_memory = true;
  order->capture.durable = true;
  const auto held = state.services->snapshots->hold(order->saved.folder);  // until its template is published
  auto failed = [self, id, held, promise, folder = order->saved.folder](const Error& error) mutable {
    self->state.half_saved.erase(folder);
    self->state.services->snapshots->drop(folder);
    std::error_code ignored;
    fs::remove_all(folder.parent_path(), ignored);
    freeze_failed(self, id);
    promise.deliver(to_caf(error));
    turn_over(self, id);
    collect_layers(self);
  };
  if (auto announced = announce_freeze(self, *sandbox, *order); !announced) return failed(announced.error());
  order->flatten = sandbox->lineage.disk_layers;
  order->flattened = order->saved.folder.parent_path() / "disk.qcow2";
  self->request(state.concerns.node_agent, kSaveDeadline, capture_atom_v, id, *order)
      .then(
          [self, id, name, key, promise, failed, sandbox = *sandbox](const Saved& saved) mutable {
            const auto entry = template_from(*self->state.services, sandbox, name, key);
            self->request(self->state.templates, kShort, publish_atom_v, entry)
                .then(
                    [self, id, promise, folder = saved.state.folder](Template& published) mutable {
                      self->state.half_saved.erase(folder);
                      promise.deliver(std::move(published));
                      turn_over(self, id);
                      collect_layers(self);
                    },
                    [failed](caf::error& error) mutable { failed(from_caf(error, "publish the template")); });
          },
          [failed, id](caf::error& error) mutable { failed(from_caf(error, "save sandbox " + id)); });
}

}  // namespace

caf::result<Template> snapshot_sandbox(Self self, const std::string& id, const std::string& name) {
  auto promise = self->make_response_promise<Template>();
  in_turn(self, id, [self, id, name, promise] { snapshot_now(self, id, name, promise); });
  return promise;
}

}  // namespace nanobox
