/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every test includes this first: cmocka, whose header needs four others before it, and
 * temporary directories.
 */
#ifndef HC_SUPPORT_TEST_H
#define HC_SUPPORT_TEST_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "temp_dir.h"

#endif
