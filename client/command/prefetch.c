/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of Prefetch for all repos, which the server fetches one after the other. Each
 * has its own outcome: a path on standard output, or a message on standard error. The
 * exit status is that of the first failure. With --no-wait the command leaves as soon as
 * the server has accepted the request.
 */
#include "prefetch.h"

#include "base/auto.h"
#include "base/error.h"
#include "base/text.h"
#include "client/cache_call.h"
#include "client/channel_status.h"
#include "client/client.h"
#include "output.h"
#include "progress_bar.h"
#include "repo_spec.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { SNAPSHOTS_MAX = 100, KEY_NO_WAIT = 768 };

/* The options that resolutions have too are in `resolve`. */
struct prefetch_options {
    struct hc_cache_command base;
    struct hc_resolve_options resolve;
    bool does_not_wait;
};

/* One repo of the command line, and its result. */
struct prefetched {
    struct hc_repo_spec spec;
    struct hc_message_options options;
    Hubcache__V1__ResolveSnapshotRequest request;
    struct hc_client_snapshot snapshot; /* `path` NULL: not there */
    struct hc_error failure;            /* reason HC_OK: none */
};

/* The call. */
struct prefetch_call {
    const struct prefetch_options *options;
    struct hc_mount mount;
    struct prefetched *items;
    size_t count;
    bool is_accepted;
    unsigned current; /* of which the bar shows the progress */
    struct hc_progress_bar bar;
};

static void prefetch_clear(struct prefetch_call *prefetch)
{
    for (size_t i = 0; i < prefetch->count; i++)
        hc_client_snapshot_clear(&prefetch->items[i].snapshot);
    free(prefetch->items);
}
HC_DEFINE_AUTO_VALUE(prefetch_call, prefetch_clear)

/* --- the request -------------------------------------------------------------------- */

static int item_init(struct prefetched *item, const struct prefetch_options *options,
                     const char *text, struct hc_error *err)
{
    const struct hc_resolve_options *resolve = &options->resolve;
    struct hc_client_snapshot_request request;

    if (hc_repo_spec_parse(text, &resolve->repo, &item->spec, err) < 0)
        return -1;
    if (item->spec.path[0])
        return hc_fail_field(err, HC_INVALID_REPO_ID, "repo_id",
                             "'%.200s' names a file: give the repo, and --include", text);
    hc_resolve_options_request(resolve, &request);
    request.repo =
        (struct hc_client_repo){item->spec.id, item->spec.type, item->spec.revision};
    hc_message_encode_snapshot(&request, &item->options, &item->request);
    return 0;
}

static int prefetch_init(struct prefetch_call *prefetch, struct hc_client *client,
                         const struct prefetch_options *options, struct hc_error *err)
{
    size_t count = options->base.argument_count;

    prefetch->options = options;
    prefetch->mount = hc_client_mount(client);
    if (count > SNAPSHOTS_MAX)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "snapshots",
                             "%zu repos are named; %d is the most", count, SNAPSHOTS_MAX);
    prefetch->items = calloc(count, sizeof *prefetch->items);
    if (!prefetch->items)
        return hc_fail_memory(err);
    prefetch->count = count;
    for (size_t i = 0; i < count; i++) {
        if (item_init(&prefetch->items[i], options, options->base.arguments[i], err) < 0)
            return -1;
    }
    return 0;
}

/* --- events ------------------------------------------------------------------------- */

static void prefetch_show(struct prefetch_call *prefetch, unsigned index,
                          const Hubcache__V1__SnapshotProgress *event)
{
    struct hc_client_progress progress;

    if (prefetch->options->resolve.is_quiet || event->files_total == 0)
        return;
    if (index != prefetch->current) {
        hc_progress_bar_end(&prefetch->bar);
        hc_progress_bar_begin(&prefetch->bar, prefetch->items[index].spec.id);
        prefetch->current = index;
    }
    hc_message_decode_progress(event, &progress);
    (void)hc_progress_bar_show(&prefetch->bar, &progress);
}

