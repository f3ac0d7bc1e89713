# What `cmake --install` puts where, and with cmake/package.cmake what the .deb holds.
include(GNUInstallDirs)

# Programs of tools/, each with its manual's section; a page is made of --help and of tools/manual/NAME.extra, if any.
set(NANOBOX_PROGRAMS nanoboxd:8 nanobox:1 nanobox-inspect:1)

set(manual_maker ${PROJECT_SOURCE_DIR}/tools/manual/make_manual.py)
set(share ${PROJECT_BINARY_DIR}/share)
set(pages)
file(MAKE_DIRECTORY ${share}/man ${share}/completions)

foreach(entry IN LISTS NANOBOX_PROGRAMS)
  string(REPLACE ":" ";" entry ${entry})
  list(GET entry 0 program)
  list(GET entry 1 section)
  set(page ${share}/man/${program}.${section})
  set(extra ${PROJECT_SOURCE_DIR}/tools/manual/${program}.extra)
  if(NOT EXISTS ${extra})
    set(extra)
  endif()
  add_custom_command(
    OUTPUT ${page}
    COMMAND ${PYTHON3} ${manual_maker} $<TARGET_FILE:${program}> ${section} ${extra} > ${page}
    DEPENDS ${program} ${manual_maker} ${extra}
    COMMENT "Making the manual page ${program}(${section})"
    VERBATIM)
  list(APPEND pages ${page})
  install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

# nanobox.toml(5), and the file itself with every default.
set(frame ${PROJECT_SOURCE_DIR}/tools/manual/nanobox.toml.frame)
add_custom_command(
  OUTPUT ${share}/man/nanobox.toml.5
  COMMAND $<TARGET_FILE:settings_reference> mdoc > ${share}/man/settings.mdoc
  COMMAND ${PYTHON3} ${manual_maker} --page nanobox.toml 5 ${frame} ${share}/man/settings.mdoc
          > ${share}/man/nanobox.toml.5
  DEPENDS settings_reference ${manual_maker} ${frame}
  COMMENT "Making the manual page nanobox.toml(5)"
  VERBATIM)
add_custom_command(
  OUTPUT ${share}/nanobox.toml
  COMMAND $<TARGET_FILE:settings_reference> toml > ${share}/nanobox.toml
  DEPENDS settings_reference
  VERBATIM)
install(FILES ${share}/man/nanobox.toml.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)

foreach(shell IN ITEMS bash zsh fish)
  add_custom_command(
    OUTPUT ${share}/completions/nanobox.${shell}
    COMMAND $<TARGET_FILE:nanobox> completion ${shell} > ${share}/completions/nanobox.${shell}
    DEPENDS nanobox
    VERBATIM)
  list(APPEND completions ${share}/completions/nanobox.${shell})
endforeach()
install(FILES ${share}/completions/nanobox.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        RENAME nanobox)
install(FILES ${share}/completions/nanobox.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions
        RENAME _nanobox)
install(FILES ${share}/completions/nanobox.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

add_custom_target(manual ALL DEPENDS ${pages} ${share}/man/nanobox.toml.5 ${share}/nanobox.toml ${completions})

# The daemon looks for this one in ../libexec/nanobox, for images in ../share/nanobox/images.
install(TARGETS nanobox-vm-parent RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/nanobox)
install(DIRECTORY ${share}/nanobox/images DESTINATION ${CMAKE_INSTALL_DATADIR}/nanobox)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs
        FILES_MATCHING PATTERN "*.md" PATTERN "*.json")
install(FILES ${PROJECT_SOURCE_DIR}/README.md ${share}/nanobox.toml DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${PROJECT_SOURCE_DIR}/guest/kernel/fragment DESTINATION ${CMAKE_INSTALL_DOCDIR}
        RENAME guest-kernel.config)

install(CODE "
  set(units \"${PROJECT_SOURCE_DIR}/deploy/systemd\")
  set(made \"${PROJECT_BINARY_DIR}/systemd\")
  set(BINDIR \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\")
  foreach(unit IN ITEMS nanoboxd nanobox-node)
    configure_file(\${units}/\${unit}.service.in \${made}/\${unit}.service @ONLY)
  endforeach()
  file(INSTALL \${made}/nanoboxd.service \${made}/nanobox-node.service \${units}/nanobox-vms.service
       DESTINATION \"\${CMAKE_INSTALL_PREFIX}/lib/systemd/system\")

  # A build that is there already costs nothing; the daemon looks in ../lib/nanobox.
  execute_process(COMMAND \"${PROJECT_SOURCE_DIR}/guest/kernel/build\" OUTPUT_VARIABLE kernel
                  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  file(INSTALL \"\${kernel}\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/lib/nanobox\"
       PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)

  # The daemon reads this file wherever it is itself; one that is there is somebody's.
  if(CMAKE_INSTALL_PREFIX MATCHES \"^/usr(/local)?/?$\" AND NOT EXISTS \"\$ENV{DESTDIR}/etc/nanobox/nanobox.toml\")
    file(INSTALL \"${share}/nanobox.toml\" DESTINATION /etc/nanobox)
  endif()")
