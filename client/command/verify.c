/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of Verify. A finding is printed when it arrives, a line each; a bar on
 * standard error shows how far the server is. With --json all is printed at the end. The
 * exit status says whether the files of the cache are right now: 1 when a blob was
 * corrupt, or could not be read, and its files were not fetched again.
 */
#include "verify.h"

#include "base/auto.h"
#include "base/cancellation.h"
#include "base/error.h"
#include "base/text.h"
#include "client/cache_call.h"
#include "finding.h"
#include "output.h"
#include "progress_bar.h"
#include "repo_spec.h"
#include "units.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SELECTORS_MAX = 1000, KEY_REPAIR = 1024, KEY_DRY_RUN = 1025, KEY_RATE = 1026 };

typedef Hubcache__V1__CacheSelector selector_message;

struct verify_options {
    struct hc_cache_command base;
    struct hc_client_repo repo; /* of arguments without type or revision */
    bool repair, dry_run;
    uint64_t bytes_per_second;
};

/* A repo of the command line. */
struct verify_selector {
    struct hc_repo_spec spec;
    char *path; /* the only pattern, if the spec has a path */
    selector_message message;
};

struct verify_call {
    const struct verify_options *options;
    struct verify_selector *selectors;
    size_t selector_count;
    json_t *findings; /* with --json */
    struct hc_progress_bar bar;
    int64_t began_ms;
    bool is_unreadable; /* a blob is */
    bool has_result;
    Hubcache__V1__VerifyResult result;
};

static void verify_clear(struct verify_call *verify)
{
    free(verify->selectors);
    json_decref(verify->findings);
}
HC_DEFINE_AUTO_VALUE(verify_call, verify_clear)

/* --- the request -------------------------------------------------------------------- */

static int selector_init(struct verify_selector *selector,
                         const struct verify_options *options, const char *text,
                         struct hc_error *err)
{
    struct hc_repo_spec *spec = &selector->spec;
    selector_message *message = &selector->message;

    if (hc_repo_spec_parse(text, &options->repo, spec, err) < 0)
        return -1;
    hubcache__v1__cache_selector__init(message);
    message->repo_id = spec->id;
    message->repo_type = (Hubcache__V1__RepoType)spec->type;
    message->revision = spec->revision;
    if (spec->path[0]) {
        selector->path = spec->path;
        message->patterns = &selector->path;
        message->n_patterns = 1;
    }
    return 0;
}

static int verify_init(struct verify_call *verify, const struct verify_options *options,
                       struct hc_error *err)
{
    size_t count = options->base.argument_count;

    verify->options = options;
    if (count > SELECTORS_MAX)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "selectors",
                             "%zu repos are named; %d is the most", count, SELECTORS_MAX);
    verify->findings = json_array();
    verify->selectors = calloc(count + 1, sizeof *verify->selectors);
    if (!verify->selectors || !verify->findings)
        return hc_fail_memory(err);
    verify->selector_count = count;
    for (size_t i = 0; i < count; i++) {
        if (selector_init(&verify->selectors[i], options, options->base.arguments[i],
                          err) < 0)
            return -1;
    }
    return 0;
}

/* --- events ------------------------------------------------------------------------- */

static void finding_print(const Hubcache__V1__Finding *finding)
{
    bool is_terminal = isatty(STDOUT_FILENO);
    const char *const texts[] = {finding->cache_path, finding->action};

    (void)printf("%s: ", hc_finding_kind(finding));
    for (size_t i = 0; i < 2; i++) {
        if (i > 0 && *texts[i])
            (void)fputs(": ", stdout);
        if (is_terminal)
            hc_text_escape(stdout, texts[i], "");
        else
            (void)fputs(texts[i], stdout);
    }
    (void)putchar('\n');
    (void)fflush(stdout);
}

static void verify_take_finding(struct verify_call *verify,
                                const Hubcache__V1__Finding *finding)
{
    if (finding->kind == HUBCACHE__V1__FINDING_KIND__FINDING_KIND_UNREADABLE_BLOB)
        verify->is_unreadable = true;
    if (verify->options->base.common->json) {
        (void)json_array_append_new(verify->findings, hc_finding_json(finding));
        return;
    }
    hc_progress_bar_end(&verify->bar);
    finding_print(finding);
}

