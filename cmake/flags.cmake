# Language level, warnings, sanitizers and ccache: everything that holds for every target of ours.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
if(NANOBOX_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O0 -g1")
endif()

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

function(nanobox_flags target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic)
  if(NANOBOX_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  # RapidJSON adds to null pointers: -fno-sanitize=pointer-overflow. Of the checks before each access ASan sees a null
  # pointer anyway; the fuzz targets have all. Without optimization, by Clang: a third of the time that -O1 takes to
  # build by GCC; what works on many bytes has it all the same.
  if(NANOBOX_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=address,undefined
                           -fno-sanitize=pointer-overflow,null,alignment,object-size,vptr
                           $<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>
                           -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=address,undefined)
  endif()
  if(NANOBOX_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link,address,undefined
                           -fno-sanitize=pointer-overflow -fno-sanitize-recover=undefined)
    target_link_options(${target} PRIVATE -fsanitize=address,undefined)
  endif()
endfunction()
