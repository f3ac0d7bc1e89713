#include "pipeline/boot/vmm/vm_parent/launch.hpp"

#include "pipeline/boot/vmm/vm_parent/wire.hpp"

namespace nanobox {

namespace {

constexpr std::uint64_t launch_mark = 0x6c6e7632'6e626f78;  // another number whenever the form changes

void write(WireWriter& out, const std::vector<std::string>& strings) {
  out.number(strings.size());
  for (const auto& string : strings) out.text(string);
}

/// Calls `read` as often as the next number says, but not past the end.
template <class Read>
void repeat(WireReader& in, Read read) {
  for (auto count = in.number(); count > 0 && in.ok(); --count) read();
}

void write(WireWriter& out, const Error& error) {
  out.number(static_cast<std::uint64_t>(error.code));
  for (const auto* text : {&error.attempted, &error.subject, &error.reason, &error.mend}) out.text(*text);
}

}  // namespace

std::string to_bytes(const Launch& launch) {
  WireWriter out;
  out.number(launch_mark);
  out.text(launch.name);
  out.text(launch.program);
  write(out, launch.argv);
  write(out, launch.env);
  out.number(launch.own_namespaces);
  out.number(launch.user_namespace);
  out.number(launch.own_user);
  out.number(launch.uid);
  out.number(launch.gid);
  out.text(launch.run_dir);
  out.number(launch.root.size());
  for (const auto& entry : launch.root) {
    out.number(entry.kind);
    out.text(entry.source);
    out.text(entry.target);
    out.number(entry.read_only);
  }
  out.number(launch.descriptor_targets.size());
  for (const int target : launch.descriptor_targets) out.number(static_cast<std::uint64_t>(target));
  out.number(launch.cgroup_count);
  out.number(launch.cloned_into_cgroup);
  out.number(launch.joins_network);
  out.number(launch.limits.size());
  for (const auto& limit : launch.limits) {
    out.number(static_cast<std::uint64_t>(limit.resource));
    out.number(limit.value);
  }
  out.number(static_cast<std::uint64_t>(launch.oom_score_adj));
  out.text(launch.seccomp);
  out.text(launch.cgroup);
  return out.bytes();
}

std::optional<Launch> launch_from_bytes(std::string_view bytes) {
  WireReader in{bytes};
  if (in.number() != launch_mark) return std::nullopt;
  Launch launch;
  launch.name = in.text();
  launch.program = in.text();
  repeat(in, [&] { launch.argv.push_back(in.text()); });
  repeat(in, [&] { launch.env.push_back(in.text()); });
  launch.own_namespaces = in.number() != 0;
  launch.user_namespace = in.number() != 0;
  launch.own_user = in.number() != 0;
  launch.uid = static_cast<uid_t>(in.number());
  launch.gid = static_cast<gid_t>(in.number());
  launch.run_dir = in.text();
  repeat(in, [&] {
    Launch::Entry entry;
    entry.kind = in.number();
    entry.source = in.text();
    entry.target = in.text();
    entry.read_only = in.number() != 0;
    launch.root.push_back(std::move(entry));
  });
  repeat(in, [&] { launch.descriptor_targets.push_back(static_cast<int>(in.number())); });
  launch.cgroup_count = in.number();
  launch.cloned_into_cgroup = in.number() != 0;
  launch.joins_network = in.number() != 0;
  repeat(in, [&] {
    const int resource = static_cast<int>(in.number());
    launch.limits.push_back({resource, in.number()});
  });
  launch.oom_score_adj = static_cast<int>(in.number());
  launch.seccomp = in.text();
  launch.cgroup = in.text();
  if (!in.at_end()) return std::nullopt;
  return launch;
}

std::string to_bytes(const Error& error) {
  WireWriter out;
  out.number(0);
  write(out, error);
  return out.bytes();
}

std::string to_bytes(const Result<LaunchReport>& report) {
  if (!report) return to_bytes(report.error());
  WireWriter out;
  out.number(1);
  out.number(static_cast<std::uint64_t>(report->vmm));
  out.number(static_cast<std::uint64_t>(report->parent));
  return out.bytes();
}

Result<LaunchReport> launch_report_from_bytes(std::string_view bytes) {
  WireReader in{bytes};
  LaunchReport report;
  if (in.number() != 0) {
    report.vmm = static_cast<pid_t>(in.number());
    report.parent = static_cast<pid_t>(in.number());
    if (in.at_end()) return report;
  } else {
    Error error;
    error.code = static_cast<ErrorCode>(in.number());
    for (auto* text : {&error.attempted, &error.subject, &error.reason, &error.mend}) *text = in.text();
    if (in.at_end()) return fail(std::move(error));
  }
  return fail({.code = ErrorCode::vmm_failed,
               .attempted = "start the VMM",
               .subject = "",
               .reason = "nanobox-vm-parent ended without a report",
               .mend = "install nanobox-vm-parent of the same build as nanoboxd"});
}

}  // namespace nanobox
