/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HMAC-SHA256, cut to 128 bits.
 */
#include "keyed_hash.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

enum { SECRET_SIZE = 32 };

/* Drawn once and never changed: the one thing that makes keys differ between processes. */
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
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    unsigned char hash[EVP_MAX_MD_SIZE];
    struct hc_keyed_hash key = {0};
    unsigned size = 0;

    if (!text || !text[0])
        return key;
    (void)pthread_once(&once, process_secret_draw);
    if (HMAC(EVP_sha256(), process_secret, sizeof process_secret,
             (const unsigned char *)text, strlen(text), hash, &size))
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
