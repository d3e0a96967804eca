/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a caller's Hub token is read from the header x-hub-token, without the
 * white space around it; one that cannot be a token is refused by the header's name; the
 * arena wipes the token when the request ends. The caller's identity is "authorization",
 * else the token, else the address. The headers come from this test, not from gRPC.
 */
#include <test.h>

#include <base/hash.h>
#include <hubcache/error.h>
#include <server/request.h>
#include <server/rpc.h>

#include <string.h>

enum { TOKEN_MAX = 4096 };

/* The headers of the one call of a test; NULL: the call has none of that name. */
static const char *token_header, *authorization_header;
static unsigned peers_read;

bool __wrap_hc_rpc_call_header(const struct hc_rpc_call *call, const char *name,
                               const char **value, size_t *size);
void __wrap_hc_rpc_call_peer(const struct hc_rpc_call *call,
                             char address[HC_RPC_PEER_MAX]);

bool __wrap_hc_rpc_call_header(const struct hc_rpc_call *call, const char *name,
                               const char **value, size_t *size)
{
    const char *text =
        strcmp(name, "x-hub-token") == 0 ? token_header : authorization_header;

    assert_null(call);
    if (!text)
        return false;
    *value = text;
    *size = strlen(text);
    return true;
}

void __wrap_hc_rpc_call_peer(const struct hc_rpc_call *call,
                             char address[HC_RPC_PEER_MAX])
{
    assert_null(call);
    peers_read++;
    (void)memcpy(address, "192.0.2.1", sizeof "192.0.2.1");
}

struct fixture {
    struct hc_arena arena;
    struct hc_request request;
    struct hc_error err;
};

static int request_set_up(void **state)
{
    static struct fixture f;

    hc_arena_init(&f.arena);
    hc_request_init(&f.request, 7, 0, &f.arena);
    token_header = authorization_header = NULL;
    peers_read = 0;
    *state = &f;
    return 0;
}

static int request_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_arena_reset(&f->arena);
    return 0;
}

static int read_token(struct fixture *f, const char *header)
{
    token_header = header;
    return hc_request_read_token(&f->request, NULL, &f->err);
}

/* A refused token is not kept, and the failure names the header. */
static void assert_token_is_refused(struct fixture *f, const char *header)
{
    assert_int_equal(read_token(f, header), -1);
    assert_int_equal(f->err.reason, HC_INVALID_OPTIONS);
    assert_string_equal(f->err.field, "x-hub-token");
    assert_string_equal(f->request.hub_token, "");
}

static uint64_t hash_of(const char *text)
{
    return hc_hash_bytes(HC_HASH_START, text, strlen(text));
}

static void a_call_without_the_header_has_no_token(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(read_token(f, NULL), 0);
    assert_string_equal(f->request.hub_token, "");
}

static void white_space_around_a_token_is_left_out(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(read_token(f, "\t hf_secret \r\n"), 0);
    assert_string_equal(f->request.hub_token, "hf_secret");
}

static void a_header_of_white_space_is_no_token(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(read_token(f, " \n\t"), 0);
    assert_string_equal(f->request.hub_token, "");
    hc_request_identify(&f->request, NULL);
    assert_true(f->request.caller == 0);
}

static void a_token_has_4096_bytes_at_most(void **state)
{
    struct fixture *f = *state;
    char header[TOKEN_MAX + 2];

    memset(header, 'x', TOKEN_MAX + 1);
    header[TOKEN_MAX + 1] = '\0';
    assert_token_is_refused(f, header);

    header[TOKEN_MAX] = '\0';
    assert_int_equal(read_token(f, header), 0);
    assert_int_equal(strlen(f->request.hub_token), TOKEN_MAX);
}

static void a_token_with_a_space_or_an_unprintable_byte_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_token_is_refused(f, "hf_ secret");
    assert_token_is_refused(f, "hf_\x01secret");
    assert_token_is_refused(f, "hf_\x7fsecret");
    assert_token_is_refused(f, "hf_\xc3\xa9");
}

static void the_identity_is_authorization_before_the_token(void **state)
{
    struct fixture *f = *state;

    authorization_header = "Bearer someone";
    assert_int_equal(read_token(f, "hf_secret"), 0);
    hc_request_identify(&f->request, NULL);
    assert_true(f->request.caller == hash_of("Bearer someone"));
}

static void the_identity_is_the_token_without_authorization(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(read_token(f, " hf_secret"), 0);
    hc_request_identify(&f->request, NULL);
    assert_true(f->request.caller == hash_of("hf_secret"));

    hc_request_identify_by_address(&f->request, NULL);
    assert_true(f->request.caller == hash_of("hf_secret"));
    assert_int_equal(peers_read, 0);
}

static void the_address_identifies_a_call_that_names_no_identity(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(read_token(f, NULL), 0);
    hc_request_identify(&f->request, NULL);
    assert_true(f->request.caller == 0);

    hc_request_identify_by_address(&f->request, NULL);
    assert_true(f->request.caller == hash_of("192.0.2.1"));
}

/* The arena's own room is looked at after the reset, which frees no part of it. */
static void the_token_is_wiped_when_the_request_ends(void **state)
{
    struct fixture *f = *state;
    const char *kept;

    assert_int_equal(read_token(f, "hf_secret"), 0);
    kept = f->request.hub_token;
    assert_true((const uint8_t *)kept >= f->arena.room &&
                (const uint8_t *)kept < f->arena.room + sizeof f->arena.room);
    hc_arena_reset(&f->arena);

    for (size_t i = 0; i < sizeof "hf_secret"; i++)
        assert_int_equal(kept[i], 0);
    assert_null(memmem(f->arena.room, sizeof f->arena.room, "secret", strlen("secret")));
}

/* At, below and above the room for a name, which is cut for the log. */
static void a_long_repo_or_revision_is_cut(void **state)
{
    static const size_t rooms[] = {HC_REQUEST_REPO_SIZE - 1,
                                   HC_REQUEST_REVISION_SIZE - 1};
    struct fixture *f = *state;
    char name[HC_REQUEST_REPO_SIZE + 2];

    for (size_t i = 0; i < 2; i++) {
        for (size_t length = rooms[i] - 1; length <= rooms[i] + 1; length++) {
            const struct hc_target target = {.id = name, .revision = name};
            const char *cut =
                i == 0 ? f->request.subject.repo_id : f->request.subject.revision;

            memset(name, 'x', length);
            name[length] = '\0';
            hc_request_set_target(&f->request, &target, NULL);
            assert_int_equal(strlen(cut), length < rooms[i] ? length : rooms[i]);
            assert_memory_equal(cut, name, strlen(cut));
        }
    }
}

int main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, request_set_up, request_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_call_without_the_header_has_no_token),
        TEST(white_space_around_a_token_is_left_out),
        TEST(a_header_of_white_space_is_no_token),
        TEST(a_token_has_4096_bytes_at_most),
        TEST(a_token_with_a_space_or_an_unprintable_byte_is_refused),
        TEST(the_identity_is_authorization_before_the_token),
        TEST(the_identity_is_the_token_without_authorization),
        TEST(the_address_identifies_a_call_that_names_no_identity),
        TEST(the_token_is_wiped_when_the_request_ends),
        TEST(a_long_repo_or_revision_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
