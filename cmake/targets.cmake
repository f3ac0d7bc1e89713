# nanobox_library(NAME SOURCES … DEPENDS …): a static library of one folder; everything includes from the repository's root.
function(nanobox_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(nanobox_${name} STATIC ${ARG_SOURCES})
  add_library(nanobox::${name} ALIAS nanobox_${name})
  target_include_directories(nanobox_${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)
  target_link_libraries(nanobox_${name} PUBLIC ${ARG_DEPENDS})
  nanobox_flags(nanobox_${name})
endfunction()

# nanobox_program(NAME SOURCES … DEPENDS …): a program of tools/.
function(nanobox_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  nanobox_flags(${name})
endfunction()

# All unit tests and what they need, without the rest.
add_custom_target(unit_tests)

# nanobox_test(NAME SOURCES … DEPENDS …): a Catch2 program whose test cases are registered with ctest one by one.
function(nanobox_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(test_${name} ${ARG_SOURCES})
  target_link_libraries(test_${name} PRIVATE nanobox_catch_main ${ARG_DEPENDS})
  set_target_properties(test_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  nanobox_flags(test_${name})
  add_dependencies(unit_tests test_${name})
  catch_discover_tests(test_${name} TEST_PREFIX "${name}: " PROPERTIES TIMEOUT 300)
endfunction()

# nanobox_fuzz(NAME SOURCES … DEPENDS …): a libFuzzer target, built with NANOBOX_FUZZ only.
function(nanobox_fuzz name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(fuzz_${name} ${ARG_SOURCES})
  target_link_libraries(fuzz_${name} PRIVATE ${ARG_DEPENDS})
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
  nanobox_flags(fuzz_${name})
endfunction()
