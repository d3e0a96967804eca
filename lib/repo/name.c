/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name is quoted in an error message only when it is UTF-8 without control characters:
 * messages reach logs and terminals, where other bytes could forge a line. So the checks
 * for that come before those that quote.
 */
#include "name.h"

#include <base/error.h>
#include <base/hash.h>
#include <base/size.h>
#include <base/text.h>

#include <string.h>

enum { UNIQUE_ETAG_PREFIX_MAX = HC_ETAG_MAX - HC_DIGEST_HEX_MAX - 1 };

static const char etag_characters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

/* Capitals are no commit but a revision, as in the reference client (§2.1 step 4). */
bool hc_commit_is_valid(const char *text)
{
    return hc_text_is_hex(text, HC_COMMIT_SIZE - 1);
}

/* Whether the first `length` bytes of `text` are `word`. */
static bool text_span_is(const char *text, size_t length, const char *word)
{
    return length == strlen(word) && memcmp(text, word, length) == 0;
}

/* What is wrong with one component of a revision; NULL: nothing. */
static const char *revision_component_fault(const char *component, size_t length)
{
    if (length == 0)
        return "it starts or ends with '/' or has two in a row";
    if (text_span_is(component, length, ".") || text_span_is(component, length, ".."))
        return "it has a '.' or '..' between slashes";
    if (length > HC_COMPONENT_MAX)
        return "it has more than 255 bytes between two slashes";
    return NULL;
}

/* A revision becomes the path of its ref below refs/. */
static const char *revision_fault(const char *revision)
{
    const char *component = revision;
    const char *fault = NULL;

    while (!fault) {
        size_t length = strcspn(component, "/");

        fault = revision_component_fault(component, length);
        if (component[length] == '\0')
            break;
        component += length + 1;
    }
    return fault;
}

int hc_revision_check(const char *revision, struct hc_error *err)
{
    const char *fault;

    if (revision[0] == '\0' || strnlen(revision, HC_REVISION_MAX + 1) > HC_REVISION_MAX)
        return hc_fail_field(err, HC_INVALID_REVISION, "revision",
                             "a revision has 1 to %d bytes", HC_REVISION_MAX);
    if (!hc_text_is_utf8(revision) || !hc_text_is_printable(revision))
        return hc_fail_field(err, HC_INVALID_REVISION, "revision",
                             "a revision is UTF-8 without control characters");
    fault = revision_fault(revision);
    if (fault)
        return hc_fail_field(err, HC_INVALID_REVISION, "revision", "revision '%s': %s",
                             revision, fault);
    return 0;
}

/* A ".." between slashes or backslashes: a Windows client of the volume would leave the
 * snapshot by the second. */
static bool component_climbs(const char *component, size_t length)
{
    size_t start = 0;

    for (size_t i = 0; i <= length; i++) {
        if (i < length && component[i] != '\\')
            continue;
        if (text_span_is(component + start, i - start, ".."))
            return true;
        start = i + 1;
    }
    return false;
}

/* "C:x", "\\server\x", "\x": on Windows they lead elsewhere, so that the reference client
 * refuses them on all systems (§1.8). A drive may be any character, not only a letter. */
static bool component_is_windows_absolute(const char *component, size_t length)
{
    size_t first = length > 0 ? hc_text_utf8_length(component) : 0;

    return length > 0 &&
           (component[0] == '\\' || (first < length && component[first] == ':'));
}

/* What is wrong with one component of a file name; NULL: nothing. */
static const char *filename_component_fault(const char *component, size_t length)
{
    if (component_climbs(component, length))
        return "it has a '..' segment";
    if (component_is_windows_absolute(component, length))
        return "it has a Windows drive or root in a segment";
    if (length > HC_COMPONENT_MAX)
        return "it has more than 255 bytes between two slashes";
    return NULL;
}

/* Appends the components of `part` to `path`, which is long enough. NULL: done. */
static const char *filename_append_part(const char *part, char *path)
{
    size_t used = strlen(path);
    const char *fault = NULL;

    for (const char *component = part; !fault; component++) {
        size_t length = strcspn(component, "/");

        fault = filename_component_fault(component, length);
        if (!fault && length > 0 && !text_span_is(component, length, ".")) {
            if (used > 0)
                path[used++] = '/';
            memcpy(path + used, component, length);
            used += length;
            path[used] = '\0';
        }
        component += length;
        if (*component == '\0')
            break;
    }
    return fault;
}

/* The lengths are checked before a byte is copied; `path` has twice the room of one
 * part. */
static int filename_join_part(const char *field, const char *part, char *path,
                              struct hc_error *err)
{
    const char *fault;

