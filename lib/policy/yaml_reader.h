/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a YAML file of a fixed schema, event by event, as libyaml's parser gives them. A
 * mapping of the schema is a table of keys; each key reads its own value into the
 * caller's struct. Nothing is built of what the schema does not have, so the depth and
 * the size of what is built are those of the schema. Anchors, aliases, tags and further
 * documents are refused.
 *
 * Every failure is INVALID_OPTIONS with "FILE:LINE:COLUMN: " and what is wrong, except
 * that memory is short. A reader is for one thread.
 */
#ifndef HC_POLICY_YAML_READER_H
#define HC_POLICY_YAML_READER_H

#include <base/auto.h>
#include <base/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hc_yaml_reader;

/* From 1 on. */
struct hc_yaml_place {
    unsigned line, column;
};

/* Reads the value that begins at the current event into `target`, up to its last
 * event. */
typedef int hc_yaml_read(struct hc_yaml_reader *yaml, void *target, struct hc_error *err);

/* A key of a mapping. A table ends with a row without a name, and has 32 at the most. */
struct hc_yaml_key {
    const char *name;
    hc_yaml_read *read;
};

/* `text` and `name`, which stands for the file in messages, are borrowed until the reader
 * is freed. NULL: memory is short. */
struct hc_yaml_reader *hc_yaml_reader_new(const char *text, size_t size, const char *name,
                                          struct hc_error *err);
void hc_yaml_reader_free(struct hc_yaml_reader *yaml); /* NULL is fine */
HC_DEFINE_AUTO(hc_yaml_reader, hc_yaml_reader_free)

/* The file: one document, which is a mapping. */
int hc_yaml_read_document(struct hc_yaml_reader *yaml, const struct hc_yaml_key *keys,
                          size_t required, void *target, struct hc_error *err);

/* ---- values, which begin at the current event -------------------------------------- */

/* A mapping. The first `required` keys of the table have to be there; no key is there
 * twice, and none that the table does not have. */
int hc_yaml_read_mapping(struct hc_yaml_reader *yaml, const struct hc_yaml_key *keys,
                         size_t required, void *target, struct hc_error *err);

/* A mapping whose keys are names: calls `add` at each name, which reads the value as
 * well, by hc_yaml_next() and what follows. `what` describes the mapping in messages. */
int hc_yaml_read_names(struct hc_yaml_reader *yaml, const char *what, hc_yaml_read *add,
                       void *target, struct hc_error *err);

/* A list: calls `add` at each item. */
int hc_yaml_read_list(struct hc_yaml_reader *yaml, hc_yaml_read *add, void *target,
                      struct hc_error *err);

/* Scalars. A text is not empty, has 4096 bytes at the most, and no control characters;
 * the caller frees it. A size is above 0, in bytes; a duration is in milliseconds. */
int hc_yaml_read_text(const struct hc_yaml_reader *yaml, char **value,
                      struct hc_error *err);
int hc_yaml_read_bool(const struct hc_yaml_reader *yaml, bool *value,
                      struct hc_error *err);
int hc_yaml_read_size(const struct hc_yaml_reader *yaml, uint64_t *value,
                      struct hc_error *err);
int hc_yaml_read_duration(const struct hc_yaml_reader *yaml, int64_t *value,
                          struct hc_error *err);

/* The text of the current event, borrowed until the next; NULL: it is none. */
const char *hc_yaml_text(const struct hc_yaml_reader *yaml, struct hc_error *err);

/* Goes on to the next event. */
int hc_yaml_next(struct hc_yaml_reader *yaml, struct hc_error *err);

/* ---- failures ---------------------------------------------------------------------- */

/* Where the current event begins. */
struct hc_yaml_place hc_yaml_place(const struct hc_yaml_reader *yaml);

/* INVALID_OPTIONS of the field "policy", at a place or at the current event; -1. */
int hc_yaml_fail_at(const struct hc_yaml_reader *yaml, struct hc_yaml_place place,
                    struct hc_error *err, const char *format, ...) HC_PRINTF(4, 5);
#define hc_yaml_fail(yaml, err, ...)                                                     \
    hc_yaml_fail_at((yaml), hc_yaml_place(yaml), (err), __VA_ARGS__)

#endif
