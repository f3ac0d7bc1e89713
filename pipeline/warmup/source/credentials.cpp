#include "pipeline/warmup/source/credentials.hpp"

#include "pipeline/warmup/source/json_read.hpp"
#include "pipeline/warmup/source/local_file.hpp"
#include "pipeline/warmup/source/registry_auth.hpp"

namespace nanobox {

namespace {

constexpr std::uint64_t kMaxConfigBytes = 1U << 20;

/// "https://index.docker.io/v1/" → "docker.io"; what stands in configuration files is written in many ways.
std::string registry_key(std::string_view text) {
  if (const auto scheme = text.find("://"); scheme != std::string_view::npos) text.remove_prefix(scheme + 3);
  std::string host(text.substr(0, text.find('/')));
  for (auto& c : host)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (host == "index.docker.io" || host == "registry-1.docker.io") return "docker.io";
  return host;
}

tl::unexpected<Error> invalid(const std::string& file_name, std::string reason) {
  return fail({.code = ErrorCode::config_invalid,
               .attempted = "read docker's configuration",
               .subject = file_name,
               .reason = std::move(reason),
               .mend = "mend the file, or name another in [oci] docker_config"});
}

}  // namespace

Result<std::optional<Credentials>> parse_docker_config(std::string_view json, const std::string& registry,
                                                       const std::string& file_name) {
  rapidjson::Document document;
  if (!parse_json(document, json) || !document.IsObject()) return invalid(file_name, "it is no JSON object");
  const Json* auths = json_member(document, "auths");
  if (!auths || auths->IsNull()) return std::nullopt;
  if (!auths->IsObject()) return invalid(file_name, "'auths' is no object");
  for (const auto& entry : auths->GetObject()) {
    const std::string_view name(entry.name.GetString(), entry.name.GetStringLength());
    if (registry_key(name) != registry_key(registry) || !entry.value.IsObject()) continue;
    Credentials found{.username = json_text(entry.value, "username"), .password = json_text(entry.value, "password")};
    if (const auto packed = json_text(entry.value, "auth"); !packed.empty()) {
      const auto plain = decode_base64(packed);
      const auto colon = plain ? plain->find(':') : std::string::npos;
      if (colon == std::string::npos)
        return invalid(file_name, "the 'auth' of " + registry + " is no base64 of name:password");
      found = {.username = plain->substr(0, colon), .password = plain->substr(colon + 1)};
      while (!found.password.empty() && found.password.back() == '\0') found.password.pop_back();
    }
    if (!found.username.empty()) return found;
  }
  return std::nullopt;
}

Result<std::optional<Credentials>> find_credentials(const ImageSourceSettings& settings,
                                                    const std::optional<Credentials>& requested,
                                                    const std::string& registry) {
  if (requested) return requested;
  for (const auto& entry : settings.credentials)
    if (registry_key(entry.registry) == registry_key(registry)) return entry.credentials;
  if (settings.docker_config.empty()) return std::nullopt;
  std::error_code ignored;
  if (!std::filesystem::exists(settings.docker_config, ignored)) return std::nullopt;
  const auto text = NANOBOX_TRY(read_file(settings.docker_config, kMaxConfigBytes));
  return parse_docker_config(text, registry, settings.docker_config.string());
}

}  // namespace nanobox
