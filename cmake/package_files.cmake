# Run by cpack on the staged tree: what Debian's policy wants of a package beside what the program installs.
set(debian ${CMAKE_CURRENT_LIST_DIR}/../deploy/debian)
set(usr ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr)
set(doc ${usr}/share/doc/nanobox)

function(compressed file)
  execute_process(COMMAND gzip -9nf ${file} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(COPY ${debian}/copyright DESTINATION ${doc})
string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE ${doc}/changelog "nanobox (${CPACK_PACKAGE_VERSION}) bookworm; urgency=medium

  * What users notice is in CHANGELOG.md.

 -- ${CPACK_DEBIAN_PACKAGE_MAINTAINER}  ${now}
")
file(COPY ${CMAKE_CURRENT_LIST_DIR}/../CHANGELOG.md DESTINATION ${doc})
file(MAKE_DIRECTORY ${usr}/share/lintian/overrides)
file(COPY_FILE ${debian}/lintian-overrides ${usr}/share/lintian/overrides/nanobox)
file(GLOB pages ${usr}/share/man/man*/*)
foreach(file IN LISTS pages ITEMS ${doc}/changelog)
  compressed(${file})
endforeach()
