/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The assembler reads the file that protoc has written; the build names it. The symbols
 * are hidden like all others of the program.
 */
#include "descriptor_set.h"

__asm__(".section .rodata\n"
        ".hidden hc_descriptor_set\n"
        ".hidden hc_descriptor_set_end\n"
        ".global hc_descriptor_set\n"
        ".global hc_descriptor_set_end\n"
        "hc_descriptor_set:\n"
        ".incbin \"" HC_PROTOSET "\"\n"
        "hc_descriptor_set_end:\n"
        ".previous\n");