static void verify_show(struct verify_call *verify,
                        const Hubcache__V1__VerifyProgress *event)
{
    int64_t took_ms = hc_monotonic_ms() - verify->began_ms;
    const struct hc_client_progress progress = {
        .files_total = (unsigned)event->blobs_total,
        .files_done = (unsigned)event->blobs_done,
        .bytes_total = event->bytes_total,
        .bytes_done = event->bytes_done,
        .bytes_per_second =
            took_ms > 0 ? event->bytes_done * 1000 / (uint64_t)took_ms : 0,
    };

    (void)hc_progress_bar_show(&verify->bar, &progress);
}

/* A hc_channel_message_fn. */
static bool verify_receive(void *ctx, const ProtobufCMessage *message)
{
    struct verify_call *verify = ctx;
    const Hubcache__V1__VerifyResponse *event = (const void *)message;

    if (event->event_case == HUBCACHE__V1__VERIFY_RESPONSE__EVENT_PROGRESS) {
        verify_show(verify, event->progress);
    } else if (event->event_case == HUBCACHE__V1__VERIFY_RESPONSE__EVENT_FINDING) {
        verify_take_finding(verify, event->finding);
    } else if (event->event_case == HUBCACHE__V1__VERIFY_RESPONSE__EVENT_RESULT) {
        verify->result = *event->result; /* numbers alone */
        verify->has_result = true;
    }
    return true;
}

/* A hc_channel_resume_fn: another attempt begins anew. */
static bool verify_resume(void *ctx, bool *has_progress)
{
    struct verify_call *verify = ctx;

    *has_progress = false;
    (void)json_array_clear(verify->findings);
    verify->is_unreadable = false;
    return true;
}

static int verify_make_call(struct verify_call *verify, struct hc_client *client,
                            struct hc_error *err)
{
    const struct verify_options *options = verify->options;
    HC_AUTO_FREE selector_message **list =
        calloc(verify->selector_count + 1, sizeof(*list));
    Hubcache__V1__VerifyRequest request = HUBCACHE__V1__VERIFY_REQUEST__INIT;
    HC_AUTO_MESSAGE *last = NULL;

    if (!list)
        return hc_fail_memory(err);
    for (size_t i = 0; i < verify->selector_count; i++)
        list[i] = &verify->selectors[i].message;
    request.selectors = list;
    request.n_selectors = verify->selector_count;
    request.repair = options->repair;
    request.dry_run = options->dry_run;
    request.bytes_per_second = options->bytes_per_second;
    verify->began_ms = hc_monotonic_ms();
    hc_progress_bar_begin(&verify->bar, "verify");
    last = hc_cache_call(client,
                         &(struct hc_channel_request){
                             .method = HC_CACHE_METHOD("Verify"),
                             .message = &request.base,
                             .response = &hubcache__v1__verify_response__descriptor,
                             .each = verify_receive,
                             .resume = verify_resume,
                             .ctx = verify,
                         },
                         err);
    hc_progress_bar_end(&verify->bar);
    if (!last)
        return -1;
    return verify->has_result ? 0
                              : hc_fail(err, HC_INTERNAL, "the server sent no result");
}

/* --- the output --------------------------------------------------------------------- */

static int verify_print_json(const struct verify_call *verify, struct hc_error *err)
{
    const Hubcache__V1__VerifyResult *result = &verify->result;
    json_t *whole =
        json_pack("{sO s{sI sI sI sI sI sI}}", "findings", verify->findings, "result",
                  "blobs", (json_int_t)result->blobs, "bytes", (json_int_t)result->bytes,
                  "findings", (json_int_t)result->findings, "corrupt",
                  (json_int_t)result->corrupt, "repaired", (json_int_t)result->repaired,
                  "not_repaired", (json_int_t)result->not_repaired);
    char *text = whole ? json_dumps(whole, 0) : NULL;

    json_decref(whole);
    return hc_output_print_json(text, err);
}

