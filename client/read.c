/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a file through the server: the RPC ReadFile, checked against what was asked
 * for. A read is one call of hc_channel_read(), whose attempts each stream messages. Its
 * first message of an attempt names the file; the position moves on with each byte that
 * the caller has received, and the next attempt asks from there, for the same commit.
 *
 * A message is read where gRPC has put it, in pieces: `data` goes to the caller without
 * a copy. Another server may send its fields in any sequence, so the fields are found
 * first, and the data is passed on after `offset` is known to be the position.
 */
#include <hubcache-client/client.h>

#include "base/auto.h"
#include "base/file.h"
#include "base/hash.h"
#include "channel.h"
#include "client.h"
#include "hasher.h"
#include "message.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FILE_BYTES_MAX = 64 * 1024,
    HASH_CHUNK = 256 * 1024,
    HASH_AT_ONCE_MAX = 1024 * 1024, /* a thread costs more than it saves */
    NO_DESCRIPTOR = -1
};

/* ---- a message ----------------------------------------------------------------------
 */

/* A position in a message; a copy of it is a second position. */
struct wire {
    const struct iovec *pieces;
    size_t left; /* pieces, the current one included */
    size_t at;   /* in the current piece */
};

/* The bytes from the position on, `max` at most; moves on. 0: the message ends here. */
static size_t wire_next(struct wire *wire, uint64_t max, const uint8_t **bytes)
{
    size_t count;

    while (wire->left > 0 && wire->at == wire->pieces->iov_len) {
        wire->pieces++;
        wire->left--;
        wire->at = 0;
    }
    if (wire->left == 0 || max == 0)
        return 0;
    count = wire->pieces->iov_len - wire->at;
    if (count > max)
        count = (size_t)max;
    *bytes = (const uint8_t *)wire->pieces->iov_base + wire->at;
    wire->at += count;
    return count;
}

static bool wire_skip(struct wire *wire, uint64_t count)
{
    const uint8_t *bytes;
    size_t got;

    while (count > 0 && (got = wire_next(wire, count, &bytes)) > 0)
        count -= got;
    return count == 0;
}

/* protobuf's encoding of numbers: seven bits a byte, the lowest first, ten bytes at
 * most. */
static bool wire_number(struct wire *wire, uint64_t *number)
{
    const uint8_t *byte;

    *number = 0;
    for (unsigned shift = 0; shift < 64 && wire_next(wire, 1, &byte) == 1; shift += 7) {
        *number |= (uint64_t)(*byte & 0x7f) << shift;
        if (*byte < 0x80)
            return true;
    }
    return false;
}

/* The fields of a ReadFileResponse, where they are. */
struct read_message {
    struct wire file, data;
    uint64_t file_size, data_size; /* 0: none */
    uint64_t offset;
};

/* One field; of a field that is there twice, the last one counts. */
static bool message_find_field(struct read_message *message, struct wire *wire)
{
    enum { FILE_KEY = 1 << 3 | 2, DATA_KEY = 2 << 3 | 2, OFFSET_KEY = 3 << 3 };
    uint64_t key, number;

    if (!wire_number(wire, &key))
        return false;
    switch (key & 7) {
    case 0:
        if (!wire_number(wire, &number))
            return false;
        if (key == OFFSET_KEY)
            message->offset = number;
        return true;
    case 1:
        return wire_skip(wire, 8);
    case 2:
        if (!wire_number(wire, &number))
            return false;
        if (key == FILE_KEY) {
            message->file = *wire;
            message->file_size = number;
        } else if (key == DATA_KEY) {
            message->data = *wire;
            message->data_size = number;
        }
        return wire_skip(wire, number);
    case 5:
        return wire_skip(wire, 4);
    default:
        return false;
    }
}

static bool message_find_fields(struct read_message *message, const struct iovec *pieces,
                                size_t count)
{
    struct wire wire = {.pieces = pieces, .left = count};
    struct wire end;
    const uint8_t *byte;

    *message = (struct read_message){0};
    for (end = wire; wire_next(&end, 1, &byte) > 0; end = wire) {
        if (!message_find_field(message, &wire))
            return false;
    }
    return true;
}

/* NULL: it is no ResolvedFile. The caller frees it. */
static Hubcache__V1__ResolvedFile *message_unpack_file(const struct read_message *message)
{
    struct wire wire = message->file;
    size_t used = 0, count;
    HC_AUTO_FREE uint8_t *joined = NULL;
    const uint8_t *bytes;

    if (message->file_size > 0 && message->file_size <= FILE_BYTES_MAX)
        joined = malloc((size_t)message->file_size);
    while (joined && (count = wire_next(&wire, message->file_size - used, &bytes)) > 0) {
        memcpy(joined + used, bytes, count);
        used += count;
    }
    return joined ? hubcache__v1__resolved_file__unpack(NULL, used, joined) : NULL;
}

