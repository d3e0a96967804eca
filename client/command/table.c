/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cells are kept until all are known. A width is that of the bytes, which is right
 * for names of repos, commits, sizes and times; only refs may have other characters, and
 * stand in the last column.
 */
#include "table.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct table_shape {
    size_t count; /* columns */
    size_t widths[HC_TABLE_COLUMNS_MAX];
};

int hc_table_add(struct hc_table *table, const char *cell, struct hc_error *err)
{
    return hc_strings_add(&table->cells, cell, err);
}

static bool column_is_right(const char *name)
{
    return name[0] == '>';
}

static const char *column_title(const char *name)
{
    return name + column_is_right(name);
}

static struct table_shape table_measure(const struct hc_table *table)
{
    struct table_shape shape = {0};

    for (; table->columns[shape.count]; shape.count++)
        shape.widths[shape.count] = strlen(column_title(table->columns[shape.count]));
    assert(shape.count > 0);
    for (size_t i = 0; i < table->cells.count; i++) {
        size_t width = strlen(table->cells.items[i]);

        if (shape.widths[i % shape.count] < width)
            shape.widths[i % shape.count] = width;
    }
    return shape;
}

static void fill_print(char with, size_t count)
{
    for (; count > 0; count--)
        (void)fputc(with, stdout);
}

/* No blanks after the last column. */
static void cell_print(const struct table_shape *shape, size_t column, const char *cell,
                       bool is_right)
{
    size_t length = strlen(cell);
    size_t fill = shape->widths[column] > length ? shape->widths[column] - length : 0;
    bool is_last = column + 1 == shape->count;

    fill_print(' ', is_right ? fill : 0);
    hc_text_escape(stdout, cell, "");
    fill_print(' ', is_right || is_last ? 0 : fill);
    (void)fputc(is_last ? '\n' : ' ', stdout);
}

void hc_table_print(const struct hc_table *table)
{
    struct table_shape shape = table_measure(table);

    assert(shape.count > 0);
    if (table->cells.count == 0)
        return;
    for (size_t i = 0; i < shape.count; i++)
        cell_print(&shape, i, column_title(table->columns[i]),
                   column_is_right(table->columns[i]));
    for (size_t i = 0; i < shape.count; i++) {
        fill_print('-', shape.widths[i]);
        (void)fputc(i + 1 == shape.count ? '\n' : ' ', stdout);
    }
    for (size_t i = 0; i < table->cells.count; i++)
        cell_print(&shape, i % shape.count, table->cells.items[i],
                   column_is_right(table->columns[i % shape.count]));
}

void hc_table_clear(struct hc_table *table)
{
    hc_strings_clear(&table->cells);
}