static int item_set_failure(struct prefetched *item, const Google__Rpc__Status *status,
                            const char *server)
{
    size_t size = google__rpc__status__get_packed_size(status);
    HC_AUTO_FREE uint8_t *bytes = malloc(size + 1);

    if (!bytes)
        return hc_fail_memory(&item->failure);
    (void)google__rpc__status__pack(status, bytes);
    return hc_channel_status_fail(&(struct hc_channel_status){.code = status->code,
                                                              .text = status->message,
                                                              .details = bytes,
                                                              .details_size = size,
                                                              .server = server},
                                  &item->failure);
}

/* A hc_channel_message_fn. An event that comes again, in another attempt, counts. */
static bool prefetch_receive(void *ctx, const ProtobufCMessage *message)
{
    struct prefetch_call *prefetch = ctx;
    const Hubcache__V1__PrefetchResponse *event = (const void *)message;
    struct prefetched *item;

    prefetch->is_accepted = true;
    if (event->index >= prefetch->count)
        return true;
    item = &prefetch->items[event->index];
    if (event->event_case == HUBCACHE__V1__PREFETCH_RESPONSE__EVENT_PROGRESS) {
        prefetch_show(prefetch, event->index, event->progress);
    } else if (event->event_case == HUBCACHE__V1__PREFETCH_RESPONSE__EVENT_ERROR) {
        (void)item_set_failure(item, event->error, prefetch->mount.server);
    } else if (event->event_case == HUBCACHE__V1__PREFETCH_RESPONSE__EVENT_RESULT) {
        hc_client_snapshot_clear(&item->snapshot);
        item->failure = (struct hc_error){0};
        (void)hc_message_decode_snapshot(&prefetch->mount, event->result, &item->snapshot,
                                         &item->failure);
    }
    return !prefetch->options->does_not_wait;
}

static int prefetch_make_call(struct prefetch_call *prefetch, struct hc_client *client,
                              struct hc_error *err)
{
    Hubcache__V1__ResolveSnapshotRequest *list[SNAPSHOTS_MAX];
    Hubcache__V1__PrefetchRequest request = HUBCACHE__V1__PREFETCH_REQUEST__INIT;
    HC_AUTO_MESSAGE *last = NULL;

    for (size_t i = 0; i < prefetch->count; i++)
        list[i] = &prefetch->items[i].request;
    request.snapshots = list;
    request.n_snapshots = prefetch->count;
    hc_progress_bar_begin(&prefetch->bar, prefetch->items[0].spec.id);
    last = hc_cache_call(client,
                         &(struct hc_channel_request){
                             .method = HC_CACHE_METHOD("Prefetch"),
                             .message = &request.base,
                             .response = &hubcache__v1__prefetch_response__descriptor,
                             .each = prefetch_receive,
                             .ctx = prefetch,
                         },
                         err);
    hc_progress_bar_end(&prefetch->bar);
    if (last || (prefetch->options->does_not_wait && prefetch->is_accepted))
        return 0;
    return -1;
}

/* --- the output --------------------------------------------------------------------- */

static json_t *json_of_item(const struct prefetch_call *prefetch,
                            const struct prefetched *item)
{
    const char *revision = item->spec.revision[0] ? item->spec.revision : "main";
    const struct hc_client_repo repo = {item->spec.id, item->spec.type, revision};
    json_t *object = json_pack("{ss ss ss}", "repo_id", item->spec.id, "repo_type",
                               hc_repo_type_name(item->spec.type), "revision", revision);
    HC_AUTO_FREE char *text = NULL;

    if (prefetch->options->does_not_wait) {
        (void)json_object_set_new(object, "queued", json_true());
        return object;
    }
    text = item->failure.reason == HC_OK
               ? hc_output_json_of_snapshot(&item->snapshot)
               : hc_output_json_of_failure(&item->failure, "", &repo);
    if (text && item->failure.reason == HC_OK)
        (void)json_object_set_new(object, "result", json_loads(text, 0, NULL));
    else if (text)
        (void)json_object_update_new(object, json_loads(text, 0, NULL));
    return object;
}