/* ---- a read -------------------------------------------------------------------------
 */

struct file_read {
    const struct hc_client_read_request *request;
    const char *server; /* named in messages */
    int saved;          /* has the bytes in front of the offset, or NO_DESCRIPTOR */
    struct hc_client_file file;
    bool is_begun;            /* `file` is known */
    bool is_named;            /* this attempt's first message has come */
    bool has_progress;        /* this attempt has brought bytes */
    uint64_t next, end;       /* the position; the end of what was asked for */
    struct hc_hasher *hasher; /* NULL: not all bytes of the file pass here */
    Hubcache__V1__ReadFileRequest message;
    Hubcache__V1__ResolveFileRequest inner;
    struct hc_message_options options;
    struct hc_error failure; /* found by this side, which then ends the call */
};

static void file_read_release(struct file_read *read)
{
    hc_client_file_clear(&read->file);
    hc_hasher_free(read->hasher);
}
HC_DEFINE_AUTO_VALUE(file_read, file_read_release)

/* The bytes that an earlier call has saved are the first ones of the hash. */
static int file_read_hash_saved(struct file_read *read, struct hc_error *err)
{
    HC_AUTO_FREE uint8_t *chunk = malloc(HASH_CHUNK);
    uint64_t done = 0, goal = read->request->offset;

    if (!chunk)
        return hc_fail_memory(err);
    while (done < goal) {
        size_t count = goal - done < HASH_CHUNK ? (size_t)(goal - done) : HASH_CHUNK;
        ssize_t got = pread(read->saved, chunk, count, (off_t)done);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return hc_fail_errno(err, errno, "read the bytes that are saved");
        if (got == 0)
            return hc_fail(err, HC_CACHE_IO,
                           "the saved file became shorter while it was continued");
        if (hc_hasher_next(read->hasher, err) < 0 ||
            hc_hasher_add(read->hasher, chunk, (size_t)got, err) < 0)
            return -1;
        hc_hasher_begin(read->hasher);
        done += (uint64_t)got;
    }
    return 0;
}

static int file_read_begin_hash(struct file_read *read, struct hc_error *err)
{
    const struct hc_client_read_request *request = read->request;
    enum hc_digest_kind kind = hc_digest_kind_of(read->file.etag);
    bool is_whole =
        request->length == 0 && (request->offset == 0 || read->saved != NO_DESCRIPTOR);

    if (!is_whole || kind == HC_DIGEST_NONE)
        return 0;
    read->hasher = hc_hasher_new(kind, read->file.size_bytes, err);
    if (!read->hasher || (request->offset > 0 && file_read_hash_saved(read, err) < 0))
        return -1;
    if (read->end - request->offset > HASH_AT_ONCE_MAX)
        hc_hasher_start(read->hasher);
    return 0;
}

/* The first answer: the file that the whole read is about. */
static int file_read_begin(struct file_read *read, const struct hc_client_file *file,
                           struct hc_error *err)
{
    const struct hc_client_read_request *request = read->request;
    uint64_t left;

    read->file = *file;
    read->is_begun = true;
    if (request->offset > file->size_bytes)
        return hc_fail(err, HC_INTERNAL,
                       "hubcached at '%.128s' reads '%.128s' beyond its end",
                       read->server, file->filename);
    left = file->size_bytes - request->offset;
    read->end = request->offset +
                (request->length > 0 && request->length < left ? request->length : left);
    if (file_read_begin_hash(read, err) < 0)
        return -1;
    if (request->begin && !request->begin(request->ctx, &read->file))
        return hc_fail(err, HC_CANCELLED, "the caller gave up before the first byte");
    return 0;
}

/* A later attempt goes on with the same file. */
static int file_read_continue(struct file_read *read, const struct hc_client_file *file,
                              struct hc_error *err)
{
    if (file->size_bytes == read->file.size_bytes &&
        strcmp(file->etag, read->file.etag) == 0 &&
        strcmp(file->commit_hash, read->file.commit_hash) == 0)
        return 0;
    return hc_fail(err, HC_INTERNAL,
                   "'%.200s' has changed at the server while it was read: read it again",
                   read->file.filename);
}

static int file_read_name(struct file_read *read, const struct read_message *message,
                          struct hc_error *err)
{
    const struct hc_mount nowhere = {.server = read->server};
    HC_AUTO_MESSAGE *unpacked = (ProtobufCMessage *)message_unpack_file(message);
    struct hc_client_file file;
    int result;

