/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hubcache info: who answers, and from which cache.
 */
#include "base/auto.h"
#include "command.h"
#include "json.h"
#include "output.h"

#include <stdio.h>

HC_DEFINE_AUTO(hc_client, hc_client_close)
HC_DEFINE_AUTO_VALUE(hc_client_info, hc_client_info_clear)

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t info_option_parse(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    if (key == ARGP_KEY_INIT)
        state->child_inputs[0] = state->input;
    if (key == ARGP_KEY_ARG)
        hc_command_refuse(state, "info takes no arguments");
    return key == ARGP_KEY_INIT ? 0 : ARGP_ERR_UNKNOWN;
}

static const struct argp_child children[] = {{&hc_command_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .parser = info_option_parse,
    .doc = "Says which hubcached answers and from which cache.",
    .children = children,
};

static int info_print(struct hc_client *client,
                      const struct hc_command_options *command_options,
                      struct hc_error *err)
{
    HC_AUTO_VALUE(hc_client_info) info = {0};

    if (hc_client_get_info(client, &info, err) < 0)
        return -1;
    if (command_options->json)
        return hc_output_print_json(hc_output_json_of_info(&info), err);
    hc_output_print_field("version", info.version);
    hc_output_print_field("cache_root", info.cache_root);
    hc_output_print_field("cache_id", info.cache_id);
    hc_output_print_field("offline", info.offline ? "true" : "false");
    hc_output_print_field("endpoint", info.endpoint);
    return hc_output_flush(err);
}

int hc_command_info(int argc, char **argv, struct hc_command_options *command_options)
{
    struct hc_error err = {0};
    HC_AUTO(hc_client) *client = NULL;

    hc_command_parse(&argp, 0, argc, argv, command_options);
    client = hc_command_connect(command_options, &err);
    if (!client || info_print(client, command_options, &err) < 0)
        return hc_output_print_failure(&err);
    return HC_EXIT_OK;
}
