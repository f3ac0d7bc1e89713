#include "pipeline/boot/snapshot/saved_state.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "config/unique_fd.hpp"
#include "pipeline/boot/memory/flat_memory.hpp"
#include "pipeline/json_text.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

constexpr const char* kParts[] = {"state", "mem", "pages", "disk.qcow2"};
constexpr const char* kMend = "warm the template up again; a paused sandbox is lost";

Error invalid(const fs::path& path, std::string reason) {
  return {.code = ErrorCode::snapshot_invalid,
          .attempted = "read a saved state",
          .subject = path,
          .reason = std::move(reason),
          .mend = kMend};
}

Result<rapidjson::Document> read_manifest(const fs::path& folder) {
  std::ifstream file(folder / "manifest.json");
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return fail(invalid(folder, "it has no manifest.json"));
  rapidjson::Document json;
  const auto bytes = text.str();
  json.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag>(bytes.data(), bytes.size());
  if (json.HasParseError() || !json.IsObject() || !json.HasMember("parts") || !json["parts"].IsObject())
    return fail(invalid(folder / "manifest.json", "it is no manifest"));
  return json;
}

}  // namespace

Result<void> write_manifest(const SavedState& saved, bool durable) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_text(json, "fingerprint", saved.fingerprint);
  put(json, "tsc_khz");
  json.Uint64(saved.tsc_khz);
  put(json, "vcpu");
  json.Uint(saved.vcpu);
  put(json, "memory_mb");
  json.Uint(saved.memory_mb);
  put(json, "disk_bytes");
  json.Uint64(saved.disk_bytes);
  put_time(json, "taken_at", saved.taken_at);
  put(json, "parts");
  json.StartObject();
  for (const auto* part : kParts) {
    struct stat file {};
    if (::stat((saved.folder / part).c_str(), &file) != 0) continue;
    put(json, part);
    json.StartObject();
    put(json, "size");
    json.Int64(file.st_size);
    put(json, "crc32c");
    json.Uint(NANOBOX_TRY(checksum_of_file(saved.folder / part)));
    json.EndObject();
  }
  json.EndObject();
  json.EndObject();
  const auto path = saved.folder / "manifest.json";
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file || ::write(file.get(), buffer.GetString(), buffer.GetSize()) != static_cast<ssize_t>(buffer.GetSize()) ||
      (durable && ::fsync(file.get()) != 0))
    return fail(errno_error(errno, "write", path));
  return {};
}

Result<SavedState> read_saved_state(const fs::path& folder) {
  const auto json = NANOBOX_TRY(read_manifest(folder));
  SavedState saved{.folder = folder,
                   .fingerprint = text_at(json, "fingerprint"),
                   .tsc_khz = number_at(json, "tsc_khz"),
                   .vcpu = static_cast<std::uint32_t>(number_at(json, "vcpu")),
                   .memory_mb = static_cast<std::uint32_t>(number_at(json, "memory_mb")),
                   .disk_bytes = number_at(json, "disk_bytes"),
                   .taken_at = from_rfc3339(text_at(json, "taken_at")).value_or(WallTime{})};
  for (const auto& part : json["parts"].GetObject()) {
    const fs::path path = folder / part.name.GetString();
    struct stat file {};
    if (::stat(path.c_str(), &file) != 0) return fail(invalid(path, "it is missing"));
    if (!part.value.IsObject() || static_cast<std::uint64_t>(file.st_size) != number_at(part.value, "size"))
      return fail(invalid(path, "it has another size than when it was saved"));
  }
  if (saved.vcpu == 0 || saved.memory_mb == 0 || !json["parts"].HasMember("state"))
    return fail(invalid(folder, "its manifest lacks a part"));
  return saved;
}

Result<void> verify_saved_state(const SavedState& saved) {
  const auto json = NANOBOX_TRY(read_manifest(saved.folder));
  for (const auto& part : json["parts"].GetObject()) {
    const fs::path path = saved.folder / part.name.GetString();
    if (NANOBOX_TRY(checksum_of_file(path)) != number_at(part.value, "crc32c"))
      return fail(invalid(path, "its checksum is not the one it was saved with"));
  }
  return {};
}

Result<void> check_fits(const SavedState& saved, const std::string& fingerprint, std::uint64_t tsc_khz) {
  if (saved.fingerprint != fingerprint)
    return fail(invalid(saved.folder, "it was saved by another VMM, processor or kernel command line"));
  const auto difference = std::max(saved.tsc_khz, tsc_khz) - std::min(saved.tsc_khz, tsc_khz);
  if (difference > saved.tsc_khz / 500)
    return fail(invalid(saved.folder, "it was saved on a host whose TSC runs at " + std::to_string(saved.tsc_khz) +
                                          " kHz, and this one's at " + std::to_string(tsc_khz)));
  return {};
}

}  // namespace nanobox
