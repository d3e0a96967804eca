/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections all transfers of a process may have open for bytes, and so how
 * much memory they need. Each transfer has one; more only while nobody waits for its
 * first. Callable from any thread.
 */
#ifndef HC_TRANSFER_BUDGET_H
#define HC_TRANSFER_BUDGET_H

#include <base/auto.h>
#include <base/call.h>
#include <base/error.h>

struct hc_budget;

struct hc_budget *hc_budget_new(unsigned connections, struct hc_error *err);
void hc_budget_free(struct hc_budget *budget);
HC_DEFINE_AUTO(hc_budget, hc_budget_free)

/* All there are, taken or not; and those that are taken. */
unsigned hc_budget_size(const struct hc_budget *budget);
unsigned hc_budget_used(struct hc_budget *budget);

/* A transfer's first connection: waits until there is one, or `call` ends. */
int hc_budget_take(struct hc_budget *budget, struct hc_call *call, struct hc_error *err);

/* One more: false when there is none, or somebody waits for the first. */
bool hc_budget_try(struct hc_budget *budget);

/* Whether somebody waits: who has more than one gives one back. */
bool hc_budget_is_short(struct hc_budget *budget);

void hc_budget_give_back(struct hc_budget *budget, unsigned count);

#endif
