# SPDX-License-Identifier: Apache-2.0
# hc_package(name …): the target lib<name>, a shared library made of static modules, and all
# that lets others use it: headers, a CMake package (find_package(name) gives
# hubcache::<NAMESPACE_TARGET>) and a pkg-config file. It exports SYMBOLS and nothing else.
#   MODULES  go in whole, what they link as far as it is needed
#   ROOTS    functions of the interface that no module needs
function(hc_package name)
    cmake_parse_arguments(ARG "" "NAMESPACE_TARGET;DESCRIPTION;PRIVATE_LIBRARIES"
        "MODULES;ROOTS;HEADER_DIRS;HEADERS;SYMBOLS" ${ARGN})
    set(here "${CMAKE_CURRENT_BINARY_DIR}/${name}")

    list(JOIN ARG_SYMBOLS "; " symbols)
    string(MAKE_C_IDENTIFIER "${name}" node)
    string(TOUPPER "${node}_${PROJECT_VERSION_MAJOR}" node)
    file(CONFIGURE OUTPUT "${here}.map"
        CONTENT "${node} {\n    global: ${symbols};\n    local: *;\n};\n")

    # Their objects go in whole; linking them brings what they need.
    list(TRANSFORM ARG_MODULES REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)
    add_library(lib${name} SHARED ${objects})
    target_link_libraries(lib${name} PRIVATE ${ARG_MODULES})
    list(TRANSFORM ARG_ROOTS PREPEND "LINKER:--undefined=")
    target_link_options(lib${name} PRIVATE ${ARG_ROOTS}
        "LINKER:--version-script=${here}.map" "LINKER:--as-needed")
    if(NOT HC_SANITIZE) # whose functions are in the program, not in a library
        target_link_options(lib${name} PRIVATE "LINKER:--no-undefined")
    endif()
    set_target_properties(lib${name} PROPERTIES
        OUTPUT_NAME "${name}" EXPORT_NAME "${ARG_NAMESPACE_TARGET}" LINKER_LANGUAGE C
        VERSION "${PROJECT_VERSION}" SOVERSION 0 LINK_DEPENDS "${here}.map"
        VERIFY_INTERFACE_HEADER_SETS ON)
    target_sources(lib${name} PUBLIC FILE_SET HEADERS
        BASE_DIRS ${ARG_HEADER_DIRS} FILES ${ARG_HEADERS})

    # No program of this tree would miss a header that is not installed.
    list(GET ARG_HEADER_DIRS 0 own)
    file(GLOB_RECURSE missing RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}" "${own}/*.h")
    list(REMOVE_ITEM missing ${ARG_HEADERS})
    if(missing)
        message(FATAL_ERROR "the package ${name} lacks the headers ${missing}")
    endif()

    # A CMake before 3.23 knows no file sets, and takes the include directory.
    install(TARGETS lib${name} EXPORT ${name} FILE_SET HEADERS
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
    set(package "${CMAKE_INSTALL_LIBDIR}/cmake/${name}")
    install(EXPORT ${name} NAMESPACE hubcache:: FILE ${name}-config.cmake
        DESTINATION "${package}")
    write_basic_package_version_file("${here}-config-version.cmake"
        VERSION "${PROJECT_VERSION}" COMPATIBILITY SameMinorVersion)
    install(FILES "${here}-config-version.cmake" DESTINATION "${package}")

    file(RELATIVE_PATH up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
    file(CONFIGURE OUTPUT "${here}.pc" CONTENT
"prefix=\${pcfiledir}/${up}
includedir=\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}
libdir=\${prefix}/${CMAKE_INSTALL_LIBDIR}

Name: ${name}
Description: ${ARG_DESCRIPTION}
Version: ${PROJECT_VERSION}
Cflags: -I\${includedir}
Libs: -L\${libdir} -l${name}
Libs.private: ${ARG_PRIVATE_LIBRARIES}
" @ONLY)
    install(FILES "${here}.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endfunction()
