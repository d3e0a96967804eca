/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The environment is a list of its own, since threads of gRPC may read that of the
 * process. poll(2) sees the end of the program by pidfd_open(2); where the kernel has
 * none, waitid(2) waits, and `look` is not called.
 */
#include "child.h"

#include "base/auto.h"
#include "interrupt.h"
#include "output.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOTE_SIZE = 512 };

extern char **environ;

/* What hubcache set for its own gRPC (main.c) is not for the program. */
static const char own_variable[] = "GRPC_VERBOSITY=NONE";

static char *text_lend(const char *text)
{
    char *lent;

    memcpy(&lent, &text, sizeof lent);
    return lent;
}

static bool variable_has_name(const char *variable, const char *other)
{
    size_t length = strcspn(other, "=");

    return strncmp(variable, other, length) == 0 && variable[length] == '=';
}

static bool variable_is_replaced(const char *variable, const char *const *variables)
{
    for (size_t i = 0; variables[i]; i++) {
        if (variable_has_name(variable, variables[i]))
            return true;
    }
    return strcmp(variable, own_variable) == 0;
}

/* The list; its texts are borrowed. NULL: no memory. */
static char **child_environment(const char *const *variables)
{
    size_t count = 0, used = 0;
    char **list;

    while (environ[count])
        count++;
    for (size_t i = 0; variables[i]; i++)
        count++;
    list = calloc(count + 1, sizeof *list);
    for (size_t i = 0; list && environ[i]; i++) {
        if (!variable_is_replaced(environ[i], variables))
            list[used++] = environ[i];
    }
    for (size_t i = 0; list && variables[i]; i++)
        list[used++] = text_lend(variables[i]);
    return list;
}

static int child_fail(const char *name, int errnum)
{
    char note[NOTE_SIZE];

    (void)snprintf(note, sizeof note, "cannot run '%.200s': %s", name,
                   strerrordesc_np(errnum));
    hc_output_print_note(note);
    return errnum == ENOENT || errnum == ENOTDIR ? HC_CHILD_NOT_FOUND
                                                 : HC_CHILD_NOT_RUNNABLE;
}

static void child_await(const struct hc_child *child, pid_t pid)
{
    HC_AUTO_CLOSE int fd = pidfd_open(pid, 0);
    struct pollfd end = {.fd = fd, .events = POLLIN};
    siginfo_t info;

    while (fd >= 0 && poll(&end, 1, child->every_ms) <= 0)
        child->look(child->ctx);
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        continue;
}

int hc_child_run(const struct hc_child *child)
{
    HC_AUTO_FREE char **environment = child_environment(child->variables);
    int failure, status = 0;
    pid_t pid;

    failure = environment ? hc_interrupts_spawn(&pid, child->argv, environment) : ENOMEM;
    if (failure != 0)
        return child_fail(child->argv[0], failure);
    child_await(child, pid);
    hc_interrupts_forget(); /* before its number may be another process's */
    (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status)
                             : HC_CHILD_SIGNAL_BASE + WTERMSIG(status);
}
