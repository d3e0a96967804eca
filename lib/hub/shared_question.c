/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question is in the list while it may still be joined; who is aboard is a count. The
 * list's lock guards every member until the question is settled; what was answered is not
 * changed any more afterwards, and is read without it by those who are aboard. When the
 * caller that asks leaves, another one asks: as often as there are callers, at most.
 */
#include "shared_question.h"

#include "retry.h"

#include <base/condition.h>
#include <base/error.h>
#include <base/keyed_hash.h>
#include <base/text.h>

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

/* A caller's cancellation does not reach the condition: waiters look this often. */
enum { GLANCE_MS = 100 };

struct question {
    LIST_ENTRY(question) link;
    char *name;
    struct hc_keyed_hash token;
    bool no_retry;
    bool hub_only;
    unsigned aboard;
    bool is_asked; /* somebody is asking */
    bool is_settled;
    struct hc_error failure; /* when settled: reason HC_OK when it was answered */
    struct hc_error rebuff; /* else: of an asker who could not wait; reason HC_OK: none */
    void *answer;
    void (*drop)(void *answer);
    pthread_cond_t news;
};

struct hc_questions {
    struct {
        pthread_mutex_t lock;
        LIST_HEAD(, question) list;
    } shared;
};

static void lock(struct hc_questions *questions)
{
    (void)pthread_mutex_lock(&questions->shared.lock);
}

static void unlock(struct hc_questions *questions)
{
    (void)pthread_mutex_unlock(&questions->shared.lock);
}

static void scrap(struct question *question)
{
    if (question->answer && question->drop)
        question->drop(question->answer);
    (void)pthread_cond_destroy(&question->news);
    free(question->answer);
    free(question->name);
    free(question);
}

static struct question *make(const struct hc_shared_question *like, struct hc_error *err)
{
    struct question *question = calloc(1, sizeof *question);

    if (!question) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    hc_condition_init(&question->news);
    question->no_retry = like->credentials->no_retry;
    question->hub_only = like->credentials->hub_only;
    question->drop = like->drop;
    question->answer = calloc(1, like->answer_size);
    question->name = strdup(like->name);
    question->token = hc_keyed_hash_of(like->credentials->token);
    if (question->answer && question->name)
        return question;
    scrap(question);
    (void)hc_fail_memory(err);
    return NULL;
}

static struct question *find(const struct hc_questions *questions,
                             const struct hc_shared_question *like)
{
    const struct hc_keyed_hash token = hc_keyed_hash_of(like->credentials->token);
    struct question *question;

    LIST_FOREACH(question, &questions->shared.list, link)
    {
        if (question->no_retry == like->credentials->no_retry &&
            question->hub_only == like->credentials->hub_only &&
            strcmp(question->name, like->name) == 0 &&
            hc_keyed_hash_equals(&question->token, &token))
            return question;
    }
    return NULL;
}

static struct question *join(struct hc_questions *questions,
                             const struct hc_shared_question *like, struct hc_error *err)
{
    struct question *question;

    lock(questions);
    question = find(questions, like);
    if (!question) {
        question = make(like, err);
        if (question)
            LIST_INSERT_HEAD(&questions->shared.list, question, link);
    }
    if (question)
        question->aboard++;
    unlock(questions);
    return question;
}

static void leave(struct hc_questions *questions, struct question *question)
{
    bool is_last;

    lock(questions);
    is_last = --question->aboard == 0;
    if (is_last && !question->is_settled)
        LIST_REMOVE(question, link);
    unlock(questions);
    if (is_last)
        scrap(question);
}

static void glance(struct hc_questions *questions, struct question *question,
                   struct hc_cancellation *call)
{
    int64_t left = hc_cancellation_remaining_ms(call);
    hc_condition_wait(&question->news, &questions->shared.lock,
                      left < GLANCE_MS ? left : GLANCE_MS);
}

enum turn { SETTLED, OURS, OVER };

/* An asker who could not wait says enough to those who can wait no longer. */
static bool is_rebuffed(const struct question *question, struct hc_cancellation *call)
{
    return question->rebuff.reason != HC_OK &&
           hc_retry_remaining_ms(call) <= question->rebuff.retry_after_ms;
}

/* Waits until the question is settled, or ours to ask; OVER with `err`. */
static enum turn await_turn(struct hc_questions *questions, struct question *question,
                            struct hc_cancellation *call, struct hc_error *err)
{
    while (!question->is_settled) {
        if (hc_cancellation_check(call, err) < 0)
            return OVER;
        if (!question->is_asked && is_rebuffed(question, call)) {
            *err = question->rebuff;
            return OVER;
        }
        if (!question->is_asked) {
            question->is_asked = true;
            return OURS;
        }
        glance(questions, question, call);
    }
    return SETTLED;
}

/* Whether a failure says more about the patience of who asked than about the Hub. */
static bool is_impatience(const struct hc_error *failure, struct hc_cancellation *call)
{
    return failure->reason == HC_CANCELLED || failure->reason == HC_DEADLINE_EXCEEDED ||
           hc_retry_remaining_ms(call) < failure->retry_after_ms;
}

static void copy_answer(const struct hc_shared_question *like, void *to, const void *from)
{
    if (like->copy)
        like->copy(to, from);
    else
        memcpy(to, from, like->answer_size);
}

/* `failure` is NULL when all went well. */
static void settle(struct hc_questions *questions, struct question *question,
                   const struct hc_shared_question *like, const void *answer,
                   const struct hc_error *failure)
{
    lock(questions);
    question->is_asked = false;
    if (failure && is_impatience(failure, like->credentials->call)) {
        if (failure->retry_after_ms > 0)
            question->rebuff = *failure;
    } else {
        question->is_settled = true;
        if (failure)
            question->failure = *failure;
        copy_answer(like, question->answer, answer);
        LIST_REMOVE(question, link);
    }
    (void)pthread_cond_broadcast(&question->news);
    unlock(questions);
}

/* What somebody else was told. */
static int share(const struct question *question, const struct hc_shared_question *like,
                 void *answer, struct hc_error *err)
{
    copy_answer(like, answer, question->answer);
    if (question->failure.reason == HC_OK)
        return 0;
    *err = question->failure;
    return -1;
}

struct hc_questions *hc_questions_new(struct hc_error *err)
{
    struct hc_questions *questions = calloc(1, sizeof *questions);

    if (!questions) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&questions->shared.lock, NULL);
    LIST_INIT(&questions->shared.list);
    return questions;
}

void hc_questions_free(struct hc_questions *questions)
{
    if (!questions)
        return;
    (void)pthread_mutex_destroy(&questions->shared.lock);
    free(questions);
}

int hc_questions_ask(struct hc_questions *questions,
                     const struct hc_shared_question *like, void *answer,
                     struct hc_error *err)
{
    struct question *question = join(questions, like, err);
    enum turn turn;
    int result = -1;

    memset(answer, 0, like->answer_size);
    if (!question)
        return -1;
    lock(questions);
    turn = await_turn(questions, question, like->credentials->call, err);
    unlock(questions);
    if (turn == OURS) {
        result = like->ask(like->ctx, answer, err);
        settle(questions, question, like, answer, result < 0 ? err : NULL);
    } else if (turn == SETTLED) {
        result = share(question, like, answer, err);
    }
    leave(questions, question);
    return result;
}

unsigned hc_questions_callers(struct hc_questions *questions)
{
    const struct question *question;
    unsigned callers = 0;

    lock(questions);
    LIST_FOREACH(question, &questions->shared.list, link)
    {
        callers += question->aboard;
    }
    unlock(questions);
    return callers;
}
