/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a file with several names frees its room with the last of them, and once;
 * whether the names go between two counts, as in a removal, or stay, as in a dry run.
 */
#include "test.h"

#include <maintenance/room.h>

enum { ROOM = 4096 };

static uint64_t remove_name(struct hc_room *room, ino_t ino, uint64_t names)
{
    const struct hc_room_file file = {.dev = 1,
                                      .ino = ino,
                                      .bytes = ROOM,
                                      .names = names};

    return hc_room_remove(room, &file);
}

static void a_file_with_one_name_frees_its_room(void **state)
{
    HC_AUTO_VALUE(hc_room) room = {0};

    (void)state;
    for (ino_t ino = 1; ino < 100; ino++)
        assert_int_equal(remove_name(&room, ino, 1), ROOM);
}

static void names_that_stay_free_it_with_the_last(void **state)
{
    HC_AUTO_VALUE(hc_room) room = {0};

    (void)state;
    for (ino_t ino = 1; ino < 100; ino++) {
        for (unsigned i = 1; i <= 5; i++)
            assert_int_equal(remove_name(&room, ino, 5), i == 5 ? ROOM : 0);
    }
}

static void names_that_go_one_by_one_free_it_with_the_last(void **state)
{
    HC_AUTO_VALUE(hc_room) room = {0};

    (void)state;
    for (uint64_t names = 5; names > 0; names--)
        assert_int_equal(remove_name(&room, 1, names), names == 1 ? ROOM : 0);
}

/* Of five names, three are not removed. */
static void names_that_are_left_keep_it(void **state)
{
    HC_AUTO_VALUE(hc_room) room = {0};

    (void)state;
    for (uint64_t names = 5; names > 2; names--)
        assert_int_equal(remove_name(&room, 1, names), 0);
}

static void names_that_another_process_removes_are_not_waited_for(void **state)
{
    HC_AUTO_VALUE(hc_room) room = {0};

    (void)state;
    assert_int_equal(remove_name(&room, 1, 5), 0);
    assert_int_equal(remove_name(&room, 1, 2), 0);
    assert_int_equal(remove_name(&room, 1, 1), ROOM);
}

static void a_file_of_which_the_names_are_unknown_never_frees_it(void **state)
{
    HC_AUTO_VALUE(hc_room) room = {0};

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(remove_name(&room, 1, UINT64_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_with_one_name_frees_its_room),
        cmocka_unit_test(names_that_stay_free_it_with_the_last),
        cmocka_unit_test(names_that_go_one_by_one_free_it_with_the_last),
        cmocka_unit_test(names_that_are_left_keep_it),
        cmocka_unit_test(names_that_another_process_removes_are_not_waited_for),
        cmocka_unit_test(a_file_of_which_the_names_are_unknown_never_frees_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
