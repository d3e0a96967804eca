/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every test has a hub of its own, and every request a connection of its own.
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

void reply_clear(struct reply *reply)
{
    free(reply->headers);
    free(reply->body);
}

struct reply ask(const struct fixture *f, struct question question)
{
    struct reply reply = {0};
    size_t header_size;
    char url[1024];
    FILE *headers = open_memstream(&reply.headers, &header_size);
    FILE *body = open_memstream(&reply.body, &reply.size);
    CURL *curl = curl_easy_init();

    (void)snprintf(url, sizeof url, "%s%s",
                   question.path[0] == '/' ? test_hub_endpoint(f->hub) : "",
                   question.path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOBODY, (long)question.is_head);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, (long)question.follows);
    curl_easy_setopt(curl, CURLOPT_RANGE, question.range);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    if (question.token) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, question.token);
    }
    reply.outcome = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
    curl_easy_cleanup(curl);
    (void)fclose(headers);
    (void)fclose(body);
    return reply;
}

struct reply head(const struct fixture *f, const char *path)
{
    return ask(f, (struct question){.path = path, .is_head = true});
}

struct reply get(const struct fixture *f, const char *path)
{
    return ask(f, (struct question){.path = path, .follows = true});
}
