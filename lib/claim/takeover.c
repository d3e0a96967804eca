/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever would follow a claim gives it a second name by link(2), its tomb: of many one
 * can. Then his own claim, which names both files, is renamed over the first name, and
 * only then the file is taken: a crash in between loses nothing. The tomb of who is gone
 * goes with him. That of who may come back stays his record, and he removes it.
 *
 * A tomb beside a claim that is still in its place is that of one who is just about to
 * follow, or died of it: then it is old.
 */
#include "takeover.h"

#include "partial.h"

#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEX_DIGITS = 8, CRASHED_AFTER_MS = 4000 };

/* What makes no sense is nobody's who could come back, and has no file. */
void hc_takeover_inspect(struct hc_takeover *takeover, int64_t now_ms)
{
    struct hc_claim_record *earlier = &takeover->earlier;
    int root = takeover->root;
    int found = hc_claim_record_read(root, takeover->path, earlier);
    struct stat status;

    takeover->state = HC_CLAIM_ABANDONED;
    memcpy(takeover->partial, earlier->partial, sizeof takeover->partial);
    if (found < 0) {
        takeover->state = HC_CLAIM_UNREADABLE;
    } else if (found == 0 || !hc_partial_is_of(earlier->partial, takeover->blob->etag)) {
        takeover->partial[0] = earlier->partial[0] = '\0';
        if (fstatat(root, takeover->path, &status, AT_SYMLINK_NOFOLLOW) < 0)
            takeover->state = HC_CLAIM_FREE;
    } else if (!hc_claim_record_is_abandoned(earlier, now_ms)) {
        takeover->state = HC_CLAIM_HELD;
    } else if (hc_partial_is_of(earlier->previous, takeover->blob->etag) &&
               !hc_partial_exists(root, takeover->blob->folder, earlier->partial)) {
        memcpy(earlier->partial, earlier->previous, sizeof earlier->partial);
    }
}

bool hc_superseded_claim_path(char superseded[PATH_MAX], const char *path,
                              const char *incomplete)
{
    const char *dot = strrchr(incomplete, '.');

    return dot && dot - incomplete >= HEX_DIGITS &&
           hc_format(superseded, PATH_MAX, "%s.%.*s", path, HEX_DIGITS,
                     dot - HEX_DIGITS) > 0;
}

/* Since the link was made, its file has not changed: its owner does not write any more. */
static bool superseded_is_old(int root, const char *superseded, int64_t now_ms)
{
    struct stat status;

    return fstatat(root, superseded, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           now_ms - hc_file_time_ms(&status.st_ctim) >= CRASHED_AFTER_MS;
}

/* Another claim may have come into the place since we looked. */
static bool superseded_is_inspected_one(const struct hc_takeover *takeover,
                                        const char *superseded)
{
    struct hc_claim_record record;

    return hc_claim_record_read(takeover->root, superseded, &record) == 1 &&
           hc_partial_is_of(record.partial, takeover->blob->etag) &&
           strcmp(record.partial, takeover->partial) == 0;
}

bool hc_takeover_begin(const struct hc_takeover *takeover, int64_t now_ms)
{
    int root = takeover->root;
    const char *path = takeover->path;
    char superseded[PATH_MAX];
    int linked;

    if (!hc_superseded_claim_path(superseded, path, takeover->partial))
        return true; /* of no file: there is nothing to win */
    linked = linkat(root, path, root, superseded, 0);
    if (linked < 0 && errno == EEXIST && superseded_is_old(root, superseded, now_ms)) {
        (void)unlinkat(root, superseded, 0);
        linked = linkat(root, path, root, superseded, 0);
    }
    if (linked < 0)
        return errno != EEXIST && errno != ENOENT; /* a volume without links */
    if (superseded_is_inspected_one(takeover, superseded))
        return true;
    (void)unlinkat(root, superseded, 0);
    return false;
}

bool hc_takeover_adopt_partial(const struct hc_takeover *takeover, const char *name,
                               struct hc_cancellation *cancellation)
{
    const char *partial = takeover->earlier.partial;
    int root = takeover->root;

    return takeover->state == HC_CLAIM_ABANDONED &&
                   hc_partial_belongs_to(root, takeover->blob->folder, partial,
                                         takeover->uid)
               ? hc_partial_rename(root, takeover->blob->folder, partial, name)
               : hc_partial_copy(root, takeover->blob->folder, partial, name,
                                 cancellation);
}

void hc_takeover_remove_earlier(const struct hc_takeover *takeover)
{
    const char *partial = takeover->earlier.partial;
    char superseded[PATH_MAX];

    if (takeover->state != HC_CLAIM_ABANDONED || !partial[0])
        return;
    (void)hc_partial_remove(takeover->root, takeover->blob->folder, partial);
    if (hc_superseded_claim_path(superseded, takeover->path, takeover->partial))
        (void)unlinkat(takeover->root, superseded, 0);
}
