/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uses the client library as its header says. No server listens on port 1.
 */
#include <hubcache-client/client.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    struct hc_client_options options;
    struct hc_client_file_request request;
    struct hc_client_file file;
    struct hc_error err;
    struct hc_client *client;
    int result;

    memset(&options, 0, sizeof options);
    memset(&request, 0, sizeof request);
    options.server = "127.0.0.1:1";
    request.repo.id = "openai-community/gpt2";
    request.repo.type = hc_repo_type_from_name("model");
    request.filename = "config.json";

    client = hc_client_open(&options, &err);
    if (!client)
        return 1;
    result = hc_client_resolve_file(client, &request, &file, &err);
    hc_client_close(client);
    if (result == 0 || err.reason != HC_SERVER_UNAVAILABLE)
        return 1;
    printf("%s: %s\n", hc_reason_name(err.reason), err.message);
    return 0;
}
