/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a decision of the policy costs: a file with RULES rules, of which the last one
 * matches, is read, and asked about REPOS repos, each for the first time and again.
 *
 *     bench_policy
 *
 * Prints for each kind of rule its name, the milliseconds that reading took, and the
 * microseconds of a first and of a later decision about a repo and a file.
 */
#include <policy/decision.h>
#include <policy/rules_file.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RULES = 1000, REPOS = 1000, ROUNDS = 50, SIZE = 256 * RULES };

static double clock_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* others may run, too */
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void decide(struct hc_rules *rules, int number)
{
    static const struct hc_identity pod = {
        .kind = "jwt",
        .name = "system:serviceaccount:team-999:trainer",
    };
    char id[64];
    const struct hc_policy_question question = {.identity = &pod,
                                                .type = HC_REPO_MODEL,
                                                .repo_id = id,
                                                .revision = "main"};
    HC_AUTO_VALUE(hc_decision) decision = {0};
    struct hc_error err;

    (void)snprintf(id, sizeof id, "last/name-%d", number);
    if (hc_decision_make(&decision, hc_rules_hold(rules), &question, &err) < 0 ||
        !hc_decision_verdict(&decision, "model.safetensors", 1).is_allowed)
        exit(1); /* NOLINT(concurrency-mt-unsafe): there is one thread */
}

/* Each rule has its number between `before` and `after`. */
static void measure(const char *name, const char *before, const char *after)
{
    char *text = malloc(SIZE);
    HC_AUTO(hc_rules) *rules = NULL;
    struct hc_error err = {.message = ""};
    double began = 0, read_us, first_us;
    int used = text ? snprintf(text, SIZE, "version: 1\nrules:\n") : 0;

    for (int i = 0; text && i < RULES; i++)
        used += snprintf(text + used, (size_t)(SIZE - used), "- {name: r%d, %s%d%s}\n", i,
                         before, i, after);
    began = clock_us();
    rules = text ? hc_rules_parse(text, (size_t)used, name, &err) : NULL;
    read_us = clock_us() - began;
    free(text);
    if (!rules) {
        (void)fprintf(stderr, "bench_policy: %s\n", err.message);
        exit(1); /* NOLINT(concurrency-mt-unsafe) */
    }
    began = clock_us();
    for (int i = 0; i < REPOS; i++)
        decide(rules, i);
    first_us = clock_us() - began;
    began = clock_us();
    for (int i = 0; i < ROUNDS * REPOS; i++)
        decide(rules, i % REPOS);
    (void)printf("%-10s %6.1f ms  %6.2f us  %6.2f us\n", name, read_us / 1000,
                 first_us / REPOS, (clock_us() - began) / (ROUNDS * REPOS));
}

int main(void)
{
    measure("repos", "repos: ['org-", "/*'], action: deny");
    measure("callers", "callers: ['system:serviceaccount:team-",
            ":*'], repos: ['last/*'], action: allow");
    measure("groups", "callers: ['group:g", "'], action: deny");
    measure("files", "repos: ['last/*'], files: ['*.", "'], action: deny");
    return 0;
}
