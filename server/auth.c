/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lock guards the tokens, the memory and the hash's context. It is held for a whole
 * decision, which takes some microseconds and waits for nothing, so that no decision that
 * began with the old tokens is remembered after they have been replaced. Files are read
 * without it, under a lock of their own: the thread of file_watcher.h reads them, and a
 * reload.
 */
#include "auth.h"

#include "caller_memory.h"
#include "caller_tokens.h"
#include "certificate.h"
#include "forgeries.h"
#include "jwt.h"
#include "jwt_keys.h"
#include "jwt_source.h"
#include "log.h"
#include "rpc.h"
#include "watched_file.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/text.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    LOOK_EVERY_MS = 2000,
    CREDENTIAL_MAX = 16 * 1024, /* of the header; a ServiceAccount's token has 1 KiB */
};

struct hc_auth {
    const struct hc_auth_settings *settings;
    struct hc_jwt_source_settings jwt_settings;
    struct {
        pthread_mutex_t lock; /* held while a file is read, but not for a URL */
        struct hc_watched_file tokens;
    } files;
    struct hc_jwt_source *jwt; /* NULL: none is configured. The lock of the files guards
                                  one that reads a file; the looking thread has others */
    struct hc_cancellation *end;
    pthread_t thread;
    bool is_started;
    EVP_MD *sha256;
    struct {
        pthread_mutex_t lock;
        struct hc_caller_tokens *tokens;       /* NULL: none are configured */
        struct hc_jwt_keys *keys;              /* NULL: none are known (yet) */
        bool are_keys_wanted;                  /* a token named one that is not known */
        struct hc_caller_memory *memory;       /* of tokens and users */
        struct hc_caller_memory *certificates; /* apart: a token can be any text */
        EVP_MD_CTX *digest;
        struct hc_forgeries forgeries;
    } shared;
};

/* --- files ---------------------------------------------------------------------------
 */

static struct hc_caller_tokens *auth_read_tokens(const struct hc_auth *auth,
                                                 struct hc_error *err)
{
    const struct hc_watched_file *file = &auth->files.tokens;
    size_t size;
    HC_AUTO_FREE char *text =
        hc_watched_file_read(file, HC_CALLER_TOKENS_BYTES_MAX, &size, err);

    if (text)
        return hc_caller_tokens_parse(text, size, file->path, err);
    (void)hc_context(err, "auth-tokens");
    return NULL;
}

/* What was remembered of the old tokens is forgotten, so that a token that is withdrawn
 * is refused from now on. */
static void auth_replace_tokens(struct hc_auth *auth, struct hc_caller_tokens *tokens)
{
    struct hc_caller_tokens *old;

    {
        HC_LOCKED(&auth->shared.lock);

        old = auth->shared.tokens;
        auth->shared.tokens = tokens;
        hc_caller_memory_forget_all(auth->shared.memory);
    }
    hc_caller_tokens_free(old);
}

/* The lock of the files is held. -1: the file is wrong. */
static int auth_look_at_tokens(struct hc_auth *auth, struct hc_error *err)
{
    struct hc_caller_tokens *tokens;
    size_t count;

    if (!auth->files.tokens.path || !hc_watched_file_has_changed(&auth->files.tokens))
        return 0;
    tokens = auth_read_tokens(auth, err);
    if (!tokens) {
        HC_LOG(HC_LOG_ERROR, "callers' tokens not read again: the old ones hold",
               HC_TEXT("error", err->message));
        return -1;
    }
    count = hc_caller_tokens_count(tokens);
    auth_replace_tokens(auth, tokens);
    HC_LOG(HC_LOG_INFO, "callers' tokens read again",
           HC_TEXT("file", auth->files.tokens.path), HC_NUMBER("tokens", count));
    return 0;
}

/* Likewise: a token that a withdrawn key has signed is refused from now on. */
static void auth_replace_keys(struct hc_auth *auth, struct hc_jwt_keys *keys)
{
    struct hc_jwt_keys *old;

    {
        HC_LOCKED(&auth->shared.lock);

        old = auth->shared.keys;
        auth->shared.keys = keys;
        hc_caller_memory_forget_all(auth->shared.memory);
    }
    hc_jwt_keys_free(old);
}

/* -1: the keys are wrong, or cannot be read. */
static int auth_look_at_keys(struct hc_auth *auth, struct hc_error *err)
{
    struct hc_jwt_keys *keys = NULL;
    bool are_wanted;
    size_t count;
    int found;

    {
        HC_LOCKED(&auth->shared.lock);

        are_wanted = auth->shared.are_keys_wanted;
        auth->shared.are_keys_wanted = false;
    }
    found = hc_jwt_source_read(auth->jwt, hc_monotonic_ms(), are_wanted, &keys, err);
    if (found < 0)
        HC_LOG(HC_LOG_ERROR, "keys of tokens not read again: the old ones hold",
               HC_TEXT("error", err->message));
    if (found <= 0)
        return found;
    count = hc_jwt_keys_count(keys);
    auth_replace_keys(auth, keys);
    HC_LOG(HC_LOG_INFO, "keys of tokens read", HC_TEXT("from", auth->settings->jwt_keys),
           HC_NUMBER("keys", count));
    return 0;
}