    read->is_named = true;
    if (!unpacked)
        return hc_fail(err, HC_INTERNAL,
                       "the first message of hubcached at '%.128s' names no file",
                       read->server);
    if (hc_message_decode_resolved(&nowhere, (const void *)unpacked, &file, err) < 0)
        return -1;
    if (!read->is_begun)
        return file_read_begin(read, &file, err);
    result = file_read_continue(read, &file, err);
    hc_client_file_clear(&file);
    return result;
}

/* The bytes are hashed while the caller's function has them, and after that. */
static int file_read_hash(struct file_read *read, const struct read_message *message,
                          struct hc_error *err)
{
    struct wire wire = message->data;
    uint64_t left = message->data_size;
    const uint8_t *bytes;
    size_t count;

    if (hc_hasher_next(read->hasher, err) < 0)
        return -1;
    while ((count = wire_next(&wire, left, &bytes)) > 0) {
        if (hc_hasher_add(read->hasher, bytes, count, err) < 0)
            return -1;
        left -= count;
    }
    hc_hasher_begin(read->hasher);
    return 0;
}

/* The bytes of a message whose place is right. */
static int file_read_pass(struct file_read *read, const struct read_message *message,
                          struct hc_error *err)
{
    struct wire wire = message->data;
    uint64_t left = message->data_size;
    const uint8_t *bytes;
    size_t count;

    if (read->hasher && file_read_hash(read, message, err) < 0)
        return -1;
    while ((count = wire_next(&wire, left, &bytes)) > 0) {
        if (!read->request->bytes(read->request->ctx, bytes, count))
            return hc_fail(err, HC_CANCELLED, "the caller gave up before the last byte");
        read->next += count;
        left -= count;
    }
    read->has_progress = read->has_progress || message->data_size > 0;
    return 0;
}

static int file_read_take(struct file_read *read, const struct iovec *pieces,
                          size_t count, struct hc_error *err)
{
    struct read_message message;

    if (!message_find_fields(&message, pieces, count))
        return hc_fail(err, HC_INTERNAL,
                       "hubcached at '%.128s' sent a message that is no ReadFileResponse",
                       read->server);
    if (!read->is_named && file_read_name(read, &message, err) < 0)
        return -1;
    if (message.offset != read->next || message.data_size > read->end - read->next)
        return hc_fail(err, HC_INTERNAL,
                       "hubcached at '%.128s' sent %" PRIu64 " bytes of '%.128s' from "
                       "%" PRIu64 " on: those from %" PRIu64 " to %" PRIu64
                       " are still to come",
                       read->server, message.data_size, read->file.filename,
                       message.offset, read->next, read->end);
    return file_read_pass(read, &message, err);
}

static bool file_read_receive(void *ctx, const struct iovec *pieces, size_t count)
{
    struct file_read *read = ctx;

    return file_read_take(read, pieces, count, &read->failure) == 0;
}

/* gRPC frees the bytes of the last messages next. */
static void file_read_settle(void *ctx)
{
    const struct file_read *read = ctx;

    if (read->hasher)
        hc_hasher_settle(read->hasher);
}

/* Before another attempt. False: the caller has all bytes; only the status was lost. */
static bool file_read_resume(void *ctx, bool *has_progress)
{
    struct file_read *read = ctx;

    *has_progress = read->has_progress;
    read->has_progress = false;
    read->is_named = false;
    if (!read->is_begun)
        return true;
    read->message.offset = read->next;
    if (read->request->length > 0)
        read->message.length = read->end - read->next;
    if (read->file.commit_hash[0] != '\0')
        read->inner.revision = read->file.commit_hash;
    read->options.fetch.force_download = false; /* that has been done */
    return read->next < read->end;
}

static int file_read_verify(struct file_read *read, struct hc_error *err)
{
    char hex[HC_DIGEST_HEX_MAX + 1];

    if (!read->hasher)
        return 0;
    if (hc_hasher_finish(read->hasher, hex, err) < 0)
        return -1;
    if (strcmp(hex, read->file.etag) == 0)
        return 0;
    return hc_fail(err, HC_CHECKSUM_MISMATCH,
                   "the bytes of '%.200s' hash to %s, and should to %s: the copy in the "
                   "cache of hubcached at '%.100s' may be damaged; resolve it with "
                   "force_download to replace it",
                   read->file.filename, hex, read->file.etag, read->server);
}

