/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One failure: what a program decides on (`reason`), and what a person reads (`message`).
 * A struct hc_error lives on the caller's stack, owns nothing and is copied by
 * assignment. Functions that can fail take one as their last argument, leave it alone on
 * success and fill it exactly once on failure. Callable from any thread.
 */
#ifndef HUBCACHE_ERROR_H
#define HUBCACHE_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef HC_PUBLIC
#define HC_PUBLIC __attribute__((visibility("default")))
#endif

/* The codes of google.rpc.Code, with its numbers. */
enum hc_status {
    HC_STATUS_OK = 0,
    HC_STATUS_CANCELLED = 1,
    HC_STATUS_INVALID_ARGUMENT = 3,
    HC_STATUS_DEADLINE_EXCEEDED = 4,
    HC_STATUS_NOT_FOUND = 5,
    HC_STATUS_PERMISSION_DENIED = 7,
    HC_STATUS_RESOURCE_EXHAUSTED = 8,
    HC_STATUS_FAILED_PRECONDITION = 9,
    HC_STATUS_INTERNAL = 13,
    HC_STATUS_UNAVAILABLE = 14,
    HC_STATUS_DATA_LOSS = 15,
    HC_STATUS_UNAUTHENTICATED = 16
};

/* How the hubcache command exits. */
enum hc_exit {
    HC_EXIT_OK = 0,
    HC_EXIT_FAILURE = 1,
    HC_EXIT_USAGE = 2,
    HC_EXIT_NOT_FOUND = 3,
    HC_EXIT_DENIED = 4,
    HC_EXIT_UNAVAILABLE = 5
};

/*
 * Every reason there is: ROW(reason, status, exit). The name on the wire
 * (google.rpc.ErrorInfo.reason) is the reason without its HC_ prefix.
 */
#define HC_REASONS(ROW)                                                                  \
    /* Refused before any I/O; `field` names the field of the request. */                \
    ROW(INVALID_REPO_ID, INVALID_ARGUMENT, USAGE)                                        \
    ROW(INVALID_REVISION, INVALID_ARGUMENT, USAGE)                                       \
    ROW(INVALID_FILENAME, INVALID_ARGUMENT, USAGE)                                       \
    ROW(INVALID_PATTERN, INVALID_ARGUMENT, USAGE)                                        \
    ROW(INVALID_OPTIONS, INVALID_ARGUMENT, USAGE)                                        \
    /* The Hub says so, or a .no_exist marker does. */                                   \
    ROW(REPO_NOT_FOUND, NOT_FOUND, NOT_FOUND)                                            \
    ROW(REVISION_NOT_FOUND, NOT_FOUND, NOT_FOUND)                                        \
    ROW(ENTRY_NOT_FOUND, NOT_FOUND, NOT_FOUND)                                           \
    /* Not on disk, and the Hub must not be asked. */                                    \
    ROW(NOT_CACHED, NOT_FOUND, NOT_FOUND)                                                \
    ROW(INCOMPLETE_SNAPSHOT, NOT_FOUND, NOT_FOUND)                                       \
    /* The Hub knows it but does not give it out; `link` is the page to ask on. */       \
    ROW(GATED_REPO, PERMISSION_DENIED, DENIED)                                           \
    ROW(REPO_DISABLED, PERMISSION_DENIED, DENIED)                                        \
    ROW(POLICY_DENIED, PERMISSION_DENIED, DENIED)                                        \
    ROW(HUB_UNAUTHORIZED, UNAUTHENTICATED, DENIED)                                       \
    ROW(CALLER_UNAUTHENTICATED, UNAUTHENTICATED, DENIED)                                 \
    /* The Hub cannot be used just now; `retry_after_ms` says when to try again. */      \
    ROW(HUB_RATE_LIMITED, RESOURCE_EXHAUSTED, UNAVAILABLE)                               \
    ROW(HUB_UNREACHABLE, UNAVAILABLE, UNAVAILABLE)                                       \
    /* The Hub's answer is of no use. */                                                 \
    ROW(BAD_HUB_REPLY, INTERNAL, FAILURE)                                                \
    ROW(CHECKSUM_MISMATCH, DATA_LOSS, FAILURE)                                           \
    /* The cache volume. */                                                              \
    ROW(NO_SPACE, RESOURCE_EXHAUSTED, FAILURE)                                           \
    ROW(CACHE_READ_ONLY, FAILED_PRECONDITION, FAILURE)                                   \
    ROW(CACHE_IO, INTERNAL, FAILURE)                                                     \
    /* hubcache itself. */                                                               \
    ROW(BUSY, UNAVAILABLE, UNAVAILABLE)                                                  \
    ROW(SHUTTING_DOWN, UNAVAILABLE, UNAVAILABLE)                                         \
    ROW(CANCELLED, CANCELLED, FAILURE)                                                   \
    ROW(DEADLINE_EXCEEDED, DEADLINE_EXCEEDED, UNAVAILABLE)                               \
    ROW(INTERNAL, INTERNAL, FAILURE)                                                     \
    /* Seen by the client only. */                                                       \
    ROW(SERVER_UNAVAILABLE, UNAVAILABLE, UNAVAILABLE)                                    \
    ROW(CACHE_MISMATCH, FAILED_PRECONDITION, FAILURE)

enum hc_reason {
    HC_OK = 0,
#define HC_REASON_ENUM(reason, status, exit) HC_##reason,
    HC_REASONS(HC_REASON_ENUM)
#undef HC_REASON_ENUM
        HC_REASON_COUNT /* how many there are, HC_OK included */
};

struct hc_error {
    enum hc_reason reason;
    unsigned retry_after_ms; /* 0: no advice */
    bool is_final;           /* no older answer of the cache may stand in for it */
    uint64_t needed_bytes;   /* NO_SPACE */
    uint64_t free_bytes;     /* NO_SPACE */
    uint64_t limit_bytes;    /* NO_SPACE: the limit of the cache, or the caller's quota,
                                that refuses; 0: none */
    unsigned missing_count;  /* INCOMPLETE_SNAPSHOT: how many files */
    char field[32];          /* INVALID_*: the request's field */
    char rule[64];           /* POLICY_DENIED: the rule; "default", "admin" or
                                "hub-access" when it is none of the policy's file.
                                NO_SPACE: "quota" when the caller's quota refuses */
    char rule_message[208];  /* POLICY_DENIED: the rule's message; "": it has none */
    char alternative[256];   /* POLICY_DENIED: a file of the commit that is allowed and
                                may serve instead; "": none is known */
    char link[256];          /* GATED_REPO, REPO_DISABLED: a page to visit; else "" */
    char filename[256];      /* the file it is about, within the repo; "": none, or all */
    char missing[1024];      /* INCOMPLETE_SNAPSHOT: the first names, one a line */
    char message[512];       /* names repo, revision, file, cause and the next step */
};

/* "NOT_CACHED" and so on; "OK" for HC_OK. */
HC_PUBLIC const char *hc_reason_name(enum hc_reason reason);

/* The reason of that name; HC_OK when there is none. */
HC_PUBLIC enum hc_reason hc_reason_from_name(const char *name);

HC_PUBLIC enum hc_status hc_reason_status(enum hc_reason reason);
HC_PUBLIC enum hc_exit hc_reason_exit(enum hc_reason reason);

#ifdef __cplusplus
}
#endif

#endif
