/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ref is pinned as the commit that it names now, which the command prints.
 */
#include "pin.h"

#include "base/auto.h"
#include "client/cache_call.h"
#include "output.h"
#include "repo_spec.h"

#include <jansson.h>

enum { KEY_REASON = 768 };

struct pin_options {
    struct hc_cache_command base;
    struct hc_client_repo repo; /* type and revision, if the argument has none */
    const char *reason;
};

static int pin_parse(const struct pin_options *options, struct hc_repo_spec *spec,
                     struct hc_error *err)
{
    if (hc_repo_spec_parse(options->base.arguments[0], &options->repo, spec, err) < 0)
        return -1;
    return spec->path[0] ? hc_fail_field(err, HC_INVALID_REPO_ID, "repo_id",
                                         "'%.200s' names a file: give the revision",
                                         options->base.arguments[0])
                         : 0;
}

static int pin_print(const struct pin_options *options, const char *commit,
                     bool is_pinned, struct hc_error *err)
{
    json_t *object;
    char *line;

    if (!options->base.common->json)
        return hc_output_print_path(commit, err);
    object = json_pack("{ss sb}", "commit_hash", commit, "pinned", (int)is_pinned);
    line = object ? json_dumps(object, 0) : NULL;
    json_decref(object);
    return hc_output_print_json(line, err);
}

static int pin_run(struct hc_client *client, void *input, struct hc_error *err)
{
    const struct pin_options *options = input;
    Hubcache__V1__PinRequest request;
    HC_AUTO_MESSAGE *answer = NULL;
    struct hc_repo_spec spec;

    if (pin_parse(options, &spec, err) < 0)
        return -1;
    hubcache__v1__pin_request__init(&request);
    request.repo_id = spec.id;
    request.repo_type = (Hubcache__V1__RepoType)spec.type;
    request.revision = spec.revision;
    request.reason = hc_cache_text(options->reason);
    answer = hc_cache_call(client,
                           &(struct hc_channel_request){
                               .method = HC_CACHE_METHOD("Pin"),
                               .message = &request.base,
                               .response = &hubcache__v1__pin_response__descriptor,
                           },
                           err);
    if (!answer)
        return -1;
    return pin_print(options, ((const Hubcache__V1__PinResponse *)answer)->commit_hash,
                     true, err);
}

static int unpin_run(struct hc_client *client, void *input, struct hc_error *err)
{
    const struct pin_options *options = input;
    const Hubcache__V1__UnpinResponse *response;
    Hubcache__V1__UnpinRequest request;
    HC_AUTO_MESSAGE *answer = NULL;
    struct hc_repo_spec spec;

    if (pin_parse(options, &spec, err) < 0)
        return -1;
    hubcache__v1__unpin_request__init(&request);
    request.repo_id = spec.id;
    request.repo_type = (Hubcache__V1__RepoType)spec.type;
    request.revision = spec.revision;
    answer = hc_cache_call(client,
                           &(struct hc_channel_request){
                               .method = HC_CACHE_METHOD("Unpin"),
                               .message = &request.base,
                               .response = &hubcache__v1__unpin_response__descriptor,
                           },
                           err);
    if (!answer)
        return -1;
    response = (const void *)answer;
    if (!response->was_pinned)
        hc_output_print_note("it was not pinned");
    return pin_print(options, response->commit_hash, false, err);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp wants this type */
static error_t pin_option_parse(int key, char *arg, struct argp_state *state)
{
    struct pin_options *options = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->repo;
        return 0;
    case KEY_REASON:
        options->reason = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option pin_list[] = {
    {"reason", KEY_REASON, "TEXT", 0, "Why, for people who look at it later", 0},
    {0},
};

static const struct argp_child repo_children[] = {{&hc_repo_argp, 0, NULL, 0}, {0}};

static const struct argp pin_argp = {.options = pin_list,
                                     .parser = pin_option_parse,
                                     .children = repo_children};
static const struct argp_child pin_children[] = {{&pin_argp, 0, NULL, 0},
                                                 HC_COMMON_OPTIONS};
static const struct argp unpin_argp = {.parser = pin_option_parse,
                                       .children = repo_children};
static const struct argp_child unpin_children[] = {{&unpin_argp, 0, NULL, 0},
                                                   HC_COMMON_OPTIONS};

const struct hc_subcommand hc_pin_command = {
    .name = "pin",
    .arguments = "REPO[@REVISION]",
    .summary =
        "Pins a revision, main by default: nothing removes it from the cache until "
        "it is unpinned.",
    .children = pin_children,
    .arguments_min = 1,
    .arguments_max = 1,
    .options_size = sizeof(struct pin_options),
    .run_cache = pin_run,
};

const struct hc_subcommand hc_unpin_command = {
    .name = "unpin",
    .arguments = "REPO[@REVISION]",
    .summary = "Removes the pin of a revision.",
    .children = unpin_children,
    .arguments_min = 1,
    .arguments_max = 1,
    .options_size = sizeof(struct pin_options),
    .run_cache = unpin_run,
};
