#pragma once

#include "pipeline/insight/concern_report.hpp"
#include "pipeline/insight/sandbox_death.hpp"
#include "pipeline/insight/template_usage.hpp"
#include "pipeline/json_record.hpp"
#include "pipeline/pool.hpp"
#include "pipeline/run.hpp"
#include "pipeline/sandbox.hpp"
#include "pipeline/template.hpp"

// Every member of what has a strict record. The bindings see to `every`: one that is added breaks them.

namespace nanobox {

template <class F, FieldsOf<FieldError> T>
void fields(F& f, T& x) {
  auto& [pointer, detail] = x;
  f("pointer", pointer), f("detail", detail);
}

template <class F, FieldsOf<Error> T>
void fields(F& f, T& x) {
  auto& [code, attempted, subject, reason, mend, transient, retry_after_sec, errors] = x;
  f("code", code), f("attempted", attempted), f("subject", subject), f("reason", reason), f("mend", mend);
  f("transient", transient), f("retry_after_sec", retry_after_sec), f("fields", errors);
}

template <class F, FieldsOf<Platform> T>
void fields(F& f, T& x) {
  auto& [os, architecture, variant] = x;
  f("os", os), f("architecture", architecture), f("variant", variant);
}

template <class F, FieldsOf<Credentials> T>
void fields(F& f, T& x) {
  auto& [username, password] = x;
  f("username", username), f("password", password);
}

template <class F, FieldsOf<ImageRequest> T>
void fields(F& f, T& x) {
  auto& [image, credentials, platform] = x;
  f("image", image), f("credentials", credentials), f("platform", platform);
}

template <class F, FieldsOf<Descriptor> T>
void fields(F& f, T& x) {
  auto& [media_type, digest, size, urls] = x;
  f("media_type", media_type), f("digest", digest), f("size", size), f("urls", urls);
}

template <class F, FieldsOf<ImageConfig> T>
void fields(F& f, T& x) {
  auto& [platform, env, entrypoint, cmd, working_dir, user, diff_ids] = x;
  f("platform", platform), f("env", env), f("entrypoint", entrypoint), f("cmd", cmd);
  f("working_dir", working_dir), f("user", user), f("diff_ids", diff_ids);
}

template <class F, FieldsOf<BuiltRootfs> T>
void fields(F& f, T& x) {
  auto& [identity, image_path, size_bytes, used_bytes, entries] = x;
  f("identity", identity), f("image_path", image_path), f("size_bytes", size_bytes), f("used_bytes", used_bytes);
  f("entries", entries);
}

template <class F, FieldsOf<Resources> T>
void fields(F& f, T& x) {
  auto& [vcpu, memory_mb, disk_mb] = x;
  f("vcpu", vcpu), f("memory_mb", memory_mb), f("disk_mb", disk_mb);
}

template <class F, FieldsOf<Prime::Ready> T>
void fields(F& f, T& x) {
  auto& [command, port, timeout_ms] = x;
  f("command", command), f("port", port), f("timeout_ms", timeout_ms);
}

template <class F, FieldsOf<Prime> T>
void fields(F& f, T& x) {
  auto& [command, args, background, ready] = x;
  f("command", command), f("args", args), f("background", background), f("ready", ready);
}

template <class F, FieldsOf<WarmupRequest> T>
void fields(F& f, T& x) {
  auto& [name, owner, image, resources, snapshot, sshd, prime, force] = x;
  f("name", name), f("owner", owner), f("image", image), f("resources", resources), f("snapshot", snapshot);
  f("sshd", sshd), f("prime", prime), f("force", force);
}

template <class F, FieldsOf<Template> T>
void fields(F& f, T& x) {
  auto& [name, owner, image, platform, resources, snapshot, sshd, prime, parent, status, operation_id, error,
         created_at, updated_at, digest, layers, config, rootfs, disk, snapshot_status, snapshot_key, snapshot_error,
         served] = x;
  f("name", name), f("owner", owner), f("image", image), f("platform", platform), f("resources", resources);
  f("snapshot", snapshot), f("sshd", sshd), f("prime", prime), f("parent", parent), f("status", status);
  f("operation_id", operation_id), f("error", error), f("created_at", created_at), f("updated_at", updated_at);
  f("digest", digest), f("layers", layers), f("config", config), f("rootfs", rootfs), f("disk", disk);
  f("snapshot_status", snapshot_status), f("snapshot_key", snapshot_key), f("snapshot_error", snapshot_error);
  f("served", served);
}

template <class F, FieldsOf<SandboxLineage> T>
void fields(F& f, T& x) {
  auto& [snapshot, memory_layer, disk_layers, paused_state] = x;
  f("snapshot", snapshot), f("memory_layer", memory_layer), f("disk_layers", disk_layers);
  f("paused_state", paused_state);
}

template <class F, FieldsOf<SandboxNetwork> T>
void fields(F& f, T& x) {
  auto& [mode, group, rate_limit_mbps, allow_domains, allow_cidrs, deny_cidrs] = x;
  f("mode", mode), f("group", group), f("rate_limit_mbps", rate_limit_mbps), f("allow_domains", allow_domains);
  f("allow_cidrs", allow_cidrs), f("deny_cidrs", deny_cidrs);
}

template <class F, FieldsOf<Sandbox> T>
void fields(F& f, T& x) {
  auto& [id, owner, template_name, image_digest, rootfs_identity, rootfs_path, status, reason, node_id, resources, ip,
         former_ip, network, env, metadata, boot_path, boot_time_ms, image, generation, state_age_ms, parent, pause_ms,
         restore_time_ms, lineage, timeout_sec, on_timeout, vmm, revision, created_at, expires_at, failed_at] = x;
  f("id", id), f("owner", owner), f("template_name", template_name), f("image_digest", image_digest);
  f("rootfs_identity", rootfs_identity), f("rootfs_path", rootfs_path), f("status", status), f("reason", reason);
  f("node_id", node_id), f("resources", resources), f("ip", ip), f("former_ip", former_ip), f("network", network);
  f("env", env), f("metadata", metadata), f("boot_path", boot_path), f("boot_time_ms", boot_time_ms);
  f("image", image), f("generation", generation), f("state_age_ms", state_age_ms), f("parent", parent);
  f("pause_ms", pause_ms), f("restore_time_ms", restore_time_ms), f("lineage", lineage);
  f("timeout_sec", timeout_sec), f("on_timeout", on_timeout), f("vmm", vmm), f("revision", revision);
  f("created_at", created_at), f("expires_at", expires_at), f("failed_at", failed_at);
}

template <class F, FieldsOf<LayerProgress> T>
void fields(F& f, T& x) {
  auto& [digest, done_bytes, total_bytes] = x;
  f("digest", digest), f("done_bytes", done_bytes), f("total_bytes", total_bytes);
}

template <class F, FieldsOf<StageProgress> T>
void fields(F& f, T& x) {
  auto& [done_bytes, total_bytes, detail, layers] = x;
  f("done_bytes", done_bytes), f("total_bytes", total_bytes), f("detail", detail), f("layers", layers);
}

template <class F, FieldsOf<StageRecord> T>
void fields(F& f, T& x) {
  auto& [name, status, actor, node_id, attempts, started_at, duration_us, done_bytes, total_bytes, detail, layers,
         error] = x;
  f("name", name), f("status", status), f("actor", actor), f("node_id", node_id), f("attempts", attempts);
  f("started_at", started_at), f("duration_us", duration_us), f("done_bytes", done_bytes);
  f("total_bytes", total_bytes), f("detail", detail), f("layers", layers), f("error", error);
}

template <class F, FieldsOf<RunRecord> T>
void fields(F& f, T& x) {
  auto& [id, pipeline, subject, owner, node_id, status, created_at, started_at, ended_at, error, stages] = x;
  f("id", id), f("pipeline", pipeline), f("subject", subject), f("owner", owner), f("node_id", node_id);
  f("status", status), f("created_at", created_at), f("started_at", started_at), f("ended_at", ended_at);
  f("error", error), f("stages", stages);
}

template <class F, FieldsOf<SandboxUsage> T>
void fields(F& f, T& x) {
  auto& [wall_ms, cpu_ms, memory_peak_bytes, disk_bytes] = x;
  f("wall_ms", wall_ms), f("cpu_ms", cpu_ms), f("memory_peak_bytes", memory_peak_bytes), f("disk_bytes", disk_bytes);
}

template <class F, FieldsOf<SandboxDeath> T>
void fields(F& f, T& x) {
  auto& [id, owner, template_name, node_id, cause, reason, boot_path, resources, created_at, ended_at, console, usage] =
      x;
  f("id", id), f("owner", owner), f("template_name", template_name), f("node_id", node_id), f("cause", cause);
  f("reason", reason), f("boot_path", boot_path), f("resources", resources), f("created_at", created_at);
  f("ended_at", ended_at), f("console", console), f("usage", usage);
}

template <class F, FieldsOf<ConcernReport> T>
void fields(F& f, T& x) {
  auto& [concern, parent, mailbox, wait_us, handled, restarts, last_error, unsteady, count] = x;
  f("concern", concern), f("parent", parent), f("mailbox", mailbox), f("wait_us", wait_us), f("handled", handled);
  f("restarts", restarts), f("last_error", last_error), f("unsteady", unsteady), f("count", count);
}

template <class F, FieldsOf<TemplateUsage> T>
void fields(F& f, T& x) {
  auto& [owner, template_name, vms, pss_bytes, cpu_us] = x;
  f("owner", owner), f("template_name", template_name), f("vms", vms), f("pss_bytes", pss_bytes), f("cpu_us", cpu_us);
}

template <class F, FieldsOf<PoolState> T>
void fields(F& f, T& x) {
  auto& [owner, template_name, ready, min_ready, max_ready, problem] = x;
  f("owner", owner), f("template_name", template_name), f("ready", ready), f("min_ready", min_ready);
  f("max_ready", max_ready), f("problem", problem);
}

}  // namespace nanobox
