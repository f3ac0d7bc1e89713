# Plays the VMM; static, so that it runs in a root that holds nothing else.
add_executable(confine_stand_in confine_stand_in.cpp confine_escape.cpp)
target_link_options(confine_stand_in PRIVATE -static)
target_compile_options(confine_stand_in PRIVATE -O1 -Wall -Wextra)
target_include_directories(confine_stand_in PRIVATE ${PROJECT_SOURCE_DIR})

# Plays a daemon that starts a VMM and is killed.
add_executable(confine_daemon confine_daemon.cpp)
target_link_libraries(confine_daemon PRIVATE nanobox::boot_confine)
nanobox_flags(confine_daemon)

nanobox_test(confine
  SOURCES
    confine_cgroup_test.cpp
    confine_child_process_test.cpp
    confine_escape_test.cpp
    confine_fixture.cpp
    confine_limits_test.cpp
    confine_outliving_test.cpp
    confine_process_test.cpp
    confine_properties_test.cpp
    confine_wire_test.cpp
  DEPENDS nanobox::boot_confine nanobox::config)
add_dependencies(test_confine confine_stand_in confine_daemon nanobox-vm-parent)
target_compile_definitions(test_confine PRIVATE
  NANOBOX_VM_PARENT="$<TARGET_FILE:nanobox-vm-parent>"
  NANOBOX_STAND_IN="$<TARGET_FILE:confine_stand_in>"
  NANOBOX_TEST_DAEMON="$<TARGET_FILE:confine_daemon>")
