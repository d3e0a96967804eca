/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table on standard output, with columns as wide as their longest cell. Cells are
 * texts from the network, escaped when they are printed. One thread uses it.
 */
#ifndef HC_COMMAND_TABLE_H
#define HC_COMMAND_TABLE_H

#include "base/auto.h"
#include "base/text.h"

enum { HC_TABLE_COLUMNS_MAX = 16 };

struct hc_table {
    /* Required: the names of the columns, NULL after the last; '>' before a name: its
     * cells stand to the right. */
    const char *const *columns;

    struct hc_strings cells; /* of all rows, one after the other */
};

void hc_table_clear(struct hc_table *table);
HC_DEFINE_AUTO_VALUE(hc_table, hc_table_clear)

/* The next cell of the row, or the first of a new one. */
int hc_table_add(struct hc_table *table, const char *cell, struct hc_error *err);

/* Prints the names of the columns, a line below them, and the rows; nothing without
 * rows. */
void hc_table_print(const struct hc_table *table);

#endif
