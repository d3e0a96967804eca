# SPDX-License-Identifier: Apache-2.0
# hc_dependency(NAME SHARED library… ARCHIVES name… [OPTIONAL name…] [HINTS directory…]): what
# links NAME links the shared libraries. A program with the property HC_STATIC links the archives
# lib<name>.a in their place, if they are all installed, those of OPTIONAL as far as they are: then
# there is nothing to do for the loader of shared libraries.
function(hc_dependency target)
    cmake_parse_arguments(ARG "" "" "SHARED;ARCHIVES;OPTIONAL;HINTS" ${ARGN})
    set(archives)
    set(complete TRUE)
    foreach(name IN LISTS ARG_ARCHIVES ARG_OPTIONAL)
        find_library(HC_ARCHIVE_${name} "lib${name}.a" HINTS ${ARG_HINTS})
        mark_as_advanced(HC_ARCHIVE_${name})
        if(HC_ARCHIVE_${name})
            list(APPEND archives "${HC_ARCHIVE_${name}}")
        elseif(name IN_LIST ARG_ARCHIVES)
            set(complete FALSE)
        endif()
    endforeach()

    add_library(${target} INTERFACE)
    if(NOT complete)
        target_link_libraries(${target} INTERFACE ${ARG_SHARED})
        return()
    endif()
    # Archives may need each other. The property is that of the program that is linked.
    add_library(${target}_shared INTERFACE)
    target_link_libraries(${target}_shared INTERFACE ${ARG_SHARED})
    add_library(${target}_archives INTERFACE)
    list(JOIN archives "," archives)
    target_link_libraries(${target}_archives INTERFACE "$<LINK_GROUP:RESCAN,${archives}>")
    target_link_libraries(${target} INTERFACE
        "$<IF:$<BOOL:$<TARGET_PROPERTY:HC_STATIC>>,${target}_archives,${target}_shared>")
endfunction()