/* 0: the bytes that were asked for have been received, and `read->file` is set. */
static int file_read_run(struct file_read *read, struct hc_channel *channel,
                         struct hc_error *err)
{
    struct hc_channel_request call = {
        .method = "/hubcache.v1.Resolver/ReadFile",
        .message = &read->message.base,
        .pieces = file_read_receive,
        .settle = file_read_settle,
        .resume = file_read_resume,
        .ctx = read,
    };
    struct hc_error failure;
    int result;

    hc_message_encode_file(&read->request->file, &read->options, &read->inner);
    hubcache__v1__read_file_request__init(&read->message);
    read->message.file = &read->inner;
    read->message.offset = read->next = read->request->offset;
    read->message.length = read->request->length;
    result = hc_channel_read(channel, &call, &failure);
    if (read->failure.reason != HC_OK)
        failure = read->failure;
    else if (read->is_begun && read->next == read->end)
        return file_read_verify(read, err);
    else if (result == 0)
        (void)hc_fail(&failure, HC_INTERNAL,
                      "hubcached at '%.128s' ended the read at byte %" PRIu64
                      " of %" PRIu64,
                      read->server, read->next, read->end);
    *err = failure;
    return -1;
}

/* `file` may be NULL. */
static void file_read_hand_over(struct file_read *read, struct hc_client_file *file)
{
    if (!file)
        return;
    *file = read->file;
    read->file = (struct hc_client_file){0};
}

int hc_client_read_file(struct hc_client *client,
                        const struct hc_client_read_request *request,
                        struct hc_client_file *file, struct hc_error *err)
{
    struct hc_channel *channel = hc_client_channel(client);
    HC_AUTO_VALUE(file_read)
    read = {.request = request,
            .server = hc_channel_server(channel),
            .saved = NO_DESCRIPTOR};

    if (file_read_run(&read, channel, err) < 0)
        return -1;
    file_read_hand_over(&read, file);
    return 0;
}

/* ---- saving -------------------------------------------------------------------------
 */

struct file_save {
    const struct hc_client_save_request *request;
    uint64_t done, total;
    struct hc_error failure; /* of a write */
};

static bool file_save_begin(void *ctx, const struct hc_client_file *file)
{
    struct file_save *save = ctx;

    save->total = file->size_bytes;
    return true;
}

static bool file_save_write(void *ctx, const void *bytes, size_t count)
{
    struct file_save *save = ctx;
    const struct hc_client_save_request *request = save->request;

    if (hc_file_write_all_at(request->fd, bytes, count, save->done, &save->failure) < 0)
        return false;
    save->done += count;
    return !request->progress ||
           request->progress(request->progress_ctx, save->done, save->total);
}

/* Reads what `fd` lacks. */
static int file_save_rest(struct hc_client *client,
                          const struct hc_client_save_request *request,
                          struct hc_client_file *file, struct hc_error *err)
{
    struct file_save save = {.request = request};
    struct hc_client_read_request rest = {.file = request->file,
                                          .begin = file_save_begin,
                                          .bytes = file_save_write,
                                          .ctx = &save};
    struct hc_channel *channel = hc_client_channel(client);
    HC_AUTO_VALUE(file_read)
    read = {.request = &rest, .server = hc_channel_server(channel), .saved = request->fd};
    struct stat status;

    if (fstat(request->fd, &status) < 0)
        return hc_fail_errno(err, errno, "fstat");
    rest.offset = save.done = (uint64_t)status.st_size;
    if (file_read_run(&read, channel, err) < 0) {
        if (save.failure.reason != HC_OK)
            *err = save.failure;
        return -1;
    }
    file_read_hand_over(&read, file);
    return 0;
}

static int file_save_empty(const struct hc_client_save_request *request,
                           struct hc_error *err)
{
    if (ftruncate(request->fd, 0) == 0)
        return 0;
    return hc_fail_errno(err, errno, "empty the file that is saved");
}

/* Whether the bytes that were saved are at fault: too many, or not of this file. */
static bool saved_bytes_are_wrong(const struct hc_error *err)
{
    return err->reason == HC_CHECKSUM_MISMATCH ||
           (err->reason == HC_INVALID_OPTIONS && strcmp(err->field, "offset") == 0);
}

int hc_client_save_file(struct hc_client *client,
                        const struct hc_client_save_request *request,
                        struct hc_client_file *file, struct hc_error *err)
{
    struct hc_error failure;
    int result = file_save_rest(client, request, file, &failure);

    if (result < 0 && saved_bytes_are_wrong(&failure)) {
        if (file_save_empty(request, err) < 0)
            return -1;
        result = file_save_rest(client, request, file, &failure);
    }
    if (result == 0)
        return 0;
    *err = failure;
    if (failure.reason == HC_CHECKSUM_MISMATCH)
        (void)file_save_empty(request, &failure);
    return -1;
}
