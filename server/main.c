/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hubcached: options, the sandbox, and a server (server.h). gRPC's library is opened
 * before it and closed after it, as the last. From the first signal on a thread ends the
 * process if a state hangs, which is a failure, or if only gRPC's library does, which is
 * none.
 */
#include "audit.h"
#include "auth.h"
#include "listener.h"
#include "log.h"
#include "options.h"
#include "policy_file.h"
#include "process_end.h"
#include "rpc.h"
#include "sandbox.h"
#include "server.h"
#include "signals.h"
#include "tls.h"

#include <base/error.h>
#include <base/text.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_BAD_OPTIONS = 2, LIBRARY_MS = 1000 /* for gRPC's library to close */ };

/* The last step: nothing of hubcached's own is open. `status`: what main() returns. */
static void library_close_in_time(struct hc_process_end *end, int status)
{
    hc_process_end_set_status(end, status);
    hc_process_end_move(end, LIBRARY_MS);
    hc_rpc_library_close();
    /* A sanitizer looks for leaks in its own time. */
    hc_process_end_move(end, HC_NO_DEADLINE);
}

static int program_fail(const struct hc_error *err, int status)
{
    hc_log_stop();
    (void)fputs("hubcached: ", stderr);
    hc_text_escape(stderr, err->message, "");
    (void)fputc('\n', stderr);
    return status;
}

/* Returns the exit status. */
static int program_run(const struct hc_options *options, int signals,
                       struct hc_process_end *end)
{
    struct hc_error err;

    if (hc_log_start(&err) < 0 || hc_server_run(options, signals, end, &err) < 0)
        return program_fail(&err, err.reason == HC_INVALID_OPTIONS ? EXIT_BAD_OPTIONS
                                                                   : EXIT_FAILURE);
    HC_LOG(HC_LOG_INFO, "stopped", HC_TEXT("version", hc_version()));
    hc_log_stop();
    return EXIT_SUCCESS;
}

/* Finds all that would end the start with EXIT_BAD_OPTIONS. Returns the exit status. */
static int program_check(const struct hc_options *options)
{
    struct hc_error err;
    HC_AUTO(hc_auth) *auth = hc_auth_open(&options->auth, &err);
    HC_AUTO(hc_tls) *tls = NULL;

    if (!auth || hc_options_check(options, &err) < 0)
        return program_fail(&err, EXIT_BAD_OPTIONS);
    if (options->tls.cert) {
        tls = hc_tls_open(&options->tls, &err);
        if (!tls)
            return program_fail(&err, EXIT_BAD_OPTIONS);
    }
    if (options->audit_log && hc_audit_check(options->audit_log, &err) < 0)
        return program_fail(&err, EXIT_BAD_OPTIONS);
    if (options->settings.policy_file)
        hc_policy_file_warn(options->settings.policy_file);
    (void)puts("configuration ok");
    hc_options_print(options, stdout);
    return EXIT_SUCCESS;
}

/* Without it the server is no worse than others: that is no reason not to serve. */
static void sandbox_enter(const struct hc_options *options)
{
    struct hc_error err;

    if (options->allow_core_dumps)
        hc_sandbox_allow_dumps(true);
    if (strcmp(options->sandbox, "on") == 0 && hc_sandbox_enter(&err) < 0)
        HC_LOG(HC_LOG_WARN, "no sandbox", HC_TEXT("error", err.message));
}

int main(int argc, char **argv)
{
    static struct hc_process_end end = {.status = -1};
    HC_AUTO_VALUE(hc_options) options;
    HC_AUTO_CLOSE int signals = -1;
    struct hc_error err;
    int status;

    hc_sandbox_allow_dumps(false);
    hc_signals_block_hangup();
    if (hc_options_load(&options, argc, argv, &err) < 0)
        return program_fail(&err, EXIT_BAD_OPTIONS);
    if (options.check_config)
        return program_check(&options);
    hc_options_set_log(&options);
    sandbox_enter(&options);
    /* gRPC would log in its own format. There are no other threads yet. */
    (void)setenv("GRPC_VERBOSITY", "NONE", 0); /* NOLINT(concurrency-mt-unsafe) */
    hc_listener_raise_limit();
    signals = hc_signals_open(&err);
    if (signals < 0)
        return program_fail(&err, EXIT_FAILURE);
    hc_rpc_library_open();
    status = program_run(&options, signals, &end);
    library_close_in_time(&end, status);
    return status;
}
