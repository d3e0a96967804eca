/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of options, which the command line, the configuration file, --help and
 * --check-config share: a row has the name of an option, the kind of its value and the
 * place of the value in struct hc_options. Used by the main thread alone.
 */
#ifndef HC_SERVER_OPTION_H
#define HC_SERVER_OPTION_H

#include "options.h"

enum hc_option_kind {
    HC_OPTION_FLAG,    /* bool; in the file true or false */
    HC_OPTION_TEXT,    /* char * */
    HC_OPTION_LIST,    /* struct hc_strings: repeatable */
    HC_OPTION_COUNT,   /* unsigned, 1 at least */
    HC_OPTION_SIZE,    /* uint64_t bytes: "1000", "10k", "10M", "10G", powers of 1000 */
    HC_OPTION_DURATION /* int64_t milliseconds: "500ms", "60s", "5m", "1h", seconds */
};

struct hc_option {
    const char *name;
    enum hc_option_kind kind;
    size_t offset;
    const char *value;    /* what its value is called in --help */
    const char *fallback; /* the default; NULL: the environment's or none */
    const char *choices;  /* of a text, "|" between them; NULL: any */
    bool is_flag_only;    /* not for the configuration file */
    const char *help;
};

extern const struct hc_option hc_option_table[];
extern const size_t hc_option_count;

/* NULL: no option has that name. */
const struct hc_option *hc_option_find(const char *name);

/* Checks and sets the value; a list grows. INVALID_OPTIONS names the option. */
int hc_option_set(struct hc_options *options, const struct hc_option *option,
                  const char *text, struct hc_error *err);

bool hc_option_is_equal(const struct hc_options *options, const struct hc_options *other,
                        const struct hc_option *option);

/* Empties a list that a lower layer has filled. */
void hc_option_restart(struct hc_options *options, const struct hc_option *option);
void hc_option_print(const struct hc_options *options, const struct hc_option *option,
                     FILE *out);

/* Reads `options->config`, a mapping of names to values or lists of values. */
int hc_config_load(struct hc_options *options, struct hc_error *err);

#endif
