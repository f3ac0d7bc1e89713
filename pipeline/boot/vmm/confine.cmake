# What keeps a VMM to itself, and the tiny program that lives on with each.
set(vm_parent_wire vm_parent/launch.cpp vm_parent/passed_fds.cpp proc_identity.cpp)

nanobox_library(boot_confine
  SOURCES
    cgroup.cpp
    cgroup_mounts.cpp
    confinement.cpp
    confinement_seccomp.cpp
    vm_process.cpp
    ${vm_parent_wire}
  DEPENDS
    nanobox::config
    PkgConfig::libseccomp)

# Static, so that it is small in memory, starts at once and needs nothing of the host; hence without sanitizers.
add_executable(nanobox-vm-parent
  vm_parent/cgroup_account.cpp
  vm_parent/confined.cpp
  vm_parent/keeper.cpp
  vm_parent/main.cpp
  vm_parent/new_root.cpp
  vm_parent/privileges.cpp
  ${vm_parent_wire}
  ${PROJECT_SOURCE_DIR}/config/error.cpp)
target_include_directories(nanobox-vm-parent PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_options(nanobox-vm-parent PRIVATE -Wall -Wextra -Wpedantic)
if(NANOBOX_WERROR)
  target_compile_options(nanobox-vm-parent PRIVATE -Werror)
endif()
target_link_libraries(nanobox-vm-parent PRIVATE tl::expected)
target_link_options(nanobox-vm-parent PRIVATE -static -Wl,--gc-sections)
set_target_properties(nanobox-vm-parent PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
add_dependencies(nanobox_boot_confine nanobox-vm-parent)
