/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As codec.h, for the messages of the service Cache.
 */
#ifndef HC_SERVER_CACHE_CODEC_H
#define HC_SERVER_CACHE_CODEC_H

#include "message.h"

#include <hubcache/inventory.h>
#include <hubcache/maintenance.h>
#include <hubcache/v1/cache.pb-c.h>
#include <hubcache/verification.h>

/* Whether `type`, of a request, is one that there is; INVALID_OPTIONS otherwise. */
int hc_decode_repo_type(Hubcache__V1__RepoType type, enum hc_repo_type *decoded,
                        struct hc_error *err);

/* What a selector, or the head of a request, names: a missing revision is NULL. */
int hc_decode_cached_target(const char *id, Hubcache__V1__RepoType type,
                            const char *revision, struct hc_target *target,
                            struct hc_error *err);

/* A point in time for a message, made in `arena`; 0 ms: `*message` is NULL. */
int hc_encode_time(int64_t ms, struct hc_arena *arena,
                   Google__Protobuf__Timestamp **message, struct hc_error *err);

/* A list of pointers to `count` messages of `size` bytes each, as protobuf-c wants one;
 * both are made in `arena`. NULL: memory is short. */
void **hc_encode_list(struct hc_arena *arena, size_t count, size_t size,
                      struct hc_error *err);

/* All but the options of the caller. */
int hc_decode_list_repos(const Hubcache__V1__ListReposRequest *message,
                         struct hc_arena *arena, struct hc_repos_request *request,
                         struct hc_error *err);
int hc_decode_get_usage(const Hubcache__V1__GetUsageRequest *message,
                        struct hc_arena *arena, struct hc_repos_request *request,
                        struct hc_error *err);
int hc_encode_list_repos(const struct hc_cached_repos *repos, struct hc_arena *arena,
                         Hubcache__V1__ListReposResponse *message, struct hc_error *err);
int hc_encode_list_revisions(const struct hc_cached_revisions *revisions,
                             struct hc_arena *arena,
                             Hubcache__V1__ListRevisionsResponse *message,
                             struct hc_error *err);
int hc_encode_list_files(const struct hc_cached_files *files, struct hc_arena *arena,
                         Hubcache__V1__ListFilesResponse *message, struct hc_error *err);

/* Of the files that lead to it the first HC_FINDING_POINTERS_MAX. */
enum { HC_FINDING_POINTERS_MAX = 100 };
void hc_encode_finding(const struct hc_finding *finding, Hubcache__V1__Finding *message);
void hc_encode_verify_progress(const struct hc_verify_progress *progress,
                               Hubcache__V1__VerifyProgress *message);
void hc_encode_verify_result(const struct hc_verify_result *result,
                             Hubcache__V1__VerifyResult *message);

/* Types of a request, made in `arena`. NULL: INVALID_OPTIONS. */
enum hc_repo_type *hc_decode_repo_types(const Hubcache__V1__RepoType *types, size_t count,
                                        struct hc_arena *arena, struct hc_error *err);

/* The first rows of what a removal took and left, as many as an answer may have. */
struct hc_encoded_removal {
    Hubcache__V1__Removed **removed;
    size_t removed_count;
    uint32_t removed_total;
    Hubcache__V1__Kept **kept;
    size_t kept_count;
    uint32_t kept_total;
};

/* Texts are borrowed from `result`. */
int hc_encode_removal(const struct hc_removal_result *result, struct hc_arena *arena,
                      struct hc_encoded_removal *encoded, struct hc_error *err);

#endif
