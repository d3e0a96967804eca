/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a revision is pinned from the moment that its pin is published until the pin
 * is removed, for all processes of the volume; a pin whose text cannot be read still
 * pins.
 */
#include "cache_fixture.h"

#include <cache/pin.h>

#include <string.h>
#include <sys/stat.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define PIN ".hubcache/pins/models--org--name/" COMMIT

static int find_pin(struct fixture *f, struct hc_pin *pin)
{
    return hc_pin_find(f->cache, &f->repo, COMMIT, pin, &f->err);
}

static void a_revision_is_not_pinned_at_first(void **state)
{
    struct fixture *f = *state;
    struct hc_pin pin;

    assert_int_equal(find_pin(f, &pin), 0);
    assert_int_equal(hc_pin_clear(f->cache, &f->repo, COMMIT, &f->err), 0);
}

static void a_pin_says_why_and_by_which_caller_and_since_when(void **state)
{
    struct fixture *f = *state;
    const struct hc_pin set = {"in \"production\"", "alice", 1700000000123};
    struct hc_pin pin;

    assert_int_equal(hc_pin_set(f->cache, &f->repo, COMMIT, &set, &f->err), 0);
    assert_int_equal(find_pin(f, &pin), 1);
    assert_string_equal(pin.reason, set.reason);
    assert_string_equal(pin.caller, set.caller);
    assert_int_equal(pin.since_ms, set.since_ms);
    assert_int_equal(hc_pin_find(f->cache, &f->repo, OTHER_COMMIT, &pin, &f->err), 0);
}

static void a_second_pin_replaces_the_first(void **state)
{
    struct fixture *f = *state;
    const struct hc_pin first = {.reason = "first"}, second = {.reason = "second"};
    struct hc_pin pin;

    assert_int_equal(hc_pin_set(f->cache, &f->repo, COMMIT, &first, &f->err), 0);
    assert_int_equal(hc_pin_set(f->cache, &f->repo, COMMIT, &second, &f->err), 0);
    assert_int_equal(find_pin(f, &pin), 1);
    assert_string_equal(pin.reason, "second");
}

static void a_pin_that_is_removed_does_not_pin(void **state)
{
    struct fixture *f = *state;
    const struct hc_pin set = {.reason = "x"};
    struct hc_pin pin;

    assert_int_equal(hc_pin_set(f->cache, &f->repo, COMMIT, &set, &f->err), 0);
    assert_int_equal(hc_pin_clear(f->cache, &f->repo, COMMIT, &f->err), 1);
    assert_int_equal(find_pin(f, &pin), 0);
}

static void a_pin_pins_whatever_its_text_is(void **state)
{
    static const char *const texts[] = {"", "{", "[1]", "{\"reason\": 7}", "null"};
    struct fixture *f = *state;
    struct hc_pin pin;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        temp_dir_write(f->dir, PIN, texts[i]);
        assert_int_equal(find_pin(f, &pin), 1);
        assert_string_equal(pin.reason, "");
    }
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), PIN, 0), 0);
    assert_int_equal(mkdirat(hc_cache_fd(f->cache), PIN, 0777), 0);
    assert_int_equal(find_pin(f, &pin), 1);
}

/* Of two bytes each, so that the limit lies within a character, and next to one. */
static void a_long_reason_is_cut_between_characters(void **state)
{
    struct fixture *f = *state;
    struct hc_pin set = {0}, pin;

    set.reason[0] = 'x';
    for (size_t i = 1; i + 1 < sizeof set.reason; i += 2)
        memcpy(set.reason + i, "\xc3\xa9", 2);
    set.reason[sizeof set.reason - 1] = '\0';
    assert_int_equal(hc_pin_set(f->cache, &f->repo, COMMIT, &set, &f->err), 0);
    assert_int_equal(find_pin(f, &pin), 1);
    assert_int_equal(strlen(pin.reason), HC_PIN_TEXT_MAX - 1);
}

static void a_volume_that_takes_no_pin_is_an_error(void **state)
{
    struct fixture *f = *state;
    const struct hc_pin set = {.reason = "x"};

    make_cache_read_only(f);
    assert_int_equal(hc_pin_set(f->cache, &f->repo, COMMIT, &set, &f->err), -1);
    make_cache_writable(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_revision_is_not_pinned_at_first),
        WITH_CACHE(a_pin_says_why_and_by_which_caller_and_since_when),
        WITH_CACHE(a_second_pin_replaces_the_first),
        WITH_CACHE(a_pin_that_is_removed_does_not_pin),
        WITH_CACHE(a_pin_pins_whatever_its_text_is),
        WITH_CACHE(a_long_reason_is_cut_between_characters),
        WITH_CACHE(a_volume_that_takes_no_pin_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
