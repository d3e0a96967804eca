/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HMAC-SHA256, cut to 128 bits.
 */
#include "key.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

enum { SECRET_SIZE = 32 };

/* Drawn once and never changed: the one thing that makes keys differ between processes. */
static unsigned char secret[SECRET_SIZE];

static void fill_at_random(unsigned char *bytes, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t count = getrandom(bytes + done, size - done, 0);

        done += count > 0 ? (size_t)count : 0;
    }
}

static void draw_secret(void)
{
    fill_at_random(secret, sizeof secret);
}

struct hc_key hc_key_of(const char *text)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    unsigned char hash[EVP_MAX_MD_SIZE];
    struct hc_key key = {0};
    unsigned size = 0;

    if (!text || !text[0])
        return key;
    (void)pthread_once(&once, draw_secret);
    if (HMAC(EVP_sha256(), secret, sizeof secret, (const unsigned char *)text,
             strlen(text), hash, &size))
        memcpy(key.bytes, hash, sizeof key.bytes);
    else
        fill_at_random(key.bytes, sizeof key.bytes);
    return key;
}

bool hc_key_is(const struct hc_key *key, const struct hc_key *other)
{
    return memcmp(key->bytes, other->bytes, sizeof key->bytes) == 0;
}
