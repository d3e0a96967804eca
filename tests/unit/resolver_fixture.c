/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See resolver_fixture.h.
 */
#include "resolver_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static void fixture_add_text(struct test_hub *hub, const char *path, const char *text)
{
    test_hub_add(hub, path, text, strlen(text), false);
}

static void fixture_fill_hub(struct fixture *f)
{
    fixture_add_text(f->hub, "config.json", "{\"v\": 1}");
    fixture_add_text(f->hub, "README.md", "# model\n");
    fixture_add_text(f->hub, "empty.txt", "");
    fixture_add_text(f->hub, "sub/dir/nested.txt", "nested");
    test_hub_add(f->hub, "weights.bin", "0123456789abcdef", 16, true);
    test_hub_commit(f->hub, "models/org/model", "main", f->commit);
}

void resolver_fixture_reopen(struct fixture *f, bool offline)
{
    hc_resolver_close(f->resolver);
    f->settings.offline = offline;
    f->resolver = hc_resolver_open(&f->settings, &f->err);
    assert_non_null(f->resolver);
}

int resolver_fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->dir = temp_dir_make();
    f->hub = test_hub_start(&(struct test_hub_options){0});
    fixture_fill_hub(f);
    f->settings = (struct hc_settings){
        .cache_dir = strdup(f->dir),
        .endpoint = strdup(test_hub_endpoint(f->hub)),
        .metadata_timeout_s = 5,
        .download_timeout_s = 5,
        .max_staleness_ms = 60000,
        .retries = 2,
        .retry_base_ms = 1,
        .snapshot_workers = 4,
    };
    resolver_fixture_reopen(f, false);
    *state = f;
    return 0;
}

int resolver_fixture_teardown(void **state)
{
    struct fixture *f = *state;

    hc_resolver_close(f->resolver);
    hc_settings_clear(&f->settings);
    test_hub_stop(f->hub);
    temp_dir_remove(f->dir);
    free(f);
    return 0;
}

void resolver_fixture_move_main(struct fixture *f, char commit[41])
{
    fixture_add_text(f->hub, "config.json", "{\"v\": 2}");
    test_hub_commit(f->hub, "models/org/model", "main", commit);
}

void resolver_fixture_age_ref(struct fixture *f, const char *revision, int seconds)
{
    char path[4096];
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {0}};

    (void)clock_gettime(CLOCK_REALTIME, &times[1]);
    times[1].tv_sec -= seconds;
    (void)snprintf(path, sizeof path, "%s/" REPO_FOLDER "/refs/%s", f->dir, revision);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

int fixture_resolve_file(struct fixture *f, const char *revision, const char *filename,
                         struct hc_file *file)
{
    struct hc_file_request request = {.repo = {.id = "org/model", .revision = revision},
                                      .filename = filename};

    return hc_resolve_file(f->resolver, &request, NULL, file, &f->err);
}

void assert_file_content(const struct hc_file *file, const char *text)
{
    char *content = temp_dir_read("/", file->path + 1);

    assert_non_null(content);
    assert_string_equal(content, text);
    free(content);
}

const char *pointer_path(const char *commit, const char *path)
{
    static _Thread_local char joined[4096];

    (void)snprintf(joined, sizeof joined, REPO_FOLDER "/snapshots/%s/%s", commit, path);
    return joined;
}
