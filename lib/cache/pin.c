/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pin is published by rename and never rewritten in place, so a reader sees the old one
 * or the new one. One that cannot be read still is a pin: only its absence is none.
 */
#include "pin.h"

#include <base/file.h>
#include <base/json.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { PIN_SIZE_MAX = 8 * HC_PIN_TEXT_MAX /* each byte may be escaped */ };

static int pin_format_path(char path[PATH_MAX], const struct hc_repo *repo,
                           const char *commit, struct hc_error *err)
{
    if (hc_format(path, PATH_MAX, ".hubcache/pins/%s/%s", repo->folder, commit) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "pin of '%s'", repo->id);
    return 0;
}

static void pin_copy_text(char to[HC_PIN_TEXT_MAX + 1], const json_t *object,
                          const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    (void)snprintf(to, HC_PIN_TEXT_MAX + 1, "%s", text ? text : "");
}

static void pin_parse(const char *text, struct hc_pin *pin)
{
    HC_AUTO_JSON *object = json_loads(text, 0, NULL);

    pin_copy_text(pin->reason, object, "reason");
    pin_copy_text(pin->caller, object, "caller");
    pin->since_ms = json_integer_value(json_object_get(object, "since_ms"));
}

int hc_pin_find(const struct hc_cache *cache, const struct hc_repo *repo,
                const char *commit, struct hc_pin *pin, struct hc_error *err)
{
    int root = hc_cache_fd(cache);
    char path[PATH_MAX], text[PIN_SIZE_MAX];
    struct hc_error unused;
    struct stat status;

    *pin = (struct hc_pin){0};
    if (pin_format_path(path, repo, commit, err) < 0)
        return -1;
    if (fstatat(root, path, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return hc_file_is_absent(errno) ? 0
                                        : hc_file_fail(err, errno, "open", root, path);
    if (hc_file_read(root, path, text, sizeof text, &unused) == 1)
        pin_parse(text, pin);
    return 1;
}

/* The longest beginning of `text` that JSON can hold: whole characters of UTF-8. */
static void pin_cut_text(char to[HC_PIN_TEXT_MAX + 1], const char *text)
{
    size_t length = 0;

    for (size_t next; (next = hc_text_utf8_length(text + length)) > 0; length += next) {
        if (length + next > HC_PIN_TEXT_MAX)
            break;
    }
    (void)snprintf(to, HC_PIN_TEXT_MAX + 1, "%.*s", (int)length, text);
}

int hc_pin_set(const struct hc_cache *cache, const struct hc_repo *repo,
               const char *commit, const struct hc_pin *pin, struct hc_error *err)
{
    char path[PATH_MAX], reason[HC_PIN_TEXT_MAX + 1], caller[HC_PIN_TEXT_MAX + 1];
    HC_AUTO_JSON *object = NULL;
    HC_AUTO_FREE char *text = NULL;

    pin_cut_text(reason, pin->reason);
    pin_cut_text(caller, pin->caller);
    object = json_pack("{s:s, s:s, s:I}", "reason", reason, "caller", caller, "since_ms",
                       (json_int_t)pin->since_ms);
    text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    if (!text)
        return hc_fail_memory(err);
    if (pin_format_path(path, repo, commit, err) < 0 ||
        hc_cache_publish(cache, path, text, strlen(text), err) < 0)
        return -1;
    return hc_file_sync_parent(hc_cache_fd(cache), path, err);
}

int hc_pin_clear(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_error *err)
{
    int root = hc_cache_fd(cache);
    char path[PATH_MAX];

    if (pin_format_path(path, repo, commit, err) < 0)
        return -1;
    if (unlinkat(root, path, 0) < 0)
        return hc_file_is_absent(errno) ? 0
                                        : hc_file_fail(err, errno, "remove", root, path);
    return 1;
}
