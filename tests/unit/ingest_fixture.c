/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest_fixture.h"

#include "blob_id.h"

#include "cache_helper.h"

#include <base/hash.h>

#include <stdlib.h>

char content_etag[HC_DIGEST_HEX_MAX + 1];

char *content;

int content_make(void **state)
{
    struct hc_error err;
    HC_AUTO(hc_digest) *digest = hc_digest_new(HC_DIGEST_SHA256, SIZE, &err);

    (void)state;
    content = malloc(SIZE);
    if (!content || !digest)
        return -1;
    for (size_t i = 0; i < SIZE; i++)
        content[i] = (char)((i * 2654435761u) >> 13);
    return hc_digest_update(digest, content, SIZE, &err) +
           hc_digest_finish(digest, content_etag, &err);
}

int content_free(void **state)
{
    (void)state;
    free(content);
    return 0;
}

struct hc_ingest *content_begin(struct fixture *f)
{
    return begin_ingest(f->cache, BLOB_OF(f, content_etag), SIZE, &f->err);
}

int content_write(struct fixture *f, struct hc_ingest *ingest, uint64_t from, uint64_t to)
{
    return hc_ingest_write(ingest, from, content + from, (size_t)(to - from), &f->err);
}

void content_finish(struct fixture *f, struct hc_ingest *ingest, uint64_t from)
{
    assert_int_equal(content_write(f, ingest, from, SIZE), 0);
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}
