/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lock is held for a whole reading, so that of two readings the later one counts;
 * another guards the state, which a reader of the status need not wait for.
 */
#include "policy_file.h"

#include "log.h"
#include "watched_file.h"

#include <base/error.h>
#include <base/text.h>

#include <errno.h>
#include <policy/policy.h>
#include <policy/rules_file.h>
#include <resolver/resolver.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct hc_policy_file {
    struct hc_resolver *resolver;
    struct {
        pthread_mutex_t lock; /* held while the file is read */
        struct hc_watched_file watched;
    } reading;
    struct {
        pthread_mutex_t lock;
        struct hc_policy_state state;
    } shared;
};

/* It may be there at the first request: a secret that is mounted later, or a check on
 * another machine. */
static void rules_warn(const struct hc_rules *rules, const char *path)
{
    for (size_t i = 0; rules && i < rules->count; i++) {
        const struct hc_rule *rule = &rules->items[i];

        if (rule->token_file && access(rule->token_file, R_OK) < 0)
            HC_LOG(HC_LOG_WARN, "token file of a rule of the policy cannot be read",
                   HC_TEXT("policy", path), HC_NUMBER("line", rule->line),
                   HC_TEXT("rule", rule->name), HC_TEXT("file", rule->token_file),
                   HC_TEXT("error", strerrordesc_np(errno)));
    }
}

void hc_policy_file_warn(const char *path)
{
    struct hc_error unused;
    HC_AUTO(hc_rules) *rules = hc_rules_read(path, &unused);

    rules_warn(rules, path);
}

static void policy_warn(const struct hc_policy_file *file)
{
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(hc_resolver_policy(file->resolver));

    rules_warn(rules, file->reading.watched.path);
}

struct hc_policy_file *hc_policy_file_open(struct hc_resolver *resolver, const char *path,
                                           struct hc_error *err)
{
    HC_AUTO(hc_policy_file) *file = calloc(1, sizeof *file);

    if (!file) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    file->resolver = resolver;
    file->reading.watched.path = path;
    file->shared.state.since_s = (int64_t)time(NULL);
    (void)pthread_mutex_init(&file->reading.lock, NULL);
    (void)pthread_mutex_init(&file->shared.lock, NULL);
    (void)hc_watched_file_has_changed(&file->reading.watched);
    if (hc_resolver_load_policy(resolver, err) < 0)
        return NULL;
    policy_warn(file);
    return hc_take(&file);
}

void hc_policy_file_close(struct hc_policy_file *file)
{
    if (!file)
        return;
    (void)pthread_mutex_destroy(&file->reading.lock);
    (void)pthread_mutex_destroy(&file->shared.lock);
    free(file);
}

/* `err` NULL: it was read. True: that is news, and to be logged. */
static bool state_note(struct hc_policy_file *file, const struct hc_error *err)
{
    HC_LOCKED(&file->shared.lock);
    struct hc_policy_state *state = &file->shared.state;
    bool is_news = !err || strcmp(state->error, err->message) != 0;

    if (err) {
        state->failed++;
        (void)hc_format(state->error, sizeof state->error, "%s", err->message);
    } else {
        state->replaced++;
        state->since_s = (int64_t)time(NULL);
        state->error[0] = '\0';
    }
    return is_news;
}

/* The lock of the reading is held. The state of the file is taken before it is read: a
 * change in between is seen at the next look. */
static int file_read(struct hc_policy_file *file, struct hc_error *err)
{
    const char *path = file->reading.watched.path;

    (void)hc_watched_file_has_changed(&file->reading.watched);
    if (hc_resolver_load_policy(file->resolver, err) < 0) {
        if (state_note(file, err))
            HC_LOG(HC_LOG_ERROR, "policy not read again: the old one holds",
                   HC_TEXT("error", err->message));
        return -1;
    }
    (void)state_note(file, NULL);
    HC_LOG(HC_LOG_INFO, "policy read again", HC_TEXT("file", path));
    policy_warn(file);
    return 0;
}

int hc_policy_file_read(struct hc_policy_file *file, struct hc_error *err)
{
    HC_LOCKED(&file->reading.lock);

    return file_read(file, err);
}

void hc_policy_file_look(struct hc_policy_file *file)
{
    struct hc_error ignored; /* logged */
    HC_LOCKED(&file->reading.lock);

    if (hc_watched_file_has_changed(&file->reading.watched))
        (void)file_read(file, &ignored);
}

void hc_policy_file_state(struct hc_policy_file *file, struct hc_policy_state *state)
{
    HC_LOCKED(&file->shared.lock);

    *state = file->shared.state;
}
