/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look reads all files, not only those that have changed, because they must fit each
 * other. While one is replaced after the other they do not, which the next look mends:
 * after a failure it reads them in any case.
 *
 * Files are read without the lock. Two threads may do that at once: the reading that has
 * begun last counts.
 */
#include "tls.h"

#include "log.h"
#include "watched_file.h"

#include <base/error.h>
#include <base/text.h>

#include <string.h>
#include <time.h>

enum { CERT, KEY, CLIENT_CA, FILES };

static const char *const OPTIONS[FILES] = {"tls-cert", "tls-key", "tls-client-ca"};

struct hc_tls {
    const struct hc_tls_settings *settings;
    struct hc_watched_file files[FILES]; /* the looking thread's, as the next */
    char failure[sizeof((struct hc_error *)0)->message]; /* logged last; "": none */
    struct {
        pthread_mutex_t lock;
        struct hc_tls_pem pem;
        uint64_t generation;
        uint64_t begun, counted; /* readings, numbered from 1 */
        struct hc_tls_state state;
    } shared;
};

int hc_tls_settings_check(const struct hc_tls_settings *settings, struct hc_error *err)
{
    if (!settings->cert != !settings->key)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "tls-cert",
                             "tls-cert and tls-key: give both, or none");
    if (settings->client_ca && !settings->cert)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "tls-client-ca",
                             "tls-client-ca: clients show certificates over TLS alone: "
                             "give tls-cert and tls-key");
    if (settings->is_client_optional && !settings->client_ca)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "tls-client-optional",
                             "tls-client-optional: give tls-client-ca");
    return 0;
}

/* --- files ---------------------------------------------------------------------------
 */

static int file_read(const struct hc_watched_file *file, const char *option, char **text,
                     struct hc_error *err)
{
    size_t size;

    *text = NULL;
    if (!file->path)
        return 0;
    *text = hc_watched_file_read(file, HC_TLS_PEM_BYTES_MAX, &size, err);
    if (!*text)
        return hc_context(err, "%s", option);
    if (strlen(*text) == size)
        return 0;
    return hc_fail_field(err, HC_INVALID_OPTIONS, option, "%s: '%s' has a NUL", option,
                         file->path);
}

/* Clear `pem` in every case. */
static int tls_read_files(const struct hc_tls *tls, struct hc_tls_pem *pem,
                          int64_t *end_s, struct hc_error *err)
{
    if (file_read(&tls->files[CERT], OPTIONS[CERT], &pem->cert, err) < 0 ||
        file_read(&tls->files[KEY], OPTIONS[KEY], &pem->key, err) < 0 ||
        file_read(&tls->files[CLIENT_CA], OPTIONS[CLIENT_CA], &pem->client_ca, err) < 0)
        return -1;
    return hc_tls_pem_check(pem, (int64_t)time(NULL), end_s, err);
}

static uint64_t tls_begin_reading(struct hc_tls *tls)
{
    HC_LOCKED(&tls->shared.lock);

    return ++tls->shared.begun;
}

/* False: a reading that has begun later counts. The lock is held. */
static bool tls_count_reading(struct hc_tls *tls, uint64_t number)
{
    if (number < tls->shared.counted)
        return false;
    tls->shared.counted = number;
    return true;
}

static void tls_keep_failure(struct hc_tls *tls, uint64_t number,
                             const struct hc_error *err)
{
    HC_LOCKED(&tls->shared.lock);

    if (!tls_count_reading(tls, number))
        return;
    tls->shared.state.failed++;
    tls->shared.state.err = *err;
}

