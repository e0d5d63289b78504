# Installs the units. From systemd 253 on, `systemctl reload` can wait until the reload has ended (Type=notify-reload);
# earlier releases do not know that type. PGVEIL_SYSTEMD_VERSION is for packages that are built on another machine.
if(NOT DEFINED PGVEIL_SYSTEMD_VERSION)
  execute_process(COMMAND systemctl --version OUTPUT_VARIABLE said ERROR_QUIET RESULT_VARIABLE ignored)
  string(REGEX MATCH "^systemd ([0-9]+)" ignored "${said}")
  set(PGVEIL_SYSTEMD_VERSION "${CMAKE_MATCH_1}")
endif()

set(folder "${CMAKE_INSTALL_PREFIX}/lib/systemd/system")
set(unit "${CMAKE_CURRENT_LIST_DIR}/pgveil.service")
file(INSTALL DESTINATION "${folder}" TYPE FILE FILES "${unit}" "${CMAKE_CURRENT_LIST_DIR}/pgveil.socket")
if(PGVEIL_SYSTEMD_VERSION GREATER_EQUAL 253)
  file(READ "${unit}" text)
  string(REGEX REPLACE "(\n#[^\n]*)*\nType=notify\n" "\nType=notify-reload\n" text "${text}")
  string(REGEX REPLACE "\nExecReload=[^\n]*" "" text "${text}")
  file(WRITE "$ENV{DESTDIR}${folder}/pgveil.service" "${text}")
endif()
