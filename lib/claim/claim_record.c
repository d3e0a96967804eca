/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a claim file, as a replica of any release may have written it:
 *
 *   host=gpu-7/1f0c2a4e/f0000001   of the owner, see below
 *   pid=17                         0 when it has abandoned the claim
 *   start=88123
 *   incomplete=<etag>.0a1b2c3d.incomplete
 *   previous=                      during a takeover, the same file's earlier name
 *   since=1764370000000000         microseconds since the epoch
 *   waiting=0                      1: a reservation for which there is no room yet
 *   size=4194304                   0 while unknown
 *   bytes=2097152
 *   ranges=0-2097152
 *
 * Lines may come in any order. The first three and `incomplete` are required; the others
 * are missing from what an older release wrote.
 *
 * The host is told apart by its name, by the first digits of the id that the kernel drew
 * when it booted (two hosts of a cluster may be called "localhost"), and by the pid
 * namespace (two containers of one host may have the same name, and both a process 1).
 * None of that changes while this process lives: it is read once.
 */
#include "claim_record.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/size.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_SIZE = 4096, STAT_SIZE = 1024, FIELDS_BEFORE_START = 20, BOOT_DIGITS = 8 };

static const char claims_path[] = ".hubcache/transfers";

static pthread_once_t process_host_once = PTHREAD_ONCE_INIT;
static char process_host[HC_CLAIM_HOST_MAX + 1]; /* once known, it stays */

/*
 * Field 22 of /proc/<pid>/stat, see proc_pid_stat(5); 0 when there is no such process.
 * The second field, the command's name in parentheses, may contain spaces and parentheses
 * itself: counting begins after the last one.
 */
static uint64_t process_start_time(uint64_t pid)
{
    char path[64];
    char text[STAT_SIZE];
    HC_AUTO_CLOSE int fd = -1;
    ssize_t count;
    const char *field;

    (void)hc_format(path, sizeof path, "/proc/%" PRIu64 "/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    count = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (count <= 0)
        return 0;
    text[count] = '\0';
    field = strrchr(text, ')');
    for (int i = 0; field && i < FIELDS_BEFORE_START; i++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

static void process_find_host(void)
{
    HC_AUTO_CLOSE int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    struct stat namespace = {0};
    char name[HOST_NAME_MAX + 1] = "";
    char boot[BOOT_DIGITS + 1];
    ssize_t count = fd < 0 ? -1 : read(fd, boot, BOOT_DIGITS);

    boot[count > 0 ? count : 0] = '\0';
    if (gethostname(name, sizeof name - 1) < 0)
        name[0] = '\0';
    (void)stat("/proc/self/ns/pid", &namespace);
    (void)hc_format(process_host, sizeof process_host, "%s/%s/%" PRIx64, name, boot,
                    (uint64_t)namespace.st_ino);
}

static bool owner_is_local(const struct hc_claim_record *record)
{
    (void)pthread_once(&process_host_once, process_find_host);
    return strcmp(record->owner.host, process_host) == 0;
}

/* Only for a local one. Where /proc hides the processes of other users, kill(2) still
 * tells whether one exists, though not whether it is the same one. */
static bool owner_is_alive(const struct hc_claim_record *record)
{
    uint64_t start = process_start_time(record->owner.pid);

    if (start == 0)
        return kill((pid_t)record->owner.pid, 0) == 0 || errno == EPERM;
    return start == record->owner.start;
}

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
    uint64_t began_us = 0, waiting = 0;

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
    record->is_waiting = record_find_number(text, "waiting", &waiting) && waiting == 1;
}

int hc_claim_record_read(int root, const char *path, struct hc_claim_record *record)
{
    char text[TEXT_SIZE];
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
    char text[TEXT_SIZE];
    uint64_t size = record->size == HC_SIZE_UNKNOWN ? 0 : record->size;
    int earlier = record->text_length;
    int length =
        hc_format(text, sizeof text,
                  "host=%s\npid=%" PRIu64 "\nstart=%" PRIu64
                  "\nincomplete=%s\nprevious=%s\nsince=%" PRId64
                  "\nwaiting=%d\nsize=%" PRIu64 "\nbytes=%" PRIu64 "\nranges=%s\n",
                  record->owner.host, record->owner.pid, record->owner.start,
                  record->partial, record->previous, record->began_us, record->is_waiting,
                  size, record->bytes, record->ranges);

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
    struct hc_claim_record record = {
        .owner.pid = (uint64_t)getpid(),
        .size = size,
        .began_us = host_now_us(),
    };

    (void)pthread_once(&process_host_once, process_find_host);
    memcpy(record.owner.host, process_host, sizeof record.owner.host);
    record.owner.start = process_start_time(record.owner.pid);
    return record;
}

bool hc_claim_record_is_reservation(const struct hc_claim_record *record)
{
    return hc_text_starts(record->partial, "snapshot.");
}

bool hc_claim_record_owner_is_gone(const struct hc_claim_record *record)
{
    return record->owner.pid == 0 || (owner_is_local(record) && !owner_is_alive(record));
}

bool hc_claim_record_is_abandoned(const struct hc_claim_record *record, int64_t now_ms)
{
    return hc_claim_record_owner_is_gone(record) ||
           (!owner_is_local(record) &&
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

/* Files that cannot be read, or are malformed, are passed over: the sweep removes
 * nothing that it does not understand. So are files that are not in a repo's folder,
 * and ".nfs…", which was a claim file until it was removed while a process of this
 * host had it open. */
bool hc_claim_listing_next(struct hc_claim_listing *listing)
{
    while (hc_directory_walk_next(&listing->walk)) {
        const char *path = listing->walk.path;
        int length = (int)strcspn(path, "/");

        if (path[length] == '\0' || listing->walk.name[0] == '.' ||
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
