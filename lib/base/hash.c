/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests and keyed hashes are thin shells over OpenSSL, which uses the SHA instructions
 * of the processor: hashing keeps up with any network, so a blob is hashed while it is
 * written, and never read again for it.
 *
 * A keyed hash is HMAC-SHA256, cut to 128 bits, under a key that is the one thing by
 * which hashes of two processes differ; nothing of it is ever written anywhere.
 */
#include "hash.h"

#include "text.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

/* ---- digests ----------------------------------------------------------------------- */

struct hc_digest {
    EVP_MD_CTX *context; /* NULL for HC_DIGEST_NONE */
};

enum hc_digest_kind hc_digest_kind_of(const char *etag)
{
    if (hc_text_is_hex(etag, 40))
        return HC_DIGEST_GIT_BLOB;
    if (hc_text_is_hex(etag, 64))
        return HC_DIGEST_SHA256;
    return HC_DIGEST_NONE;
}

bool hc_digest_is_of_empty_file(const char *etag)
{
    return strcmp(etag, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391") == 0 ||
           strcmp(etag,
                  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") ==
               0;
}

static int digest_start(struct hc_digest *digest, enum hc_digest_kind kind, uint64_t size,
                        struct hc_error *err)
{
    const EVP_MD *type = kind == HC_DIGEST_SHA256 ? EVP_sha256() : EVP_sha1();
    char header[32];
    int length;

    digest->context = EVP_MD_CTX_new();
    if (!digest->context)
        return hc_fail_memory(err);
    if (!EVP_DigestInit_ex(digest->context, type, NULL))
        return hc_fail(err, HC_INTERNAL, "OpenSSL refuses to start a digest");
    if (kind != HC_DIGEST_GIT_BLOB)
        return 0;
    length = hc_format(header, sizeof header, "blob %" PRIu64, size);
    return hc_digest_update(digest, header, (size_t)length + 1, err);
}

struct hc_digest *hc_digest_new(enum hc_digest_kind kind, uint64_t size,
                                struct hc_error *err)
{
    HC_AUTO(hc_digest) *digest = calloc(1, sizeof *digest);

    if (!digest) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    if (kind != HC_DIGEST_NONE && digest_start(digest, kind, size, err) < 0)
        return NULL;
    return hc_take(&digest);
}

void hc_digest_free(struct hc_digest *digest)
{
    if (!digest)
        return;
    EVP_MD_CTX_free(digest->context);
    free(digest);
}

int hc_digest_update(struct hc_digest *digest, const void *bytes, size_t count,
                     struct hc_error *err)
{
    if (digest->context && !EVP_DigestUpdate(digest->context, bytes, count))
        return hc_fail(err, HC_INTERNAL, "OpenSSL refuses to hash");
    return 0;
}

int hc_digest_finish(struct hc_digest *digest, char hex[HC_DIGEST_HEX_MAX + 1],
                     struct hc_error *err)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned count = 0;

    if (digest->context && !EVP_DigestFinal_ex(digest->context, bytes, &count))
        return hc_fail(err, HC_INTERNAL, "OpenSSL refuses to finish a digest");
    for (size_t i = 0; i < count; i++) {
        hex[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    hex[2 * (size_t)count] = '\0';
    return 0;
}

/* ---- keyed hashes ------------------------------------------------------------------ */

enum { SECRET_SIZE = 32 };

/* Drawn before the first hash, and never changed. */
static unsigned char process_secret[SECRET_SIZE];

static void random_fill(unsigned char *bytes, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t count = getrandom(bytes + done, size - done, 0);

        done += count > 0 ? (size_t)count : 0;
    }
}

static void process_secret_draw(void)
{
    random_fill(process_secret, sizeof process_secret);
}

struct hc_keyed_hash hc_keyed_hash_of(const char *text)
{
    return hc_keyed_hash_of_bytes(text, text ? strlen(text) : 0);
}

struct hc_keyed_hash hc_keyed_hash_of_bytes(const void *bytes, size_t size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    unsigned char hash[EVP_MAX_MD_SIZE];
    struct hc_keyed_hash key = {0};
    unsigned hash_size = 0;

    if (size == 0)
        return key;
    (void)pthread_once(&once, process_secret_draw);
    if (HMAC(EVP_sha256(), process_secret, sizeof process_secret, bytes, size, hash,
             &hash_size))
        memcpy(key.bytes, hash, sizeof key.bytes);
    else
        random_fill(key.bytes, sizeof key.bytes);
    return key;
}

bool hc_keyed_hash_equals(const struct hc_keyed_hash *key,
                          const struct hc_keyed_hash *other)
{
    return memcmp(key->bytes, other->bytes, sizeof key->bytes) == 0;
}

/* ---- hashes of tables -------------------------------------------------------------- */

uint64_t hc_hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return hash;
}
