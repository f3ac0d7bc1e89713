#pragma once

#include "actors/services.hpp"
#include "config/settings.hpp"

namespace nanobox {

/// Makes everything the actors share out of the settings: folders, stores, caches, the VMM's driver. A host on which no
/// VMM works still gets a server: warmups go on, and each create says what is wrong. Blocking.
/// @errors store_failed · io_failed · file_unreadable · disk_full
/// @param part  of [network] subnet, what this node gives addresses from
Result<SharedServices> set_up_services(const LoadedSettings& loaded, std::shared_ptr<RecordStore> control_store,
                                       Ipv4Subnet part);

/// What of the settings an edge needs that may have no node behind it.
Result<SpoolPlace> make_spool_place(const LoadedSettings& loaded);
ImageSourceSettings image_sources(const Settings& settings);

/// The newest vmlinux of DATA/kernels, lib/nanobox beside our bin, /usr/lib/nanobox and the build's cache, or what the
/// settings name; empty: none.
std::filesystem::path find_kernel(const LoadedSettings& loaded);

}  // namespace nanobox
