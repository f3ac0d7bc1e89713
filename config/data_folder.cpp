#include "config/data_folder.hpp"

#include <unistd.h>

namespace nanobox {

Result<std::filesystem::path> find_data_folder(const Environment& environment) {
  if (const auto named = environment.find("NANOBOX_DATA"); named != environment.end() && !named->second.empty()) {
    std::filesystem::path folder = named->second;
    if (folder.is_absolute()) return folder.lexically_normal();
    return fail({.code = ErrorCode::config_invalid,
                 .attempted = "find data folder",
                 .subject = "NANOBOX_DATA=" + named->second,
                 .reason = "it is no absolute path",
                 .mend = "write the whole path, from /"});
  }
  if (::geteuid() == 0) return std::filesystem::path("/var/lib/nanobox");
  if (const auto home = environment.find("HOME"); home != environment.end() && !home->second.empty())
    return std::filesystem::path(home->second) / ".local/share/nanobox";
  return fail({.code = ErrorCode::config_invalid,
               .attempted = "find data folder",
               .subject = "",
               .reason = "neither NANOBOX_DATA nor HOME is set",
               .mend = "set NANOBOX_DATA to a folder of your own"});
}

}  // namespace nanobox
