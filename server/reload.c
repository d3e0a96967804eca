/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread: it waits for requests, and reloads. The lock guards what others read or
 * write, and is not held during a reload.
 *
 * An option that can change has its name in the table below and its effect in
 * reload_apply(). For all others the options of the start are those in effect.
 */
#include "reload.h"

#include "log.h"
#include "option.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/text.h>

#include <string.h>
#include <time.h>

/* Names of options, with ", " between them. */
struct name_list {
    char text[512];
};

struct hc_reload {
    struct hc_reload_parts parts;
    struct hc_options latest;            /* of the last good reload, if there was one */
    const struct hc_options *changeable; /* in effect: `latest`, or those of the start */
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t news;
        bool is_wanted, is_closing;
        int64_t grace_period_ms;
        struct hc_reload_status status;
    } shared;
};

static bool option_is_changeable(const struct hc_option *option)
{
    static const char *const names[] = {"bytes-per-second",    "cache-limit",
                                        "confirm-after",       "free-floor",
                                        "grace-period",        "log-format",
                                        "log-level",           "max-staleness",
                                        "requests-per-second", "offline",
                                        "tree-memory"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], option->name) == 0)
            return true;
    }
    return false;
}

/* A list that is too long for the text ends early. */
static void name_list_add(struct name_list *list, const char *name)
{
    size_t used = strlen(list->text);

    (void)hc_format(list->text + used, sizeof list->text - used, "%s%s", used ? ", " : "",
                    name);
}

/* Names the options in which `fresh` differs from what is in effect. */
static void reload_compare(const struct hc_reload *reload, const struct hc_options *fresh,
                           struct name_list *changed, struct name_list *waiting)
{
    for (size_t i = 0; i < hc_option_count; i++) {
        const struct hc_option *option = &hc_option_table[i];
        bool is_changeable = option_is_changeable(option);
        const struct hc_options *now =
            is_changeable ? reload->changeable : reload->parts.options;

        if (!option->is_flag_only && !hc_option_is_equal(fresh, now, option))
            name_list_add(is_changeable ? changed : waiting, option->name);
    }
}

/* Takes the options over. */
static void reload_apply(struct hc_reload *reload, struct hc_options *fresh)
{
    hc_options_clear(&reload->latest);
    reload->latest = *fresh;
    *fresh = (struct hc_options){0};
    reload->changeable = &reload->latest;
    hc_options_set_log(&reload->latest);
    hc_resolver_change(reload->parts.resolver, &reload->latest.settings);
    HC_LOCKED(&reload->shared.lock);

    reload->shared.grace_period_ms = reload->latest.grace_period_ms;
}

static int reload_options(struct hc_reload *reload, struct name_list *changed,
                          struct name_list *waiting, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_options) fresh;

    if (hc_options_load_again(&fresh, reload->parts.options, err) < 0 ||
        hc_options_check(&fresh, err) < 0)
        return -1;
    reload_compare(reload, &fresh, changed, waiting);
    reload_apply(reload, &fresh);
    return 0;
}

/* The first one is for the status; each is logged. */
static void failure_keep(struct hc_error *failure, const struct hc_error *err)
{
    if (failure->reason == HC_OK)
        *failure = *err;
}

static void reload_note(struct hc_reload *reload, const struct hc_error *failure,
                        const struct name_list *changed, const struct name_list *waiting)
{
    int64_t now_s = (int64_t)time(NULL);
    bool has_failed = failure->reason != HC_OK;
    HC_LOCKED(&reload->shared.lock);
    struct hc_reload_status *status = &reload->shared.status;

    *(has_failed ? &status->failed : &status->succeeded) += 1;
    status->last_s = now_s;
    if (!has_failed)
        status->good_s = now_s;
    status->has_failed = has_failed;
    if (has_failed)
        (void)hc_format(status->message, sizeof status->message, "%s", failure->message);
    else
        (void)hc_format(status->message, sizeof status->message,
                        "changed: %s; after a restart: %s",
                        *changed->text ? changed->text : "nothing",
                        *waiting->text ? waiting->text : "nothing");
}