static bool auth_asks_url(const struct hc_auth *auth)
{
    return auth->jwt && hc_jwt_location_is_url(auth->settings->jwt_keys);
}

/* All files, also if the first one is wrong; -1: `err` is about the first wrong one. */
static int auth_look_at_files(struct hc_auth *auth, struct hc_error *err)
{
    struct hc_error keys_err;
    int read = auth_look_at_tokens(auth, err);

    if (!auth->jwt || auth_asks_url(auth) || auth_look_at_keys(auth, &keys_err) == 0)
        return read;
    if (read == 0)
        *err = keys_err;
    return -1;
}

void hc_auth_look(struct hc_auth *auth)
{
    struct hc_error ignored; /* logged */
    HC_LOCKED(&auth->files.lock);

    (void)auth_look_at_files(auth, &ignored);
}

void hc_auth_look_at_url(struct hc_auth *auth)
{
    struct hc_error ignored; /* logged */

    if (auth_asks_url(auth))
        (void)auth_look_at_keys(auth, &ignored);
}

int hc_auth_reload(struct hc_auth *auth, struct hc_error *err)
{
    HC_LOCKED(&auth->files.lock);

    if (auth_asks_url(auth)) {
        HC_LOCKED(&auth->shared.lock);

        auth->shared.are_keys_wanted = true;
    } else if (auth->jwt) {
        hc_jwt_source_expire(auth->jwt);
    }
    auth->files.tokens.was_looked_at = false;
    return auth_look_at_files(auth, err);
}

static void *auth_run(void *ctx)
{
    struct hc_auth *auth = ctx;
    struct hc_error err;

    while (hc_cancellation_sleep(auth->end, LOOK_EVERY_MS, &err) == 0)
        hc_auth_look_at_url(auth);
    return NULL;
}

/* --- life ----------------------------------------------------------------------------
 */

static int auth_open_keys(struct hc_auth *auth, struct hc_error *err)
{
    const struct hc_auth_settings *settings = auth->settings;

    if (!settings->jwt_keys)
        return 0;
    auth->jwt_settings = (struct hc_jwt_source_settings){
        .location = settings->jwt_keys,
        .ca_file = settings->jwt_keys_ca,
        .token_file = settings->jwt_keys_token_file,
    };
    auth->jwt = hc_jwt_source_new(&auth->jwt_settings, auth->end, err);
    if (!auth->jwt)
        return -1;
    if (hc_jwt_location_is_url(settings->jwt_keys))
        return 0;
    return hc_jwt_source_read(auth->jwt, 0, false, &auth->shared.keys, err) < 0 ? -1 : 0;
}

static int auth_open_tokens(struct hc_auth *auth, struct hc_error *err)
{
    if (!auth->settings->tokens_file)
        return 0;
    auth->files.tokens.path = auth->settings->tokens_file;
    (void)hc_watched_file_has_changed(&auth->files.tokens);
    auth->shared.tokens = auth_read_tokens(auth, err);
    return auth->shared.tokens ? 0 : -1;
}

struct hc_auth *hc_auth_open(const struct hc_auth_settings *settings,
                             struct hc_error *err)
{
    HC_AUTO(hc_auth) *auth = calloc(1, sizeof *auth);

    if (!auth) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    auth->settings = settings;
    (void)pthread_mutex_init(&auth->files.lock, NULL);
    (void)pthread_mutex_init(&auth->shared.lock, NULL);
    auth->end = hc_cancellation_new(HC_NO_DEADLINE);
    auth->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    auth->shared.digest = EVP_MD_CTX_new();
    auth->shared.memory = hc_caller_memory_new(err);
    auth->shared.certificates = hc_caller_memory_new(err);
    if (!auth->end || !auth->sha256 || !auth->shared.digest || !auth->shared.memory ||
        !auth->shared.certificates) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    if (auth_open_tokens(auth, err) < 0 || auth_open_keys(auth, err) < 0)
        return NULL;
    return hc_take(&auth);
}

int hc_auth_start(struct hc_auth *auth, struct hc_error *err)
{
    if (!auth_asks_url(auth))
        return 0;
    hc_auth_look_at_url(auth);
    if (pthread_create(&auth->thread, NULL, auth_run, auth) != 0)
        return hc_fail(err, HC_INTERNAL, "no thread to ask for the keys of callers");
    auth->is_started = true;
    return 0;
}

