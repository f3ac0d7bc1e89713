#pragma once

#include "actors/concerns.hpp"
#include "actors/guest_stream.hpp"

namespace nanobox::test {

// Values of which every member is set, and differs from all others of its type.

inline WallTime at(std::int64_t ms) {
  return WallTime(std::chrono::milliseconds(ms));
}

inline Sandbox sandbox_in(SandboxStatus status) {
  Sandbox sandbox;
  sandbox.status = status;
  return sandbox;
}

inline Sandbox sandbox_named(std::string id) {
  Sandbox sandbox;
  sandbox.id = std::move(id);
  return sandbox;
}

inline Error full_error(ErrorCode code) {
  return {.code = code,
          .attempted = "fetch layer",
          .subject = "sha256:00",
          .reason = "the registry answered \"503\"",
          .mend = "wait\n",
          .transient = true,
          .retry_after_sec = 7,
          .fields = {{.pointer = "/resources/vcpu", .detail = "must be 1 to 32"}, {.pointer = "/x", .detail = ""}}};
}

inline Platform full_platform() {
  return {.os = "linux", .architecture = "arm64", .variant = "v8"};
}

inline ImageConfig full_config() {
  return {.platform = full_platform(),
          .env = {"PATH=/bin", "EMPTY="},
          .entrypoint = {"/entry"},
          .cmd = {"serve", "--all"},
          .working_dir = "/srv",
          .user = "www",
          .diff_ids = {"sha256:d1"}};
}

inline SandboxNetwork full_network() {
  return {.mode = "internet",
          .group = "g",
          .rate_limit_mbps = 100,
          .allow_domains = {"example.org"},
          .allow_cidrs = {"10.0.0.0/8"},
          .deny_cidrs = {"10.1.0.0/16", "10.2.0.0/16"}};
}

inline Sandbox full_sandbox() {
  return {.id = "sb-1",
          .owner = "alice",
          .template_name = "web",
          .image_digest = "sha256:1",
          .rootfs_identity = "id",
          .rootfs_path = "/data/id.ext4",
          .status = SandboxStatus::resuming,
          .reason = "why",
          .node_id = "n1",
          .resources = {.vcpu = 3, .memory_mb = 768, .disk_mb = 4096},
          .ip = "10.0.0.9",
          .former_ip = "10.0.0.8",
          .network = full_network(),
          .env = {{"A", "1"}, {"B", "\xff\xfe not UTF-8"}, {"\xff", "nor is this one's name"}},
          .metadata = {{"team", "blue"}},
          .boot_path = "pool",
          .boot_time_ms = 31,
          .image = full_config(),
          .generation = ~std::uint64_t{0},
          .state_age_ms = -5,
          .parent = "sb-0",
          .pause_ms = 12,
          .restore_time_ms = 13,
          .lineage = {.snapshot = "/s",
                      .memory_layer = "/m",
                      .disk_layers = {"/d1", "/d2"},
                      .paused_state = std::string("/p\0q\xff", 5)},
          .timeout_sec = 4'000'000'000,
          .on_timeout = "pause",
          .vmm = "qemu",
          .created_at = at(1'700'000'000'123),
          .expires_at = at(1'700'000'000'456),
          .failed_at = at(-1)};
}

inline Prime full_prime() {
  return {.command = "/bin/serve",
          .args = {"-p", "80"},
          .background = true,
          .ready = Prime::Ready{.command = "curl", .port = 65535, .timeout_ms = 5}};
}

inline Template full_template() {
  return {.name = "web",
          .owner = "alice",
          .image = "nginx:1",
          .platform = full_platform(),
          .resources = {.vcpu = 3, .memory_mb = 768, .disk_mb = 4096},
          .snapshot = false,
          .sshd = true,
          .prime = full_prime(),
          .parent = "base",
          .status = TemplateStatus::running,
          .operation_id = "op-1",
          .error = full_error(ErrorCode::layer_invalid),
          .created_at = at(1),
          .updated_at = at(2),
          .digest = "sha256:2",
          .layers = {{.media_type = "tar", .digest = "sha256:3", .size = 1ULL << 40, .urls = {"https://x"}}},
          .config = full_config(),
          .rootfs = {.identity = "id", .image_path = "/i", .size_bytes = 4, .used_bytes = 3, .entries = 2},
          .disk = "/d.qcow2",
          .snapshot_status = SnapshotStatus::making,
          .snapshot_key = "key",
          .snapshot_error = full_error(ErrorCode::guest_timeout),
          .served = true};
}

inline RunRecord full_run() {
  return {.id = "op-1",
          .pipeline = "warmup",
          .subject = "web",
          .owner = "alice",
          .node_id = "n1",
          .status = RunStatus::cancelled,
          .created_at = at(10),
          .started_at = at(11),
          .ended_at = at(12),
          .error = full_error(ErrorCode::malformed_request),
          .stages = {{.name = "pull",
                      .status = StageStatus::undone,
                      .actor = "image_puller",
                      .node_id = "n2",
                      .attempts = 3,
                      .started_at = at(13),
                      .duration_us = 14,
                      .done_bytes = 15,
                      .total_bytes = 16,
                      .detail = "layer 2 of 7",
                      .layers = {{.digest = "sha256:4", .done_bytes = 17, .total_bytes = 18}},
                      .error = full_error(ErrorCode::internal)},
                     {.name = "extract"}}};
}

inline WarmupRequest full_warmup() {
  return {.name = "web",
          .owner = "alice",
          .image = {.image = "nginx:1",
                    .credentials = Credentials{.username = "user", .password = "secret"},
                    .platform = full_platform()},
          .resources = {.vcpu = 3, .memory_mb = 768, .disk_mb = 4096},
          .snapshot = false,
          .sshd = true,
          .prime = full_prime(),
          .force = true};
}

inline Opened full_opened() {
  return {.stream = 1,
          .pid = 2,
          .offset = 1ULL << 40,
          .file = FileInfo{.type = FileType::symlink,
                           .size_bytes = 3,
                           .mode = 0777,
                           .uid = 4,
                           .gid = 5,
                           .mtime_ns = -6,
                           .target = "\xff"},
          .last = true};
}

inline StreamData data_of(std::size_t size) {
  StreamData data{.stream = 9, .part = StreamPart::stderr_part, .bytes = {}, .last = true};
  data.bytes.resize(size);
  for (std::size_t i = 0; i < size; ++i) data.bytes[i] = static_cast<std::byte>(i * 7);
  return data;
}

/// One of every alternative at least, their options set and not.
inline std::vector<StreamRequest> stream_requests() {
  return {ExecRequest{},
          ExecRequest{.argv = {"ls", "-l"},
                      .env = {"A=1"},
                      .cwd = "/c",
                      .user = "u",
                      .deadline_ms = 1ULL << 40,
                      .process_id = "p",
                      .detached = true,
                      .terminal = TerminalSize{.columns = 1, .rows = 2}},
          AttachRequest{.process_id = "p", .pid = 1, .offset = 2},
          InputRequest{.process_id = "p", .eof = true},
          ProcessesRequest{},
          SignalRequest{.process_id = "p", .number = 9},
          ForgetRequest{.process_id = "p"},
          FileReadRequest{},
          FileReadRequest{.path = "/p", .user = "u", .offset = 1, .length = 0},
          FileWriteRequest{},
          FileWriteRequest{.path = "/p", .user = "u", .mode = 0},
          FileStatRequest{{.path = "/stat", .user = "u"}},
          FileListRequest{{.path = "/list", .user = "u"}},
          FileRemoveRequest{.path = "/p", .user = "u", .recursive = true},
          FileRenameRequest{.path = "/p", .to = "/t", .user = "u", .parents = true},
          FolderMakeRequest{.path = "/p", .user = "u", .parents = true, .mode = 1},
          ArchiveReadRequest{{.path = "/read", .user = "u"}},
          ArchiveWriteRequest{{.path = "/write", .user = "u"}},
          TcpRequest{.port = 65535},
          LogRequest{.offset = 1, .follow = true}};
}

}  // namespace nanobox::test
