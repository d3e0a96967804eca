# SPDX-License-Identifier: Apache-2.0
# hc_grpc: the C core of gRPC. HC_GRPC_ROOT is the one switch between that of the system's
# packages (1.51 in Debian 12) and a current one, which deploy/grpc/build has installed.
set(HC_GRPC_ROOT "" CACHE PATH "Where deploy/grpc/build has installed gRPC; empty: the system's")

execute_process(COMMAND "${CMAKE_C_COMPILER}" -print-file-name=libstdc++.a
    OUTPUT_VARIABLE stdcxx OUTPUT_STRIP_TRAILING_WHITESPACE)
get_filename_component(stdcxx "${stdcxx}" DIRECTORY)

if(HC_GRPC_ROOT)
    # One archive with all that gRPC is made of, but for OpenSSL, zlib and C++'s library.
    find_package(ZLIB REQUIRED)
    find_library(HC_ARCHIVE_grpc libgrpc.a PATHS "${HC_GRPC_ROOT}/lib" NO_DEFAULT_PATH REQUIRED)
    add_library(hc_grpc_core STATIC IMPORTED)
    set_target_properties(hc_grpc_core PROPERTIES
        IMPORTED_LOCATION "${HC_ARCHIVE_grpc}"
        INTERFACE_LINK_LIBRARIES "OpenSSL::SSL;OpenSSL::Crypto;ZLIB::ZLIB;stdc++;m")
    hc_dependency(hc_grpc SHARED hc_grpc_core
        ARCHIVES grpc ssl crypto z stdc++
        HINTS "${stdcxx}")
    target_include_directories(hc_grpc SYSTEM BEFORE INTERFACE "${HC_GRPC_ROOT}/include")
    target_link_options(hc_grpc INTERFACE LINKER:--gc-sections)
    set(HC_GRPC_LIBRARIES "") # for pkg-config files: it is within the library
else()
    # The archives that a static gRPC needs: those that its pkg-config file names, and those
    # that Debian's leaves out. The last ones are C++'s and OpenSSL's.
    pkg_check_modules(GRPC REQUIRED grpc gpr)
    set(archives ${GRPC_STATIC_LIBRARIES})
    list(REMOVE_DUPLICATES archives)
    list(FILTER archives EXCLUDE REGEX "^(atomic|dl|m|pthread|rt)$") # glibc's, the compiler's
    # Of the shared gRPC only itself: its pkg-config file names every library below it.
    hc_dependency(hc_grpc SHARED grpc gpr
        ARCHIVES ${archives} stdc++
        OPTIONAL address_sorting upb cares re2 z ssl crypto
        HINTS ${GRPC_STATIC_LIBRARY_DIRS} "${stdcxx}")
    target_include_directories(hc_grpc SYSTEM INTERFACE ${GRPC_INCLUDE_DIRS})
    target_link_directories(hc_grpc INTERFACE ${GRPC_LIBRARY_DIRS})
    set(HC_GRPC_LIBRARIES "-lgrpc -lgpr")
    if(NOT EXISTS "${GRPC_grpc_INCLUDEDIR}/grpc/credentials.h")
        target_include_directories(hc_grpc SYSTEM INTERFACE
            "${CMAKE_CURRENT_LIST_DIR}/grpc-1.51")
    endif()
endif()
target_link_libraries(hc_grpc INTERFACE m Threads::Threads)
