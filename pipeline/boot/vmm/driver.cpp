#include "pipeline/boot/vmm/driver.hpp"

#include "pipeline/json_text.hpp"

namespace nanobox {

std::string_view to_string(VmmKind kind) {
  switch (kind) {
    case VmmKind::firecracker:
      return "firecracker";
    case VmmKind::qemu_kvm:
      return "qemu-kvm";
    case VmmKind::qemu_tcg:
      return "qemu-tcg";
  }
  return "unknown";
}

std::string to_json(const VmIdentity& identity) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_text(json, "sandbox_id", identity.sandbox_id);
  put_text(json, "vmm", to_string(identity.kind));
  put_text(json, "boot_id", identity.boot_id);
  put(json, "pid");
  json.Int(identity.pid);
  put(json, "start_time_ticks");
  json.Uint64(identity.start_time_ticks);
  put_text(json, "uuid", identity.uuid);
  put_text(json, "vmm_digest", identity.vmm_digest);
  put_text(json, "run_dir", identity.run_dir);
  put(json, "parent_pid");
  json.Int(identity.parent_pid);
  put(json, "parent_start_time_ticks");
  json.Uint64(identity.parent_start_time_ticks);
  put_text(json, "cgroup", identity.cgroup);
  json.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

Result<VmIdentity> vm_identity_from_json(std::string_view json) {
  const auto invalid = [](std::string reason) {
    return fail({.code = ErrorCode::store_failed,
                 .attempted = "read a VM's identity",
                 .subject = "",
                 .reason = std::move(reason),
                 .mend = ""});
  };
  rapidjson::Document document;
  document.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag>(json.data(), json.size());
  if (document.HasParseError() || !document.IsObject()) return invalid("it is no JSON object");

  VmIdentity identity;
  const auto vmm = text_at(document, "vmm");
  bool known = false;
  for (const auto kind : {VmmKind::firecracker, VmmKind::qemu_kvm, VmmKind::qemu_tcg}) {
    if (to_string(kind) != vmm) continue;
    identity.kind = kind;
    known = true;
  }
  if (!known) return invalid("its VMM \"" + vmm + "\" is not known");
  identity.sandbox_id = text_at(document, "sandbox_id");
  identity.boot_id = text_at(document, "boot_id");
  identity.pid = static_cast<std::int32_t>(number_at(document, "pid"));
  identity.start_time_ticks = number_at(document, "start_time_ticks");
  identity.uuid = text_at(document, "uuid");
  identity.vmm_digest = text_at(document, "vmm_digest");
  identity.run_dir = text_at(document, "run_dir");
  identity.parent_pid = static_cast<std::int32_t>(number_at(document, "parent_pid"));
  identity.parent_start_time_ticks = number_at(document, "parent_start_time_ticks");
  identity.cgroup = text_at(document, "cgroup");
  if (identity.boot_id.empty() || identity.pid <= 0 || identity.run_dir.empty()) return invalid("a member is missing");
  return identity;
}

}  // namespace nanobox