static void verify_print_summary(const struct verify_call *verify)
{
    const Hubcache__V1__VerifyResult *result = &verify->result;
    char bytes[HC_UNITS_TEXT_MAX], note[256];

    hc_bytes_format(bytes, result->bytes);
    (void)snprintf(note, sizeof note,
                   "%llu %s (%s) verified: %u corrupt, %u %s fetched again, %u not",
                   (unsigned long long)result->blobs,
                   result->blobs == 1 ? "blob" : "blobs", bytes, result->corrupt,
                   result->repaired, result->repaired == 1 ? "file" : "files",
                   result->not_repaired);
    hc_output_print_note(note);
}

static int verify_judge(const struct verify_call *verify, struct hc_error *err)
{
    const Hubcache__V1__VerifyResult *result = &verify->result;
    bool is_repaired = verify->options->repair && !verify->options->dry_run;

    verify->options->base.common->json = false; /* it has been printed */
    if (verify->is_unreadable)
        return hc_fail(err, HC_CACHE_IO, "a blob cannot be read");
    if (result->not_repaired > 0)
        return hc_fail(err, HC_CHECKSUM_MISMATCH,
                       "%u files were corrupt or missing, and could not be fetched again",
                       result->not_repaired);
    if (result->corrupt > 0 && !is_repaired)
        return hc_fail(err, HC_CHECKSUM_MISMATCH,
                       result->corrupt == 1 ? "a blob is corrupt"
                                            : "%u blobs are corrupt",
                       result->corrupt);
    return 0;
}

static int verify_run(struct hc_client *client, void *input, struct hc_error *err)
{
    HC_AUTO_VALUE(verify_call) verify = {0};

    if (verify_init(&verify, input, err) < 0 ||
        verify_make_call(&verify, client, err) < 0)
        return -1;
    if (!verify.options->base.common->json)
        verify_print_summary(&verify);
    else if (verify_print_json(&verify, err) < 0)
        return -1;
    if (hc_output_flush(err) < 0)
        return -1;
    return verify_judge(&verify, err);
}

/* --- the options -------------------------------------------------------------------- */

static error_t verify_option_parse(int key, char *arg, struct argp_state *state)
{
    struct verify_options *options = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->repo;
        return 0;
    case KEY_REPAIR:
        options->repair = true;
        return 0;
    case KEY_DRY_RUN:
        options->dry_run = true;
        return 0;
    case KEY_RATE:
        if (hc_bytes_parse(arg, &options->bytes_per_second) < 0)
            hc_command_refuse(state, "'%s' is no size, such as 100MB", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option verify_list[] = {
    {"repair", KEY_REPAIR, NULL, 0, "Fetch corrupt and missing files again", 0},
    {"dry-run", KEY_DRY_RUN, NULL, 0, "Only tell what is found", 0},
    {"rate", KEY_RATE, "SIZE", 0, "Read at most so many bytes in a second", 0},
    {0},
};

static const struct argp_child repo_children[] = {{&hc_repo_argp, 0, NULL, 0}, {0}};

static const struct argp verify_argp = {.options = verify_list,
                                        .parser = verify_option_parse,
                                        .children = repo_children};

static const struct argp_child verify_children[] = {{&verify_argp, 0, NULL, 0},
                                                    {&hc_refused_argp, 0, NULL, 0},
                                                    HC_COMMON_OPTIONS};

const struct hc_subcommand hc_verify_command = {
    .name = "verify",
    .arguments = "[REPO[@REVISION]...]",
    .summary = "Lets the server hash the blobs of the cache, or of repos, and compare "
               "them with their names. A corrupt blob is moved to .hubcache/quarantine; "
               "the next caller that wants the file, or --repair, fetches it again. "
               "Writes what is found, a line each.",
    .children = verify_children,
    .arguments_max = HC_ARGUMENTS_ANY,
    .options_size = sizeof(struct verify_options),
    .run_cache = verify_run,
};
