# `cpack --config BUILD/CPackConfig.cmake` makes nanobox_VERSION_ARCHITECTURE.deb of what `cmake --install` installs.
set(NANOBOX_MAINTAINER "The authors of NanoBox <authors@nanobox.invalid>"
    CACHE STRING "Who the package says to write to")
set(debian ${PROJECT_SOURCE_DIR}/deploy/debian)

# What [run] of deploy/packages.txt names; libraries are found by dpkg-shlibdeps.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/deploy/packages.txt)
file(STRINGS ${PROJECT_SOURCE_DIR}/deploy/packages.txt lines REGEX "^[^#]")
set(section)
set(depends)
foreach(line IN LISTS lines)
  if(line MATCHES "^\\[(.*)\\]$")
    set(section ${CMAKE_MATCH_1})
  elseif(section STREQUAL run)
    list(APPEND depends ${line})
  endif()
endforeach()
list(JOIN depends ", " CPACK_DEBIAN_PACKAGE_DEPENDS)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME nanobox)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "microVM sandboxes from container images")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"NanoBox turns any container image into a microVM in which commands run, with
a kernel of its own, in about a second even where the host has no hardware
virtualisation. The package holds the daemon, its client, the guest's kernel
and an image to begin with.")
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${NANOBOX_MAINTAINER})
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${debian}/postinst ${debian}/prerm ${debian}/postrm ${debian}/conffiles)
set(CPACK_STRIP_FILES ON)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/package)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/package_files.cmake)
include(CPack)
