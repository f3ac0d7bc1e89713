#pragma once

#include <string_view>

namespace nanobox {

/// Tells the service manager that started this process how it fares, as sd_notify(3) does: "READY=1", "STOPPING=1".
/// Does nothing where none did, or where it does not listen.
void tell_service_manager(std::string_view state);

}  // namespace nanobox
