/* SPDX-License-Identifier: Apache-2.0 */
#include "globs.h"

#include <base/error.h>
#include <hubcache/resolver.h>

#include <string.h>

/* ---- globs ------------------------------------------------------------------------- */

/* An empty list has no filter. */
static int filter_compile(const struct hc_strings *texts, struct hc_filter **filter,
                          struct hc_error *err)
{
    const struct hc_patterns patterns = {.allow = (const char *const *)texts->items,
                                         .allow_count = texts->count};

    if (texts->count == 0)
        return 0;
    *filter = hc_filter_new(&patterns, NULL, err);
    return *filter ? 0 : -1;
}

int hc_globs_compile(struct hc_globs *globs, struct hc_error *err)
{
    return filter_compile(&globs->texts, &globs->filter, err);
}

void hc_globs_clear(struct hc_globs *globs)
{
    hc_filter_free(globs->filter);
    hc_strings_clear(&globs->texts);
}

/* ---- callers ----------------------------------------------------------------------- */

/* "kind:token" and "kind:token:ci-*" become "token:*" and "token:ci-*". */
static int callers_add_kind(struct hc_strings *kinds, const char *text,
                            struct hc_error *err)
{
    char glob[HC_GLOB_MAX + 3];

    if (hc_format(glob, sizeof glob, "%s%s", text, strchr(text, ':') ? "" : ":*") < 0)
        return hc_fail(err, HC_INTERNAL, "a glob is too long");
    return hc_strings_add(kinds, glob, err);
}

int hc_callers_compile(struct hc_callers *callers, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_strings) names = {0};
    HC_AUTO_VALUE(hc_strings) groups = {0};
    HC_AUTO_VALUE(hc_strings) kinds = {0};

    for (size_t i = 0; i < callers->texts.count; i++) {
        const char *text = callers->texts.items[i];
        int added = 0;

        if (strcmp(text, "anonymous") == 0)
            callers->has_anonymous = true;
        else if (hc_text_starts(text, "group:"))
            added = hc_strings_add(&groups, text + strlen("group:"), err);
        else if (hc_text_starts(text, "kind:"))
            added = callers_add_kind(&kinds, text + strlen("kind:"), err);
        else
            added = hc_strings_add(&names, text, err);
        if (added < 0)
            return -1;
    }
    if (filter_compile(&names, &callers->names, err) < 0 ||
        filter_compile(&groups, &callers->groups, err) < 0)
        return -1;
    return filter_compile(&kinds, &callers->kinds, err);
}

static bool callers_match_kind(const struct hc_callers *callers,
                               const struct hc_identity *identity)
{
    char text[HC_SUBJECT_SIZE];

    return callers->kinds && identity->kind &&
           hc_format(text, sizeof text, "%s:%s", identity->kind, identity->name) >= 0 &&
           hc_filter_allows(callers->kinds, text);
}

bool hc_callers_match(const struct hc_callers *callers,
                      const struct hc_identity *identity)
{
    if (callers->texts.count == 0)
        return true;
    if (!identity)
        return callers->has_anonymous ||
               (callers->names && hc_filter_allows(callers->names, ""));
    if (callers->names && hc_filter_allows(callers->names, identity->name))
        return true;
    for (size_t i = 0; callers->groups && i < identity->group_count; i++) {
        if (hc_filter_allows(callers->groups, identity->groups[i]))
            return true;
    }
    return callers_match_kind(callers, identity);
}

void hc_callers_clear(struct hc_callers *callers)
{
    hc_filter_free(callers->names);
    hc_filter_free(callers->groups);
    hc_filter_free(callers->kinds);
    hc_strings_clear(&callers->texts);
}
