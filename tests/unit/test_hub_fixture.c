/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each test has a hub of its own, and each request a connection of its own.
 */
#include "test_hub_fixture.h"

#include <stdio.h>
#include <stdlib.h>

int hub_fixture_start(void **state)
{
    const struct test_hub_options options = {.valid_token = "good", .page_size = 2};
    struct fixture *f = calloc(1, sizeof *f);

    f->hub = test_hub_start(&options);
    test_hub_add(f->hub, "config.json", "{}", 2, false);
    test_hub_add(f->hub, "empty", "", 0, false);
    test_hub_add(f->hub, "sub/dir/a b.txt", "deep", 4, false);
    test_hub_add_generated(f->hub, "model.safetensors", LFS_SIZE, 7, true);
    test_hub_commit(f->hub, "models/org/name", "main", f->commit);
    *state = f;
    return 0;
}

int hub_fixture_stop(void **state)
{
    struct fixture *f = *state;

    test_hub_stop(f->hub);
    free(f);
    return 0;
}

void response_clear(struct response *response)
{
    free(response->headers);
    free(response->body);
}

struct response hub_fixture_request(const struct fixture *f,
                                    struct http_request http_request)
{
    struct response response = {0};
    size_t header_size;
    char url[1024];
    FILE *headers = open_memstream(&response.headers, &header_size);
    FILE *body = open_memstream(&response.body, &response.size);
    CURL *curl = curl_easy_init();

    (void)snprintf(url, sizeof url, "%s%s",
                   http_request.path[0] == '/' ? test_hub_endpoint(f->hub) : "",
                   http_request.path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOBODY, (long)http_request.is_head);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, (long)http_request.follows);
    curl_easy_setopt(curl, CURLOPT_RANGE, http_request.range);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    if (http_request.token) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, http_request.token);
    }
    response.outcome = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &response.status);
    curl_easy_cleanup(curl);
    (void)fclose(headers);
    (void)fclose(body);
    return response;
}

struct response hub_fixture_head(const struct fixture *f, const char *path)
{
    return hub_fixture_request(f, (struct http_request){.path = path, .is_head = true});
}

struct response hub_fixture_get(const struct fixture *f, const char *path)
{
    return hub_fixture_request(f, (struct http_request){.path = path, .follows = true});
}
