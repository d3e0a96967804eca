/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every blob is hashed once, when it is made, in chunks.
 */
#include "hub_blob.h"

#include "base/auto.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "hub_abort.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { HASH_CHUNK = 64 * 1024 };

/* The finalizer of splitmix64: neighbouring numbers give unrelated words. */
static uint64_t splitmix_finalize(uint64_t number)
{
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

static void generate_bytes(unsigned seed, uint64_t offset, unsigned char *buffer,
                           size_t count)
{
    const uint64_t base = splitmix_finalize(seed + UINT64_C(0x9e3779b97f4a7c15));
    size_t done = 0;

    while (done < count) {
        uint64_t word = splitmix_finalize(base + offset / 8);
        size_t from = offset % 8;
        size_t take = 8 - from < count - done ? 8 - from : count - done;

        memcpy(buffer + done, (const unsigned char *)&word + from, take);
        done += take;
        offset += take;
    }
}

static void blob_hash(const struct hub_blob *blob, enum hc_digest_kind kind,
                      char hex[HC_DIGEST_HEX_MAX + 1])
{
    struct hc_error err = {0};
    HC_AUTO(hc_digest) *digest = hc_digest_new(kind, blob->size, &err);
    unsigned char chunk[HASH_CHUNK];
    uint64_t left = blob->size;

    while (digest && left > 0) {
        size_t count = left < sizeof chunk ? (size_t)left : sizeof chunk;

        hub_blob_read(blob, blob->size - left, chunk, count);
        if (hc_digest_update(digest, chunk, count, &err) < 0)
            hub_abort("hash", err.message);
        left -= count;
    }
    if (!digest || hc_digest_finish(digest, hex, &err) < 0)
        hub_abort("hash", err.message);
}

static void text_hash(const char *text, enum hc_digest_kind kind,
                      char hex[HC_DIGEST_HEX_MAX + 1])
{
    HC_AUTO_FREE char *copy = hub_strdup(text);
    struct hub_blob blob = {.size = strlen(text), .bytes = (unsigned char *)copy};

    blob_hash(&blob, kind, hex);
}

/* Git has a pointer in place of an LFS file; the CDN has a name of its own for it. */
static void blob_name_lfs(struct hub_blob *blob)
{
    HC_AUTO_FREE char *pointer = NULL;
    HC_AUTO_FREE char *xet = NULL;

    blob_hash(blob, HC_DIGEST_SHA256, blob->sha256);
    pointer = hub_format("version https://git-lfs.github.com/spec/v1\n"
                         "oid sha256:%s\nsize %" PRIu64 "\n",
                         blob->sha256, blob->size);
    blob->pointer_size = strlen(pointer);
    hub_blob_name_text(pointer, blob->git_oid);
    xet = hub_format("xet %s", blob->sha256);
    text_hash(xet, HC_DIGEST_SHA256, blob->xet_hash);
}

static void blob_name_git(struct hub_blob *blob)
{
    char hex[HC_DIGEST_HEX_MAX + 1];

    blob_hash(blob, HC_DIGEST_GIT_BLOB, hex);
    memcpy(blob->git_oid, hex, sizeof blob->git_oid);
}

static struct hub_blob *blob_new(struct hub_blob start)
{
    struct hub_blob *blob = hub_require(malloc(sizeof *blob));

    *blob = start;
    if (blob->is_lfs)
        blob_name_lfs(blob);
    else
        blob_name_git(blob);
    return blob;
}

struct hub_blob *hub_blob_of_bytes(const void *bytes, size_t size, bool is_lfs)
{
    unsigned char *copy = hub_require(malloc(size + 1));

    if (size > 0)
        memcpy(copy, bytes, size);
    return blob_new((struct hub_blob){.size = size, .bytes = copy, .is_lfs = is_lfs});
}

struct hub_blob *hub_blob_generated(uint64_t size, unsigned seed, bool is_lfs)
{
    return blob_new((struct hub_blob){.size = size, .seed = seed, .is_lfs = is_lfs});
}

struct hub_blob *hub_blob_of_file(const char *path, bool is_lfs)
{
    HC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info = {0};
    void *bytes;

    if (fd < 0 || fstat(fd, &info) < 0)
        hub_abort(path, strerrordesc_np(errno));
    if (info.st_size == 0)
        return hub_blob_of_bytes("", 0, is_lfs);
    bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        hub_abort(path, strerrordesc_np(errno));
    return blob_new((struct hub_blob){.size = (uint64_t)info.st_size,
                                      .bytes = bytes,
                                      .is_mapped = true,
                                      .is_lfs = is_lfs});
}

void hub_blob_free(struct hub_blob *blob)
{
    if (!blob)
        return;
    if (blob->is_mapped)
        (void)munmap(blob->bytes, (size_t)blob->size);
    else
        free(blob->bytes);
    free(blob);
}

void hub_blob_read(const struct hub_blob *blob, uint64_t offset, void *buffer,
                   size_t count)
{
    if (!blob->bytes)
        generate_bytes(blob->seed, offset, buffer, count);
    else if (count > 0)
        memcpy(buffer, blob->bytes + offset, count);
}

void hub_blob_name_text(const char *text, char oid[41])
{
    char hex[HC_DIGEST_HEX_MAX + 1];

    text_hash(text, HC_DIGEST_GIT_BLOB, hex);
    memcpy(oid, hex, 41);
}
