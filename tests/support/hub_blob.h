/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of one file and the hashes that name them. Bytes are held in memory, mapped
 * from disk, or generated from a seed when they are read, so that a file of many GiB
 * takes no memory. A blob never changes; any thread may read it.
 */
#ifndef HC_SUPPORT_HUB_BLOB_H
#define HC_SUPPORT_HUB_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hub_blob {
    uint64_t size;
    unsigned char *bytes; /* NULL: generated from `seed` */
    unsigned seed;
    bool is_mapped;
    bool is_lfs;
    uint64_t pointer_size; /* LFS: size of the pointer file that git has instead */
    char git_oid[41];      /* git's blob id; for LFS that of the pointer */
    char sha256[65];       /* LFS: of the content, else "" */
    char xet_hash[65];     /* LFS: its name on the CDN, else "" */
};

/* The bytes are copied. */
struct hub_blob *hub_blob_of_bytes(const void *bytes, size_t size, bool is_lfs);
struct hub_blob *hub_blob_generated(uint64_t size, unsigned seed, bool is_lfs);

/* The file is mapped: it must not change while the blob lives. */
struct hub_blob *hub_blob_of_file(const char *path, bool is_lfs);
void hub_blob_free(struct hub_blob *blob);

/* `offset` and `count` lie within the blob. */
void hub_blob_read(const struct hub_blob *blob, uint64_t offset, void *buffer,
                   size_t count);

/* Git's blob id of a text; all 40-digit names of the hub are made with it. */
void hub_blob_name_text(const char *text, char oid[41]);

#endif