    if (strnlen(part, HC_FILENAME_MAX + 1) + strlen(path) > HC_FILENAME_MAX)
        return hc_fail_field(err, HC_INVALID_FILENAME, field,
                             "a file name has at most %d bytes", HC_FILENAME_MAX);
    if (!hc_text_is_utf8(part) || !hc_text_is_printable(part))
        return hc_fail_field(err, HC_INVALID_FILENAME, field,
                             "a file name is UTF-8 without control characters");
    fault = part[0] == '/' ? "it is absolute" : filename_append_part(part, path);
    if (fault)
        return hc_fail_field(err, HC_INVALID_FILENAME, field, "file name '%s': %s", part,
                             fault);
    return 0;
}

/* The subfolder alone may end in "/"; a file name that does would name a directory. */
int hc_filename_join(const char *subfolder, const char *filename,
                     char path[HC_FILENAME_MAX + 1], struct hc_error *err)
{
    char joined[2 * HC_FILENAME_MAX + 2] = "";
    size_t subfolder_length;

    if (subfolder && filename_join_part("subfolder", subfolder, joined, err) < 0)
        return -1;
    subfolder_length = strlen(joined);
    if (filename_join_part("filename", filename, joined, err) < 0)
        return -1;
    /* "." and "" add nothing to the subfolder. */
    if (strlen(joined) == subfolder_length || hc_text_ends(filename, "/"))
        return hc_fail_field(err, HC_INVALID_FILENAME, "filename",
                             "file name '%s': it names no file", filename);
    if (hc_format(path, HC_FILENAME_MAX + 1, "%s", joined) < 0)
        return hc_fail_field(err, HC_INVALID_FILENAME, "filename",
                             "a file name has at most %d bytes", HC_FILENAME_MAX);
    return 0;
}

/* One that would be changed by joining ("a//b", "./a") is not safe: two names of a
 * listing must not become the path of one file. */
bool hc_filename_is_safe(const char *path)
{
    char joined[HC_FILENAME_MAX + 1];
    struct hc_error unused;

    return hc_filename_join(NULL, path, joined, &unused) == 0 &&
           strcmp(joined, path) == 0;
}

bool hc_xet_hash_is_valid(const char *text)
{
    return strspn(text, "0123456789abcdefABCDEF") == 64 && text[64] == '\0';
}

/* A name that ends in ".incomplete" would be taken for a partial file, by this cache
 * and by the reference client's prune (§1.5). */
bool hc_etag_is_valid(const char *etag)
{
    size_t length = strspn(etag, etag_characters);

    return etag[length] == '\0' && length > 0 && length <= HC_ETAG_MAX &&
           strcmp(etag, ".") != 0 && strcmp(etag, "..") != 0 &&
           !hc_text_ends(etag, ".incomplete");
}

/* The reference client strips characters, not the prefix W/: `Wabc` becomes `abc`
 * (§1.2). */
bool hc_etag_parse(const char *header, char etag[HC_ETAG_MAX + 1])
{
    const char *start = header + strspn(header, "W/");
    size_t length;

    start += strspn(start, "\"");
    length = strlen(start);
    while (length > 0 && start[length - 1] == '"')
        length--;
    if (length > HC_ETAG_MAX)
        return false;
    memcpy(etag, start, length);
    etag[length] = '\0';
    return hc_etag_is_valid(etag);
}

/* The NUL at the end of each part is hashed too, or "ab" + "c" would equal "a" + "bc". */
int hc_etag_make_unique(char etag[HC_ETAG_MAX + 1], const char *commit, const char *path,
                        struct hc_error *err)
{
    const char *const parts[] = {commit, path, etag};
    char hex[HC_DIGEST_HEX_MAX + 1], unique[HC_ETAG_MAX + 1];
    HC_AUTO(hc_digest) *digest = NULL;

    if (hc_digest_kind_of(etag) != HC_DIGEST_NONE)
        return 0;
    digest = hc_digest_new(HC_DIGEST_SHA256, 0, err);
    if (!digest)
        return -1;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (hc_digest_update(digest, parts[i], strlen(parts[i]) + 1, err) < 0)
            return -1;
    }
    if (hc_digest_finish(digest, hex, err) < 0)
        return -1;
    (void)hc_format(unique, sizeof unique, "%.*s-%s", UNIQUE_ETAG_PREFIX_MAX, etag, hex);
    memcpy(etag, unique, sizeof unique);
    return 0;
}

uint64_t hc_blob_size_from_head(const char *etag, uint64_t reported)
{
    if (hc_digest_is_of_empty_file(etag))
        return reported == HC_SIZE_UNKNOWN ? 0 : reported;
    return reported == 0 ? HC_SIZE_UNKNOWN : reported;
}
