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
#include "succession.h"

#include "partial.h"

#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEX = 8, OLD_MS = 4000 };

/* What makes no sense is nobody's who could come back, and has no file. */
void hc_succession_look(struct hc_succession *succession, int64_t now_ms)
{
    struct hc_claim_record *earlier = &succession->earlier;
    int root = succession->root;
    int found = hc_claim_record_read(root, succession->path, earlier);
    struct stat status;

    succession->standing = HC_STANDING_GONE;
    memcpy(succession->claimed, earlier->partial, sizeof succession->claimed);
    if (found < 0) {
        succession->standing = HC_STANDING_UNKNOWN;
    } else if (found == 0 || !hc_partial_is_of(earlier->partial, succession->etag)) {
        succession->claimed[0] = earlier->partial[0] = '\0';
        if (fstatat(root, succession->path, &status, AT_SYMLINK_NOFOLLOW) < 0)
            succession->standing = HC_STANDING_NOBODY;
    } else if (!hc_claim_record_is_abandoned(earlier, now_ms)) {
        succession->standing = HC_STANDING_ALIVE;
    } else if (hc_partial_is_of(earlier->previous, succession->etag) &&
               !hc_partial_exists(root, succession->folder, earlier->partial)) {
        memcpy(earlier->partial, earlier->previous, sizeof earlier->partial);
    }
}

bool hc_succession_tomb(char tomb[PATH_MAX], const char *path, const char *incomplete)
{
    const char *dot = strrchr(incomplete, '.');

    return dot && dot - incomplete >= HEX &&
           hc_format(tomb, PATH_MAX, "%s.%.*s", path, HEX, dot - HEX) > 0;
}

/* Since the link was made, its file has not changed: its owner does not write any more. */
static bool is_old(int root, const char *tomb, int64_t now_ms)
{
    struct stat status;

    return fstatat(root, tomb, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           now_ms - hc_file_time_ms(&status.st_ctim) >= OLD_MS;
}

/* Another claim may have come into the place since we looked. */
static bool is_the_one(const struct hc_succession *succession, const char *tomb)
{
    struct hc_claim_record buried;

    return hc_claim_record_read(succession->root, tomb, &buried) == 1 &&
           hc_partial_is_of(buried.partial, succession->etag) &&
           strcmp(buried.partial, succession->claimed) == 0;
}

bool hc_succession_enter(const struct hc_succession *succession, int64_t now_ms)
{
    int root = succession->root;
    const char *path = succession->path;
    char tomb[PATH_MAX];
    int linked;

    if (!hc_succession_tomb(tomb, path, succession->claimed))
        return true; /* of no file: there is nothing to win */
    linked = linkat(root, path, root, tomb, 0);
    if (linked < 0 && errno == EEXIST && is_old(root, tomb, now_ms)) {
        (void)unlinkat(root, tomb, 0);
        linked = linkat(root, path, root, tomb, 0);
    }
    if (linked < 0)
        return errno != EEXIST && errno != ENOENT; /* a volume without links */
    if (is_the_one(succession, tomb))
        return true;
    (void)unlinkat(root, tomb, 0);
    return false;
}

bool hc_succession_take(const struct hc_succession *succession, const char *ours,
                        struct hc_cancellation *call)
{
    const char *theirs = succession->earlier.partial;
    int root = succession->root;

    return succession->standing == HC_STANDING_GONE &&
                   hc_partial_belongs_to(root, succession->folder, theirs,
                                         succession->uid)
               ? hc_partial_rename(root, succession->folder, theirs, ours)
               : hc_partial_copy(root, succession->folder, theirs, ours, call);
}

void hc_succession_finish(const struct hc_succession *succession)
{
    const char *theirs = succession->earlier.partial;
    char tomb[PATH_MAX];

    if (succession->standing != HC_STANDING_GONE || !theirs[0])
        return;
    (void)hc_partial_remove(succession->root, succession->folder, theirs);
    if (hc_succession_tomb(tomb, succession->path, succession->claimed))
        (void)unlinkat(succession->root, tomb, 0);
}
