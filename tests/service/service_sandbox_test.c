/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: foreign code that runs in hubcached can start no program, gain no
 * privilege and look into no process; a crash of hubcached leaves no core file, unless
 * the operator wants one.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <hubcache/error.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECCOMP_NONE = 0, SECCOMP_WITH_FILTER = 2 };

static void hubcached_gains_no_privileges(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest request = file_request("weights.bin");
    struct rpc_call *call;

    world_serve(world, (const char *const[]){NULL});
    assert_int_equal(world_process(world, "NoNewPrivs"), 1);
#ifdef FOREIGN_CODE
    assert_int_equal(world_process(world, "Seccomp"), SECCOMP_WITH_FILTER);
#endif
    call = ask_file(world, &request);
    assert_answers_file(world, call, "weights.bin", HUBCACHE__V1__SOURCE__SOURCE_HUB);
    rpc_call_free(call);
}

static void the_sandbox_can_be_turned_off(void **state)
{
    struct world *world = *state;

    world_serve(world, (const char *const[]){"--sandbox", "off", NULL});
    assert_int_equal(world_process(world, "NoNewPrivs"), 0);
    assert_int_equal(world_process(world, "Seccomp"), SECCOMP_NONE);
}

#ifdef FOREIGN_CODE
static void foreign_code_can_do_nothing_of_use(void **state)
{
    static const char *const refused[] = {"execve",         "execveat",
                                          "ptrace",         "process_vm_readv",
                                          "setuid",         "unshare",
                                          "mount",          "bpf",
                                          "io_uring_setup", "keyctl",
                                          "packet socket",  "vsock socket"};
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    struct rpc_call *call;
    HC_AUTO_FREE char *log = NULL;

    world->preload = FOREIGN_CODE;
    world_serve(world, (const char *const[]){NULL});
    call = ask_file(world, &request);
    assert_answers_file(world, call, "config.json", HUBCACHE__V1__SOURCE__SOURCE_HUB);
    rpc_call_free(call);
    log = world_log(world);

    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char line[128];

        (void)snprintf(line, sizeof line, "foreign code: %s: EPERM\n", refused[i]);
        if (!strstr(log, line))
            fail_msg("no line '%s'", line);
    }
    assert_non_null(strstr(log, "foreign code: netlink socket: done\n"));
}
#endif

/* The status with which the server ends when it is told to crash. */
static int crash_status(struct world *world, const char *const *flags)
{
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    int status = 0;

    (void)setrlimit(RLIMIT_CORE, &unlimited); /* inherited by the server */
    assert_int_equal(chdir(world->dir), 0);   /* where a core file would be */
    world_serve(world, flags);
    assert_int_equal(kill(world->server, SIGQUIT), 0);
    assert_int_equal(waitpid(world->server, &status, 0), world->server);
    world->server = 0;
    assert_int_equal(chdir("/"), 0);
    assert_true(WIFSIGNALED(status));
    return status;
}

static void a_crash_leaves_no_core_file(void **state)
{
    assert_false(WCOREDUMP(crash_status(*state, (const char *const[]){NULL})));
}

#ifdef FOREIGN_CODE /* the runtime of a sanitizer forbids core files */
/* Else the test before could pass because this machine makes none. */
static void a_core_file_can_be_allowed(void **state)
{
    struct rlimit limit;

    (void)getrlimit(RLIMIT_CORE, &limit);
    if (limit.rlim_max != RLIM_INFINITY)
        skip();
    assert_true(WCOREDUMP(
        crash_status(*state, (const char *const[]){"--allow-core-dumps", NULL})));
}
#endif

int main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(hubcached_gains_no_privileges),      TEST(the_sandbox_can_be_turned_off),
#ifdef FOREIGN_CODE
        TEST(foreign_code_can_do_nothing_of_use),
#endif
        TEST(a_crash_leaves_no_core_file),
#ifdef FOREIGN_CODE
        TEST(a_core_file_can_be_allowed),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
