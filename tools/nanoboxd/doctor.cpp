#include "tools/nanoboxd/doctor.hpp"

#include <iomanip>
#include <iostream>

#include "pipeline/boot/network/host_checks.hpp"
#include "pipeline/boot/vmm/confinement.hpp"
#include "pipeline/boot/vmm/probe.hpp"
#include "pipeline/json_text.hpp"
#include "tools/nanoboxd/services_setup.hpp"

namespace nanobox {

namespace {

struct Check {
  std::string name;
  bool ok = false;
  bool needed = true;  ///< sandboxes cannot run without it
  std::string detail;
  std::string mend;
};

std::vector<Check> check_host(const LoadedSettings& loaded) {
  std::vector<Check> checks;
  const auto probes = probe_vmms({});
  for (const auto& probe : probes)
    checks.push_back({.name = std::string(to_string(probe.kind)),
                      .ok = probe.usable,
                      .needed = false,
                      .detail = (probe.version.empty() ? "" : probe.version + "; ") + probe.reason,
                      .mend = probe.mend});
  if (const auto chosen = choose_vmm(loaded.settings.agent.vmm, probes))
    checks.push_back(
        {.name = "vmm", .ok = true, .needed = true, .detail = "uses " + std::string(to_string(*chosen)), .mend = ""});
  else
    checks.push_back(
        {.name = "vmm", .ok = false, .needed = true, .detail = chosen.error().reason, .mend = chosen.error().mend});
  const auto kernel = find_kernel(loaded);
  checks.push_back({.name = "guest kernel",
                    .ok = !kernel.empty(),
                    .needed = true,
                    .detail = kernel.empty() ? "none was found" : kernel.string(),
                    .mend = kernel.empty() ? "run guest/kernel/build, or set [firecracker] kernel" : ""});
  if (const auto host = ConfinementHost::detect(loaded.data_folder)) {
    const auto& report = host->report;
    checks.push_back({.name = "confinement",
                      .ok = report.level == ConfinementLevel::full,
                      .needed = false,
                      .detail = std::string(to_string(report.level)),
                      .mend = ""});
    for (const auto& gap : report.gaps)
      checks.push_back(
          {.name = "confinement: " + gap.what, .ok = false, .needed = false, .detail = gap.reason, .mend = gap.mend});
    const auto& limits = report.cgroups;
    std::string detail = "cgroups: " + std::string(to_string(limits.version)) + "; held: rlimits" +
                         (limits.memory ? ", memory" : "") + (limits.cpu ? ", cpu" : "") +
                         (limits.pids ? ", pids" : "");
    for (const auto& reason : limits.reasons) detail += "; " + reason;
    checks.push_back({.name = "limits",
                      .ok = limits.memory && limits.cpu && limits.pids,
                      .needed = false,
                      .detail = detail,
                      .mend = limits.reasons.empty() ? "" : "mount the missing cgroup controllers"});
  } else {
    checks.push_back(
        {.name = "confinement", .ok = false, .needed = true, .detail = host.error().reason, .mend = host.error().mend});
  }
  const auto& network = loaded.settings.network;
  for (const auto& check : check_host_network({.bridge_name = network.bridge_name, .subnet = network.subnet}))
    checks.push_back({.name = check.name, .ok = check.ok, .needed = false, .detail = check.detail, .mend = check.mend});
  return checks;
}

}  // namespace

int run_doctor(const LoadedSettings& loaded, bool as_json) {
  const auto checks = check_host(loaded);
  bool fine = true;
  for (const auto& check : checks) fine = fine && (check.ok || !check.needed);
  if (as_json) {
    rapidjson::StringBuffer buffer;
    JsonWriter json(buffer);
    json.StartObject();
    put(json, "ok");
    json.Bool(fine);
    put(json, "checks");
    json.StartArray();
    for (const auto& check : checks) {
      json.StartObject();
      put_text(json, "name", check.name);
      put(json, "ok");
      json.Bool(check.ok);
      put(json, "needed");
      json.Bool(check.needed);
      put_text(json, "detail", check.detail);
      put_text(json, "mend", check.mend);
      json.EndObject();
    }
    json.EndArray();
    json.EndObject();
    std::cout << buffer.GetString() << "\n";
    return fine ? 0 : 1;
  }
  for (const auto& check : checks) {
    std::cout << (check.ok       ? "ok    "
                  : check.needed ? "FAIL  "
                                 : "-     ")
              << std::left << std::setw(24) << check.name << check.detail << "\n";
    if (!check.ok && !check.mend.empty())
      std::cout << "      " << std::setw(24) << ""
                << "mend: " << check.mend << "\n";
  }
  std::cout << (fine ? "sandboxes can run on this host\n" : "sandboxes cannot run on this host yet\n");
  return fine ? 0 : 1;
}

}  // namespace nanobox
