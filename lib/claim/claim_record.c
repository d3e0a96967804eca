/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a claim file, as a replica of any release may have written it:
 *
 *   host=gpu-7/1f0c2a4e/f0000001   the owner (process.h)
 *   pid=17                         0 when it has abandoned the claim
 *   start=88123
 *   incomplete=<etag>.0a1b2c3d.incomplete
 *   previous=                      during a takeover, the same file's earlier name
 *   since=1764370000000000         microseconds since the epoch
 *   size=4194304                   0 while unknown
 *   bytes=2097152
 *   ranges=0-2097152
 *
 * Lines may come in any order. The first three and `incomplete` are required; the others
 * are missing from what an older release wrote.
 */
#include "claim_record.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/size.h>
#include <base/text.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char claims_path[] = ".hubcache/transfers";

/* The value of the line "<key>=<value>". */
static bool record_find_text(const char *text, const char *key, char *value, size_t size)
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

/* A number that is followed by anything, or does not begin with a digit (strtoull(3)
 * takes "-1" and " 1"), is none. */
static bool record_find_number(const char *text, const char *key, uint64_t *number)
{
    char value[24];
    char *end;

    if (!record_find_text(text, key, value, sizeof value) || value[0] < '0' ||
        value[0] > '9')
        return false;
    *number = strtoull(value, &end, 10);
    return *end == '\0';
}

/* What is missing or contradicts itself counts as nothing that has arrived. */
static void record_parse_progress(const char *text, struct hc_claim_record *record)
{
    uint64_t began_us = 0;

    if (!record_find_text(text, "previous", record->previous, sizeof record->previous))
        record->previous[0] = '\0';
    if (!record_find_text(text, "ranges", record->ranges, sizeof record->ranges))
        record->ranges[0] = '\0';
    if (!record_find_number(text, "size", &record->size))
        record->size = 0;
    if (!record_find_number(text, "bytes", &record->bytes) || record->ranges[0] == '\0')
        record->bytes = 0;
    if (record->size > 0 && record->bytes > record->size)
        record->bytes = 0;
    if (record_find_number(text, "since", &began_us) && began_us <= INT64_MAX)
        record->began_us = (int64_t)began_us;
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
    record_parse_progress(text, record);
    return record_find_text(text, "host", record->owner.host,
                            sizeof record->owner.host) &&
           record_find_number(text, "pid", &record->owner.pid) &&
           record_find_number(text, "start", &record->owner.start) &&
           record_find_text(text, "incomplete", record->partial, sizeof record->partial);
}

int hc_claim_record_find(int root, const struct hc_blob_id *blob,
                         struct hc_claim_record *record)
{
    char path[PATH_MAX];

    if (hc_format(path, sizeof path, "%s/%s/%s", claims_path, blob->folder, blob->etag) <
        0)
        return 0;
    return hc_claim_record_read(root, path, record);
}

/* The file is cut only when it was longer: each ftruncate(2) costs a network filesystem
 * an answer. */
int hc_claim_record_write(struct hc_claim_record *record, int fd)
{
    char text[HC_CLAIM_RECORD_TEXT_SIZE];
    uint64_t size = record->size == HC_SIZE_UNKNOWN ? 0 : record->size;
    int earlier = record->text_length;
    int length = hc_format(text, sizeof text,
                           "host=%s\npid=%" PRIu64 "\nstart=%" PRIu64
                           "\nincomplete=%s\nprevious=%s\nsince=%" PRId64
                           "\nsize=%" PRIu64 "\nbytes=%" PRIu64 "\nranges=%s\n",
                           record->owner.host, record->owner.pid, record->owner.start,
                           record->partial, record->previous, record->began_us, size,
                           record->bytes, record->ranges);

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

struct hc_claim_record hc_claim_record_new(uint64_t size)
{
    return (struct hc_claim_record){.owner = hc_process_self(),
                                    .size = size,
                                    .began_us = host_now_us()};
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
                                      int64_t keep_ms, int64_t now_ms)
{
    return record->bytes >= HC_PARTIAL_KEEP_BYTES &&
           llabs(now_ms - record->heartbeat_ms) <= keep_ms;
}

int64_t hc_volume_written_ms(int fd)
{
    struct stat status;

    return fd >= 0 && fstat(fd, &status) == 0 ? hc_file_time_ms(&status.st_mtim)
                                              : host_now_us() / 1000;
}

int64_t hc_volume_now_ms(const struct hc_cache *cache)
{
    int root = hc_cache_fd(cache);
    HC_AUTO_CLOSE int fd = -1;
    char private[PATH_MAX];
    struct hc_error unused;

    if (hc_cache_private_path(private, &unused) == 0 &&
        hc_file_mkparents(root, private, &unused) == 0)
        fd = hc_file_create(root, private, O_WRONLY);
    if (fd >= 0)
        (void)unlinkat(root, private, 0);
    return hc_volume_written_ms(fd);
}

struct hc_claim_listing hc_claim_listing_open(const struct hc_cache *cache)
{
    return (struct hc_claim_listing){.walk = hc_directory_walk(hc_cache_fd(cache),
                                                               claims_path, 1),
                                     .root = hc_cache_fd(cache)};
}

/* Files that cannot be read, or are malformed, are passed over: the sweep removes nothing
 * that it does not understand. So are files that are not in a repo's folder. */
bool hc_claim_listing_next(struct hc_claim_listing *listing)
{
    while (hc_directory_walk_next(&listing->walk)) {
        const char *path = listing->walk.path;
        int length = (int)strcspn(path, "/");

        if (path[length] == '\0' ||
            hc_format(listing->folder, sizeof listing->folder, "%.*s", length, path) <
                0 ||
            hc_format(listing->path, sizeof listing->path, "%s/%s", claims_path, path) <
                0)
            continue;
        listing->blob =
            (struct hc_blob_id){.folder = listing->folder, .etag = listing->walk.name};
        if (hc_claim_record_read(listing->root, listing->path, &listing->record) == 1)
            return true;
    }
    return false;
}

void hc_claim_listing_close(struct hc_claim_listing *listing)
{
    hc_directory_walk_end(&listing->walk);
}