void hc_auth_close(struct hc_auth *auth)
{
    if (!auth)
        return;
    if (auth->is_started) {
        hc_cancellation_cancel(auth->end);
        (void)pthread_join(auth->thread, NULL);
    }
    hc_jwt_source_free(auth->jwt);
    hc_jwt_keys_free(auth->shared.keys);
    hc_caller_tokens_free(auth->shared.tokens);
    hc_caller_memory_free(auth->shared.memory);
    hc_caller_memory_free(auth->shared.certificates);
    EVP_MD_CTX_free(auth->shared.digest);
    EVP_MD_free(auth->sha256);
    hc_cancellation_free(auth->end);
    (void)pthread_mutex_destroy(&auth->shared.lock);
    (void)pthread_mutex_destroy(&auth->files.lock);
    free(auth);
}

/* --- decisions -----------------------------------------------------------------------
 */

static int credential_refuse(const char *why, struct hc_error *err)
{
    return hc_fail(err, HC_CALLER_UNAUTHENTICATED,
                   "%s: send the header 'authorization: Bearer <token>' with a token "
                   "that this hubcached accepts (hubcache: --token-file, HUBCACHE_TOKEN)",
                   why);
}

/* The token after "Bearer ", whose case does not count (RFC 9110, 11.1). */
static int credential_token(const struct hc_credential *credential, const char **token,
                            size_t *size, struct hc_error *err)
{
    static const char scheme[] = "Bearer ";
    const size_t length = strlen(scheme);

    if (credential->size > CREDENTIAL_MAX)
        return credential_refuse("the header 'authorization' is longer than 16 KiB", err);
    if (credential->size <= length ||
        strncasecmp(credential->authorization, scheme, length) != 0)
        return credential_refuse("the header 'authorization' has no bearer token", err);
    *token = credential->authorization + length;
    *size = credential->size - length;
    return 0;
}

/* A token that a call shows, and when. */
struct shown_token {
    const char *text;
    size_t size;
    struct hc_credential_hash hash;
    int64_t now_s;
    uint64_t peer; /* as hc_forgeries_peer() has it; 0: not known */
};

/* The lock is held here and in the functions up to auth_decide(). */
static int credential_hash(struct hc_auth *auth, const char *text, size_t size,
                           struct hc_credential_hash *hash, struct hc_error *err)
{
    EVP_MD_CTX *digest = auth->shared.digest;
    unsigned length = sizeof hash->bytes;

    if (EVP_DigestInit_ex2(digest, auth->sha256, NULL) &&
        EVP_DigestUpdate(digest, text, size) &&
        EVP_DigestFinal_ex(digest, hash->bytes, &length))
        return 0;
    return hc_fail(err, HC_INTERNAL, "OpenSSL refuses to hash");
}

static int auth_check_jwt(struct hc_auth *auth, const struct shown_token *token,
                          struct hc_jwt_result *result, struct hc_error *err)
{
    struct hc_forgeries *forgeries = &auth->shared.forgeries;
    int64_t now_ms = hc_monotonic_ms();
    const struct hc_jwt_rules rules = {
        .issuer = auth->settings->jwt_issuer,
        .audience = auth->settings->jwt_audience,
        .keys = auth->shared.keys,
        .now_s = token->now_s,
        .checks_no_signature = hc_forgeries_are_many(forgeries, token->peer, now_ms),
    };
    int checked = hc_jwt_check(&rules, token->text, token->size, result);

    if (result->is_forged)
        hc_forgeries_count(forgeries, token->peer, now_ms);
    if (checked < 0) {
        (void)credential_refuse(result->flaw, err);
        err->retry_after_ms = result->must_wait ? HC_FORGERIES_WAIT_MS : 0;
        return -1;
    }
    if (checked > 0)
        return 1;
    auth->shared.are_keys_wanted = true;
    (void)credential_refuse("the key that has signed the token is not known", err);
    err->retry_after_ms = LOOK_EVERY_MS; /* for its issuer may have rotated its keys */
    return -1;
}

/* A token that no call has shown yet, or not for a while. */
static int auth_decide(struct hc_auth *auth, const struct shown_token *token,
                       struct hc_jwt_result *result, struct hc_error *err)
{
    const struct hc_caller_tokens *tokens = auth->shared.tokens;

    result->end_s = INT64_MAX;
    result->caller =
        tokens ? hc_caller_hold(hc_caller_tokens_find(tokens, &token->hash)) : NULL;
    if (result->caller)
        return 1;
    if (auth->jwt && !(tokens && !memchr(token->text, '.', token->size)))
        return auth_check_jwt(auth, token, result, err);
    return credential_refuse("hubcached does not know the token", err);
}

/* 0: no caller is remembered by it. */
static int auth_recall_token(struct hc_auth *auth, struct shown_token *token,
                             struct hc_caller **caller, struct hc_error *err)
{
    HC_LOCKED(&auth->shared.lock);

