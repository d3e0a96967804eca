/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: memory that held a token is overwritten before it is freed. The test stands
 * between the library and free(3), and looks at what is freed.
 */
#include "test.h"

#include <base/error.h>
#include <base/text.h>
#include <hubcache/settings.h>

#include <stdlib.h>
#include <string.h>

static const char secret[] = "hf_secret_of_the_test";

/* What is watched, and whether it was freed with some of the secret in it. */
static const char *watched;
static bool was_freed, was_wiped;

void __real_free(void *memory);
void __wrap_free(void *memory);

void __wrap_free(void *memory)
{
    if (memory && memory == watched) {
        was_freed = true;
        was_wiped = true;
        for (size_t i = 0; i < sizeof secret; i++)
            was_wiped = was_wiped && watched[i] == '\0';
        watched = NULL;
    }
    __real_free(memory);
}

static char *secret_watch(char *text)
{
    assert_non_null(text);
    assert_string_equal(text, secret);
    was_freed = was_wiped = false;
    watched = text;
    return text;
}

static void assert_wiped(void)
{
    assert_true(was_freed);
    assert_true(was_wiped);
}

static void a_text_that_is_only_freed_is_not_wiped(void **state)
{
    (void)state;
    free(secret_watch(strdup(secret)));
    assert_true(was_freed);
    assert_false(was_wiped);
}

static void a_wiped_text_is_overwritten(void **state)
{
    (void)state;
    hc_text_wipe(secret_watch(strdup(secret)));
    assert_wiped();
    hc_text_wipe(NULL);
}

static void the_end_of_a_scope_wipes(void **state)
{
    (void)state;
    {
        HC_AUTO_WIPE char *text = secret_watch(strdup(secret));

        assert_non_null(text);
    }
    assert_wiped();
}

static void settings_wipe_their_token(void **state)
{
    struct hc_settings settings = {.token = strdup(secret)};

    (void)state;
    (void)secret_watch(settings.token);
    hc_settings_clear(&settings);
    assert_wiped();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_that_is_only_freed_is_not_wiped),
        cmocka_unit_test(a_wiped_text_is_overwritten),
        cmocka_unit_test(the_end_of_a_scope_wipes),
        cmocka_unit_test(settings_wipe_their_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
