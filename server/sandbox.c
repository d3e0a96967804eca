/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of what is forbidden, by libseccomp. A list of what is allowed would break with
 * each libc and gRPC that learns a new call; what is below has no use in any of them. A
 * forbidden call fails with EPERM, as for a process that lacks the privilege, so that a
 * library that tries one goes on without.
 *
 * There is no Landlock: its rules hold for the directory that is mounted when they are
 * made, and a volume that is mounted again while hubcached runs would be closed to it.
 * The units and manifests of deploy/ make all but the volume read-only.
 */
#include "sandbox.h"

#include <base/auto.h>
#include <base/error.h>

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>

struct seccomp_filter {
    scmp_filter_ctx ctx; /* NULL: none */
};

static void seccomp_filter_clear(struct seccomp_filter *filter)
{
    if (filter->ctx)
        seccomp_release(filter->ctx);
}

HC_DEFINE_AUTO_VALUE(seccomp_filter, seccomp_filter_clear)

/* Those that this libseccomp does not know are passed over. */
static const char *const forbidden[] = {
    /* starting programs */
    "execve", "execveat", "uselib",
    /* looking into other processes */
    "kcmp", "perf_event_open", "pidfd_getfd", "process_madvise", "process_vm_readv",
    "process_vm_writev", "ptrace",
    /* becoming another user, or gaining capabilities */
    "capset", "setfsgid", "setfsuid", "setgid", "setgroups", "setregid", "setresgid",
    "setresuid", "setreuid", "setuid",
    /* mounting, and leaving the root, a container or a namespace */
    "chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr",
    "move_mount", "open_by_handle_at", "open_tree", "pivot_root", "setns", "umount",
    "umount2", "unshare",
    /* the kernel's larger surfaces */
    "add_key", "bpf", "io_uring_enter", "io_uring_register", "io_uring_setup", "keyctl",
    "lookup_dcookie", "modify_ldt", "nfsservctl", "personality", "request_key",
    "userfaultfd", "vm86", "vm86old",
    /* administering the machine */
    "acct", "adjtimex", "clock_adjtime", "clock_settime", "delete_module", "finit_module",
    "init_module", "ioperm", "iopl", "kexec_file_load", "kexec_load", "quotactl",
    "quotactl_fd", "reboot", "setdomainname", "sethostname", "settimeofday", "stime",
    "swapoff", "swapon", "syslog", "vhangup"};

/* These are the families of sockets that it needs; netlink, for getaddrinfo(3). */
static bool family_is_needed(int family)
{
    return family == AF_UNIX || family == AF_INET || family == AF_INET6 ||
           family == AF_NETLINK;
}

/* 0, or an errno below zero, as libseccomp has it. */
static int filter_forbid_sockets(scmp_filter_ctx ctx)
{
    const uint32_t action = SCMP_ACT_ERRNO(EPERM);
    int failed = seccomp_rule_add(ctx, action, SCMP_SYS(socket), 1,
                                  SCMP_A0(SCMP_CMP_GT, AF_NETLINK, 0));

    for (int family = 0; failed == 0 && family < AF_NETLINK; family++) {
        if (!family_is_needed(family))
            failed = seccomp_rule_add(ctx, action, SCMP_SYS(socket), 1,
                                      SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family, 0));
    }
    return failed;
}

static int filter_forbid_calls(scmp_filter_ctx ctx)
{
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        int call = seccomp_syscall_resolve_name(forbidden[i]);
        int failed = call == __NR_SCMP_ERROR
                         ? 0
                         : seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), call, 0);

        if (failed < 0)
            return failed;
    }
    return filter_forbid_sockets(ctx);
}

/* The runtime of a sanitizer needs calls that a server never makes. */
#ifdef HC_SANITIZED
enum { HAS_FILTER = false };
#else
enum { HAS_FILTER = true };
#endif

/*
 * Older kernels would slow the whole process down against attacks by code that it runs
 * itself (speculative store bypass); it runs none. libseccomp's load says that no new
 * privileges are to be gained.
 */
static int filter_load(void)
{
    HC_AUTO_VALUE(seccomp_filter) filter = {.ctx = seccomp_init(SCMP_ACT_ALLOW)};
    int failed;

    if (!filter.ctx)
        return -ENOMEM;
    (void)seccomp_attr_set(filter.ctx, SCMP_FLTATR_CTL_SSB, 1);
    (void)seccomp_attr_set(filter.ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    failed = filter_forbid_calls(filter.ctx);
    return failed < 0 ? failed : seccomp_load(filter.ctx);
}

void hc_sandbox_allow_dumps(bool is_allowed)
{
    (void)prctl(PR_SET_DUMPABLE, is_allowed ? 1L : 0L, 0L, 0L, 0L);
}

int hc_sandbox_enter(struct hc_error *err)
{
    int failed = 0;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) < 0)
        return hc_fail_errno(err, errno, "no_new_privs");
    if (HAS_FILTER)
        failed = filter_load();
    return failed < 0 ? hc_fail_errno(err, -failed, "seccomp") : 0;
}