static void reload_everything(struct hc_reload *reload)
{
    struct name_list changed = {""}, waiting = {""};
    struct hc_error err, failure = {.reason = HC_OK};

    if (reload_options(reload, &changed, &waiting, &err) < 0) {
        HC_LOG(HC_LOG_ERROR, "configuration not reloaded: the old one holds",
               HC_TEXT("error", err.message));
        failure_keep(&failure, &err);
    }
    if (reload->parts.tls && hc_tls_read(reload->parts.tls, &err) < 0) {
        HC_LOG(HC_LOG_ERROR, "certificate not read again: the old one holds",
               HC_TEXT("error", err.message));
        failure_keep(&failure, &err);
    }
    if (reload->parts.policy && hc_policy_file_read(reload->parts.policy, &err) < 0)
        failure_keep(&failure, &err); /* which logs that, as the next */
    if (hc_auth_reload(reload->parts.auth, &err) < 0)
        failure_keep(&failure, &err);
    if (hc_resolver_check_token(reload->parts.resolver, &err) < 0) {
        HC_LOG(HC_LOG_ERROR, "the token for the Hub cannot be used",
               HC_TEXT("error", err.message));
        failure_keep(&failure, &err);
    }
    reload_note(reload, &failure, &changed, &waiting);
    if (*waiting.text)
        HC_LOG(HC_LOG_WARN, "changed options need a restart",
               HC_TEXT("options", waiting.text));
    if (failure.reason == HC_OK)
        HC_LOG(HC_LOG_INFO, "reloaded", HC_TEXT("changed", changed.text));
}

/* Waits for a request. False: the close begins. */
static bool reload_await(struct hc_reload *reload)
{
    HC_LOCKED(&reload->shared.lock);

    while (!reload->shared.is_wanted && !reload->shared.is_closing)
        (void)pthread_cond_wait(&reload->shared.news, &reload->shared.lock);
    reload->shared.is_wanted = false;
    return !reload->shared.is_closing;
}

static void *reload_run(void *ctx)
{
    struct hc_reload *reload = ctx;

    while (reload_await(reload))
        reload_everything(reload);
    return NULL;
}

static void reload_free(struct hc_reload *reload)
{
    (void)pthread_cond_destroy(&reload->shared.news);
    (void)pthread_mutex_destroy(&reload->shared.lock);
    hc_options_clear(&reload->latest);
    free(reload);
}

struct hc_reload *hc_reload_open(const struct hc_reload_parts *parts,
                                 struct hc_error *err)
{
    struct hc_reload *reload = calloc(1, sizeof *reload);

    if (!reload) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    reload->parts = *parts;
    reload->changeable = parts->options;
    reload->shared.grace_period_ms = parts->options->grace_period_ms;
    reload->shared.status.good_s = (int64_t)time(NULL);
    (void)pthread_mutex_init(&reload->shared.lock, NULL);
    (void)pthread_cond_init(&reload->shared.news, NULL);
    if (pthread_create(&reload->thread, NULL, reload_run, reload) == 0)
        return reload;
    (void)hc_fail(err, HC_INTERNAL, "the system gives no thread to reload with");
    reload_free(reload);
    return NULL;
}

void hc_reload_close(struct hc_reload *reload)
{
    if (!reload)
        return;
    {
        HC_LOCKED(&reload->shared.lock);

        reload->shared.is_closing = true;
        (void)pthread_cond_signal(&reload->shared.news);
    }
    (void)pthread_join(reload->thread, NULL);
    reload_free(reload);
}

void hc_reload_request(struct hc_reload *reload)
{
    HC_LOCKED(&reload->shared.lock);

    reload->shared.is_wanted = true;
    (void)pthread_cond_signal(&reload->shared.news);
}

void hc_reload_status(struct hc_reload *reload, struct hc_reload_status *status)
{
    HC_LOCKED(&reload->shared.lock);

    *status = reload->shared.status;
}

int64_t hc_reload_grace_period_ms(struct hc_reload *reload)
{
    HC_LOCKED(&reload->shared.lock);

    return reload->shared.grace_period_ms;
}
