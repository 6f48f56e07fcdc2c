# `cmake --install` installs the programs, libgondola with its headers, the default model, with gondola-train
# the recipes, and what find_package(Gondola) needs.
include(CMakePackageConfigHelpers)

set(gondola_package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/Gondola)
install(TARGETS gondola RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS gondola_shared EXPORT GondolaTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/gondola DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/gondola/models)
if(TARGET gondola-train)
  # Both need the libtorch that they were built with, which is not installed along with them.
  set(gondola_rpath ${TORCH_INSTALL_PREFIX}/lib ${GONDOLA_ARROW_DIR})
  set_target_properties(gondola-train gondola_torch PROPERTIES INSTALL_RPATH "${gondola_rpath}")
  install(TARGETS gondola_torch LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/gondola)
  install(DIRECTORY recipes/ DESTINATION ${CMAKE_INSTALL_DATADIR}/gondola/recipes
    FILES_MATCHING PATTERN "*.toml" PATTERN held-out EXCLUDE)
  install(TARGETS gondola-train RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(EXPORT GondolaTargets NAMESPACE Gondola:: DESTINATION ${gondola_package_folder})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/GondolaConfig.cmake.in
  ${PROJECT_BINARY_DIR}/GondolaConfig.cmake INSTALL_DESTINATION ${gondola_package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/GondolaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/GondolaConfig.cmake ${PROJECT_BINARY_DIR}/GondolaConfigVersion.cmake
  DESTINATION ${gondola_package_folder})