static int prefetch_print_json(const struct prefetch_call *prefetch, struct hc_error *err)
{
    json_t *items = json_array();
    json_t *whole;
    char *text;

    for (size_t i = 0; i < prefetch->count; i++)
        (void)json_array_append_new(items, json_of_item(prefetch, &prefetch->items[i]));
    whole = json_pack("{so}", "snapshots", items);
    text = whole ? json_dumps(whole, 0) : NULL;
    json_decref(whole);
    return hc_output_print_json(text, err);
}

static int prefetch_print(const struct prefetch_call *prefetch, struct hc_error *err)
{
    if (prefetch->options->base.common->json)
        return prefetch_print_json(prefetch, err);
    if (prefetch->options->does_not_wait)
        hc_output_print_note("the server has accepted the request");
    for (size_t i = 0; i < prefetch->count; i++) {
        const struct prefetched *item = &prefetch->items[i];

        if (item->snapshot.path && hc_output_print_path(item->snapshot.path, err) < 0)
            return -1;
    }
    return 0;
}

/* The failure of the command is that of the first snapshot that failed; those of the
 * others are notes. */
static int prefetch_sum_up(const struct prefetch_call *prefetch, struct hc_error *err)
{
    size_t failed = 0;

    for (size_t i = 0; i < prefetch->count; i++) {
        const struct hc_error *failure = &prefetch->items[i].failure;

        if (failure->reason == HC_OK)
            continue;
        if (failed++ == 0)
            *err = *failure;
        else
            hc_output_print_note(failure->message);
    }
    prefetch->options->base.common->json = false; /* it has been printed */
    return failed > 0 ? -1 : 0;
}

static int prefetch_run(struct hc_client *client, void *input, struct hc_error *err)
{
    HC_AUTO_VALUE(prefetch_call) prefetch = {0};

    if (prefetch_init(&prefetch, client, input, err) < 0 ||
        prefetch_make_call(&prefetch, client, err) < 0 ||
        prefetch_print(&prefetch, err) < 0)
        return -1;
    return prefetch_sum_up(&prefetch, err);
}

/* --- the options -------------------------------------------------------------------- */

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t prefetch_option_parse(int key, char *arg, struct argp_state *state)
{
    struct prefetch_options *options = state->input;

    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = state->child_inputs[1] = &options->resolve;
        return 0;
    case KEY_NO_WAIT:
        options->does_not_wait = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option prefetch_list[] = {
    {"no-wait", KEY_NO_WAIT, NULL, 0,
     "Leave when the server has accepted the request: it goes on alone", 0},
    {0},
};

static const struct argp_child resolve_children[] = {{&hc_patterns_argp, 0, NULL, 0},
                                                     {&hc_resolve_argp, 0, NULL, 0},
                                                     {0}};

static const struct argp prefetch_argp = {.options = prefetch_list,
                                          .parser = prefetch_option_parse,
                                          .children = resolve_children};

static const struct argp_child prefetch_children[] = {{&prefetch_argp, 0, NULL, 0},
                                                      HC_COMMON_OPTIONS};

static void prefetch_options_clear(void *input)
{
    struct prefetch_options *options = input;

    hc_resolve_options_clear(&options->resolve);
}

const struct hc_subcommand hc_prefetch_command = {
    .name = "prefetch",
    .arguments = "REPO[@REVISION]...",
    .summary = "Lets the server fetch snapshots before they are asked for, one after the "
               "other, while calls that wait for a file go first. Writes the path of "
               "each snapshot. The server goes on when the command is interrupted.",
    .children = prefetch_children,
    .arguments_min = 1,
    .arguments_max = HC_ARGUMENTS_ANY,
    .options_size = sizeof(struct prefetch_options),
    .run_cache = prefetch_run,
    .clear = prefetch_options_clear,
};