    if (credential_hash(auth, token->text, token->size, &token->hash, err) < 0)
        return -1;
    *caller = hc_caller_memory_recall(auth->shared.memory, &token->hash, token->now_s);
    return *caller != NULL;
}

static int auth_check_token(struct hc_auth *auth, const struct shown_token *token,
                            struct hc_caller **caller, struct hc_error *err)
{
    struct hc_jwt_result result;
    HC_LOCKED(&auth->shared.lock);

    if (auth_decide(auth, token, &result, err) < 0)
        return -1;
    hc_caller_memory_keep(auth->shared.memory, &token->hash, result.caller, result.end_s);
    *caller = result.caller;
    return 1;
}

/* To ask for the address costs more than to look a token up, so that comes first. */
static int auth_identify_token(struct hc_auth *auth,
                               const struct hc_credential *credential, int64_t now_s,
                               struct hc_caller **caller, struct hc_error *err)
{
    struct shown_token token = {.text = "", .now_s = now_s};
    char address[HC_RPC_PEER_MAX] = "";
    int recalled;

    if (credential_token(credential, &token.text, &token.size, err) < 0)
        return -1;
    recalled = auth_recall_token(auth, &token, caller, err);
    if (recalled != 0)
        return recalled;
    if (auth->jwt && credential->call)
        hc_rpc_call_peer(credential->call, address);
    token.peer = hc_forgeries_peer(address);
    return auth_check_token(auth, &token, caller, err);
}

/* A certificate that is remembered costs a hash and a look-up, too. */
static int auth_identify_certificate(struct hc_auth *auth,
                                     const struct hc_credential *credential,
                                     int64_t now_s, struct hc_caller **caller,
                                     struct hc_error *err)
{
    struct hc_certificate_result result;
    struct hc_credential_hash hash;
    HC_LOCKED(&auth->shared.lock);

    if (credential_hash(auth, credential->certificate, credential->certificate_size,
                        &hash, err) < 0)
        return -1;
    *caller = hc_caller_memory_recall(auth->shared.certificates, &hash, now_s);
    if (*caller)
        return 1;
    if (hc_certificate_identify(credential->certificate, credential->certificate_size,
                                now_s, &result) < 0)
        return credential_refuse(result.flaw, err);
    hc_caller_memory_keep(auth->shared.certificates, &hash, result.caller, result.end_s);
    *caller = result.caller;
    return 1;
}

/* Remembered under its number, which is the SHA-256 of nothing that is known. */
static int auth_identify_uid(struct hc_auth *auth, uid_t uid, int64_t now_s,
                             struct hc_caller **caller, struct hc_error *err)
{
    struct hc_credential_hash number = {{0}};
    char name[32];
    HC_LOCKED(&auth->shared.lock);

    memcpy(number.bytes + sizeof number.bytes - sizeof uid, &uid, sizeof uid);
    *caller = hc_caller_memory_recall(auth->shared.memory, &number, now_s);
    if (*caller)
        return 1;
    (void)hc_format(name, sizeof name, "uid:%ju", (uintmax_t)uid);
    *caller = hc_caller_new(HC_CALLER_UID, name, NULL, 0, err);
    if (!*caller)
        return -1;
    hc_caller_memory_keep(auth->shared.memory, &number, *caller, INT64_MAX);
    return 1;
}

int hc_auth_identify(struct hc_auth *auth, const struct hc_credential *credential,
                     int64_t now_s, struct hc_caller **caller, struct hc_error *err)
{
    if (credential->authorization && hc_auth_settings_have_tokens(auth->settings))
        return auth_identify_token(auth, credential, now_s, caller, err);
    if (credential->certificate)
        return auth_identify_certificate(auth, credential, now_s, caller, err);
    if (credential->has_uid)
        return auth_identify_uid(auth, credential->uid, now_s, caller, err);
    if (auth->settings->is_required)
        return credential_refuse("the call does not say who calls", err);
    return 0;
}

int hc_auth_admit(void *ctx, struct hc_rpc_call *call, struct hc_error *err)
{
    struct hc_auth *auth = ctx;
    struct hc_request *request = hc_rpc_call_request(call);
    struct hc_credential credential = {.call = call};

    if (hc_text_starts(request->method, "/grpc.health.v1.Health/"))
        return 0;
    (void)hc_rpc_call_header(call, "authorization", &credential.authorization,
                             &credential.size);
    credential.certificate = hc_rpc_call_certificate(call, &credential.certificate_size);
    credential.has_uid = hc_rpc_call_uid(call, &credential.uid);
    return hc_auth_identify(auth, &credential, (int64_t)time(NULL), &request->identity,
                            err) < 0
               ? -1
               : 0;
}
