/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines in any order; those that an older release did not write may be missing.
 */
#include "claim_record.h"

#include <base/file.h>
#include <base/size.h>
#include <base/text.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The value of the line "<key>=<value>". */
static bool claim_record_find_field(const char *text, const char *key, char *value,
                                    size_t size)
{
    size_t length = strlen(key);

    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0 && line[length] == '=') {
            const char *start = line + length + 1;

            return hc_format(value, size, "%.*s", (int)strcspn(start, "\n"), start) >= 0;
        }
    }
    return false;
}

static bool claim_record_find_number(const char *text, const char *key, uint64_t *number)
{
    char value[24];
    char *end;

    if (!claim_record_find_field(text, key, value, sizeof value) || value[0] < '0' ||
        value[0] > '9')
        return false;
    *number = strtoull(value, &end, 10);
    return *end == '\0';
}

static void claim_record_parse_progress(const char *text, struct hc_claim_record *record)
{
    uint64_t since_us = 0;

    if (!claim_record_find_field(text, "previous", record->previous,
                                 sizeof record->previous))
        record->previous[0] = '\0';
    if (!claim_record_find_field(text, "ranges", record->ranges, sizeof record->ranges))
        record->ranges[0] = '\0';
    if (!claim_record_find_number(text, "size", &record->size))
        record->size = 0;
    if (!claim_record_find_number(text, "bytes", &record->bytes) ||
        record->ranges[0] == '\0')
        record->bytes = 0;
    if (record->size > 0 && record->bytes > record->size)
        record->bytes = 0;
    if (claim_record_find_number(text, "since", &since_us) && since_us <= INT64_MAX)
        record->began_us = (int64_t)since_us;
}

int hc_claim_record_read(int root, const char *path, struct hc_claim_record *record)
{
    char text[HC_CLAIM_RECORD_TEXT_SIZE];
    struct stat status;
    struct hc_error unused;
    int found;

    *record = (struct hc_claim_record){0};
    found = hc_file_read_stat(root, path, text, sizeof text, &status, &unused);
    if (found != 1)
        return found;
    record->heartbeat_ms = hc_file_changed_ms(&status);
    claim_record_parse_progress(text, record);
    return claim_record_find_field(text, "host", record->owner.host,
                                   sizeof record->owner.host) &&
           claim_record_find_number(text, "pid", &record->owner.pid) &&
           claim_record_find_number(text, "start", &record->owner.start) &&
           claim_record_find_field(text, "incomplete", record->partial,
                                   sizeof record->partial);
}

int hc_claim_record_find(int root, const struct hc_blob_id *blob,
                         struct hc_claim_record *record)
{
    char path[PATH_MAX];

    if (hc_format(path, sizeof path, ".hubcache/transfers/%s/%s", blob->folder,
                  blob->etag) < 0)
        return 0;
    return hc_claim_record_read(root, path, record);
}

static int claim_record_format(const struct hc_claim_record *record,
                               char text[HC_CLAIM_RECORD_TEXT_SIZE])
{
    return hc_format(text, HC_CLAIM_RECORD_TEXT_SIZE,
                     "host=%s\npid=%" PRIu64 "\nstart=%" PRIu64
                     "\nincomplete=%s\nprevious=%s\nsince=%" PRId64 "\nsize=%" PRIu64
                     "\nbytes=%" PRIu64 "\nranges=%s\n",
                     record->owner.host, record->owner.pid, record->owner.start,
                     record->partial, record->previous, record->began_us, record->size,
                     record->bytes, record->ranges);
}

/* Cutting a file costs a network filesystem an answer: only when it must be. */
int hc_claim_record_write(struct hc_claim_record *record, int fd)
{
    char text[HC_CLAIM_RECORD_TEXT_SIZE];
    int length = claim_record_format(record, text);
    int earlier = record->text_length;

    if (length < 0 || pwrite(fd, text, (size_t)length, 0) != length)
        return -1;
    record->text_length = length;
    return length < earlier ? ftruncate(fd, length) : 0;
}

static int64_t host_now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void hc_claim_record_set_size(struct hc_claim_record *record, uint64_t size)
{
    record->size = size == HC_SIZE_UNKNOWN ? 0 : size;
}

struct hc_claim_record hc_claim_record_new(uint64_t size)
{
    struct hc_claim_record record = {.owner = hc_process_self(),
                                     .began_us = host_now_us()};

    hc_claim_record_set_size(&record, size);
    return record;
}

int64_t hc_volume_written_ms(int fd)
{
    struct stat status;

    return fd >= 0 && fstat(fd, &status) == 0 ? hc_file_time_ms(&status.st_mtim)
                                              : host_now_us() / 1000;
}

bool hc_claim_record_is_reservation(const struct hc_claim_record *record)
{
    return hc_text_starts(record->partial, "snapshot.");
}

bool hc_claim_record_owner_is_gone(const struct hc_claim_record *record)
{
    return record->owner.pid == 0 ||
           (hc_process_is_local(&record->owner) && !hc_process_is_alive(&record->owner));
}

bool hc_claim_record_is_abandoned(const struct hc_claim_record *record, int64_t now_ms)
{
    return hc_claim_record_owner_is_gone(record) ||
           (!hc_process_is_local(&record->owner) &&
            llabs(now_ms - record->heartbeat_ms) > HC_HEARTBEAT_TIMEOUT_MS);
}

bool hc_claim_record_is_worth_keeping(const struct hc_claim_record *record,
                                      int64_t now_ms)
{
    return record->bytes >= HC_PARTIAL_KEEP_BYTES &&
           llabs(now_ms - record->heartbeat_ms) <= HC_PARTIAL_KEEP_MS;
}
