# SPDX-License-Identifier: Apache-2.0
# hc_flags: how our own code is compiled. Generated code never links it.
add_library(hc_flags INTERFACE)
target_compile_definitions(hc_flags INTERFACE _GNU_SOURCE)
target_compile_options(hc_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes
    -Wmissing-prototypes -Wformat=2 -Wundef -Wvla -Wcast-qual -Wwrite-strings
    -Wimplicit-fallthrough -Wpointer-arith
    $<$<C_COMPILER_ID:GNU>:-Wjump-misses-init;-Wlogical-op;-Wduplicated-cond;-Werror=maybe-uninitialized>)

# What a release is built with; a sanitizer build wants none of it.
add_library(hc_hardening INTERFACE)
if(NOT HC_SANITIZE)
    target_compile_options(hc_hardening INTERFACE
        $<$<CONFIG:Release,RelWithDebInfo>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=3;-fstack-protector-strong;-fstack-clash-protection;-fcf-protection>)
    target_link_options(hc_hardening INTERFACE
        $<$<CONFIG:Release,RelWithDebInfo>:-Wl,-z,relro,-z,now,-z,noexecstack>)
endif()
target_link_libraries(hc_flags INTERFACE hc_hardening)

if(HC_SANITIZE)
    add_compile_options(-fsanitize=${HC_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${HC_SANITIZE})
endif()

# Lets those that link `target` include the headers of the folder where it is made as
# <folder/name.h>: a directory of its own holds a link to that folder alone, so that no
# folder can include a header of one that it does not link.
function(hc_export_folder target)
    get_filename_component(folder "${CMAKE_CURRENT_SOURCE_DIR}" NAME)
    set(layer "${PROJECT_BINARY_DIR}/layers/${folder}")
    file(MAKE_DIRECTORY "${layer}")
    file(CREATE_LINK "${CMAKE_CURRENT_SOURCE_DIR}" "${layer}/${folder}" SYMBOLIC)
    target_include_directories(${target} INTERFACE "${layer}")
    set_property(GLOBAL APPEND PROPERTY HC_FOLDERS "${folder}")
endfunction()

# One static library per folder of lib/; what it may use is what it links.
function(hc_module name)
    cmake_parse_arguments(ARG "" "" "SOURCES;USES;LIBRARIES" ${ARGN})
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE hc_flags PUBLIC hc_headers ${ARG_USES} PRIVATE ${ARG_LIBRARIES})
    hc_export_folder(${name})
endfunction()
