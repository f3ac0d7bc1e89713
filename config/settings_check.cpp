#include <sys/stat.h>
#include <unistd.h>

#include "config/log.hpp"
#include "config/settings.hpp"

namespace nanobox {
namespace {

enum class Needed : std::uint8_t { file, program, folder };

std::optional<std::string> problem_with(const std::filesystem::path& path, Needed needed) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return "it is missing";
  if (needed == Needed::folder) return S_ISDIR(info.st_mode) ? std::nullopt : std::optional("it is no folder");
  if (!S_ISREG(info.st_mode)) return "it is no file";
  if (::access(path.c_str(), needed == Needed::program ? X_OK : R_OK) != 0)
    return needed == Needed::program ? "it may not be executed" : "it may not be read";
  return std::nullopt;
}

}  // namespace

std::vector<Error> check_settings(const LoadedSettings& loaded) {
  const auto& s = loaded.settings;
  std::vector<Error> errors;
  const auto check = [&](const char* key, const std::filesystem::path& path, Needed needed, std::string mend) {
    if (path.empty() || !loaded.given.contains(key)) return;
    if (auto problem = problem_with(path, needed))
      errors.push_back({.code = ErrorCode::file_unreadable,
                        .attempted = "check settings",
                        .subject = std::string(key) + " = " + path.string(),
                        .reason = std::move(*problem),
                        .mend = std::move(mend)});
  };
  const bool looked_up = s.agent.firecracker_bin.native().find('/') == std::string::npos;
  if (!looked_up)
    check("agent.firecracker_bin", s.agent.firecracker_bin, Needed::program,
          "install Firecracker there, or remove the key where QEMU is used");
  check("firecracker.kernel", s.firecracker.kernel, Needed::file,
        "build the guest kernel, or remove the key to use the newest one found");
  check("oci.init_binary", s.oci.init_binary, Needed::file, "remove the key to use the embedded one");
  check("oci.ca_file", s.oci.ca_file, Needed::file, "name a file with certificates, or remove the key");
  check("oci.docker_config", s.oci.docker_config, Needed::file, "log in with docker, or remove the key");
  for (const auto& root : s.oci.local_roots)
    check("oci.local_roots", root, Needed::folder, "make the folder, or remove it from the list");
  if (const auto levels = parse_log_levels(s.log.levels); !levels) errors.push_back(levels.error());
  return errors;
}

}  // namespace nanobox