/* True: `pem` is in use from now on, and has what was in use until now. */
static bool tls_replace(struct hc_tls *tls, uint64_t number, struct hc_tls_pem *pem,
                        int64_t end_s)
{
    struct hc_tls_pem old;
    HC_LOCKED(&tls->shared.lock);

    if (!tls_count_reading(tls, number))
        return false;
    tls->shared.state.err.message[0] = '\0';
    if (tls->shared.pem.cert && hc_tls_pem_is_equal(pem, &tls->shared.pem))
        return false;
    old = tls->shared.pem;
    tls->shared.pem = *pem;
    *pem = old;
    tls->shared.generation++;
    tls->shared.state.replaced += tls->shared.generation > 1;
    tls->shared.state.since_s = (int64_t)time(NULL);
    tls->shared.state.end_s = end_s;
    return true;
}

int hc_tls_read(struct hc_tls *tls, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_tls_pem) pem = {.cert = NULL};
    uint64_t number = tls_begin_reading(tls);
    int64_t end_s;

    if (tls_read_files(tls, &pem, &end_s, err) < 0) {
        tls_keep_failure(tls, number, err);
        return -1;
    }
    if (!tls_replace(tls, number, &pem, end_s))
        return 0;
    HC_LOG(HC_LOG_INFO, "certificate read", HC_TEXT("file", tls->settings->cert),
           HC_NUMBER("expires_in_s", end_s - (int64_t)time(NULL)));
    return 1;
}

static bool tls_files_have_changed(struct hc_tls *tls)
{
    bool have_changed = false;

    for (size_t i = 0; i < FILES; i++)
        have_changed |= tls->files[i].path && hc_watched_file_has_changed(&tls->files[i]);
    return have_changed;
}

/* A failure that stays is logged once. */
void hc_tls_look(struct hc_tls *tls)
{
    bool have_changed = tls_files_have_changed(tls);
    struct hc_error err;

    if (!have_changed && !tls->failure[0])
        return;
    if (hc_tls_read(tls, &err) >= 0) {
        tls->failure[0] = '\0';
        return;
    }
    if (strcmp(tls->failure, err.message) != 0)
        HC_LOG(HC_LOG_ERROR, "certificate not read again: the old one holds",
               HC_TEXT("error", err.message));
    (void)hc_format(tls->failure, sizeof tls->failure, "%s", err.message);
}

/* --- life ----------------------------------------------------------------------------
 */

struct hc_tls *hc_tls_open(const struct hc_tls_settings *settings, struct hc_error *err)
{
    HC_AUTO(hc_tls) *tls = calloc(1, sizeof *tls);

    if (!tls) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    tls->settings = settings;
    tls->files[CERT].path = settings->cert;
    tls->files[KEY].path = settings->key;
    tls->files[CLIENT_CA].path = settings->client_ca;
    (void)pthread_mutex_init(&tls->shared.lock, NULL);
    (void)tls_files_have_changed(tls); /* before they are read */
    return hc_tls_read(tls, err) < 0 ? NULL : hc_take(&tls);
}

void hc_tls_close(struct hc_tls *tls)
{
    if (!tls)
        return;
    hc_tls_pem_clear(&tls->shared.pem);
    (void)pthread_mutex_destroy(&tls->shared.lock);
    free(tls);
}

enum hc_tls_clients hc_tls_clients(const struct hc_tls *tls)
{
    if (!tls->settings->client_ca)
        return HC_TLS_NO_CLIENTS;
    return tls->settings->is_client_optional ? HC_TLS_OPTIONAL_CLIENTS
                                             : HC_TLS_ALL_CLIENTS;
}

bool hc_tls_copy_newer(struct hc_tls *tls, uint64_t *generation, struct hc_tls_pem *copy)
{
    struct hc_error err;
    HC_LOCKED(&tls->shared.lock);

    if (tls->shared.generation == *generation ||
        hc_tls_pem_copy(&tls->shared.pem, copy, &err) < 0)
        return false;
    *generation = tls->shared.generation;
    return true;
}

void hc_tls_look_at_state(struct hc_tls *tls, struct hc_tls_state *state)
{
    HC_LOCKED(&tls->shared.lock);

    *state = tls->shared.state;
}
