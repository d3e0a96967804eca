/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a read stream:
 *
 *     resolving   a waiter of the coalescer, which resolves the file
 *     reading     a task of the pool: it opens the file, and reads the next message
 *     waiting     the next message is read, but one is still being sent: no task. `sent`
 *                 makes it a task again
 *     over        the last message or a failure is the answer of the call, or the caller
 *                 left
 *
 * The thread that sets is_over finishes the call. A stream belongs to its call, which is
 * held while the stream waits for its file and while it is a task, and frees it at the
 * end. Only its task uses the file and the position. The stream's lock guards `shared`;
 * no other lock is taken under it.
 */
#include "read_stream.h"

#include <base/error.h>
#include <base/workers.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

enum {
    MESSAGE_BYTES = 512 * 1024, /* of data; the header comes on top */
    /* Stalled clients hold 2 * STREAMS_MAX * MESSAGE_BYTES, 128 MiB. */
    STREAMS_MAX = 128,
    CALLER_WEIGHT = 3, /* a caller has at most so many times the streams that are free */
    THREADS_MAX = 16,
    /* A stream is one task, so a queue of this length has room for each of any caller. */
    QUEUE_MAX = 4 * STREAMS_MAX,
    RETRY_AFTER_MS = 1000,
    DATA_TAG = 2 << 3 | 2, /* the field `data`, with a length */
    DATA_HEAD_MAX = 1 + HC_MESSAGE_VARINT_MAX
};

struct read_stream {
    struct hc_waiter waiter;
    struct hc_task task;
    struct hc_read_streams *streams;
    struct hc_rpc_call *call;
    LIST_ENTRY(read_stream) link; /* in streams->shared.open */
    Hubcache__V1__ResolveFileResponse *resolved;
    int fd;             /* -1: not open yet */
    uint64_t next, end; /* the request's offset and length, until the file is open */
    bool is_first;      /* the next message names the file */
    struct hc_facts facts;
    struct {
        pthread_mutex_t lock;
        struct hc_answer *ready; /* the next message */
        bool is_sending;         /* until `sent` */
        bool is_waiting;
        bool is_over;
    } shared;
};

LIST_HEAD(stream_list, read_stream);

struct hc_read_streams {
    struct hc_resolver *resolver;
    struct hc_coalescer *coalescer;
    struct hc_workers *workers;
    atomic_uint_least64_t bytes;
    struct {
        pthread_mutex_t lock;
        struct stream_list open;
        unsigned count;
    } shared;
};

/* In the scratch memory of its call. */
static struct read_stream **stream_slot(struct hc_rpc_call *call)
{
    return hc_rpc_call_scratch(call);
}

/* ---- the end ------------------------------------------------------------------------
 */

/* True: the calling thread has to finish the call. */
static bool stream_set_over(struct read_stream *stream)
{
    bool was_over;
    HC_LOCKED(&stream->shared.lock);

    was_over = stream->shared.is_over;
    stream->shared.is_over = true;
    return !was_over;
}

static bool stream_is_over(struct read_stream *stream)
{
    HC_LOCKED(&stream->shared.lock);

    return stream->shared.is_over;
}

/* `answer` NULL: memory is short. */
static void stream_finish(struct read_stream *stream, struct hc_answer *answer)
{
    if (stream_set_over(stream))
        hc_rpc_call_finish(stream->call, answer);
}

static void stream_fail(struct read_stream *stream, const struct hc_error *err)
{
    const struct hc_request *request = hc_rpc_call_request(stream->call);
    const struct hc_target target = {.id = request->subject.repo_id,
                                     .type = request->subject.repo_type,
                                     .revision = request->subject.revision};
    HC_AUTO(hc_answer) *failure =
        hc_answer_of_error(err, &target,
                           stream->resolved ? stream->resolved->file->filename : NULL);

    stream_finish(stream, failure);
}

/* The thread that set is_over does not look whether the waiter or the task is at work. */
static void stream_leave(struct hc_rpc_call *call)
{
    struct read_stream *stream = *stream_slot(call);
    struct hc_read_streams *streams = stream->streams;
    HC_AUTO(hc_answer) *failure = NULL;
    struct hc_error err;

    if (!stream_set_over(stream))
        return;
    if (hc_coalescer_leave(streams->coalescer, &stream->waiter))
        hc_rpc_call_release(call);
    if (hc_workers_withdraw(streams->workers, &stream->task))
        hc_rpc_call_release(call);
    hc_rpc_call_fail_left(call, &err);
    failure = hc_answer_of_error(&err, NULL, NULL);
    hc_rpc_call_finish(call, failure);
}

static void stream_end(struct hc_rpc_call *call)
{
    struct read_stream *stream = *stream_slot(call);
    struct hc_read_streams *streams = stream->streams;

    {
        HC_LOCKED(&streams->shared.lock);

        LIST_REMOVE(stream, link);
        streams->shared.count--;
    }
    if (stream->fd >= 0)
        (void)close(stream->fd);
    if (stream->resolved)
        hubcache__v1__resolve_file_response__free_unpacked(stream->resolved, NULL);
    hc_answer_release(stream->shared.ready);
    (void)pthread_mutex_destroy(&stream->shared.lock);
    free(stream);
}

/* ---- the file -----------------------------------------------------------------------
 */

/* The range that was asked for becomes the range that is read. */
static int stream_set_range(struct read_stream *stream, uint64_t size,
                            struct hc_error *err)
{
    uint64_t length = stream->end;

    if (stream->next > size)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "offset",
                             "offset %" PRIu64 " is beyond the end of '%s', which has "
                             "%" PRIu64 " bytes",
                             stream->next, stream->resolved->file->filename, size);
    if (length == 0 || length > size - stream->next)
        length = size - stream->next;
    stream->end = stream->next + length;
    return 0;
}

/*
 * What was found a moment ago may be gone, or be another file. A server that remembers
 * what it found learns of that within a second, so the caller may ask again.
 */
static int stream_fail_changed(const struct read_stream *stream, struct hc_error *err)
{
    (void)hc_fail(err, HC_BUSY,
                  "'%s' was removed or replaced before it could be read: "
                  "ask again",
                  stream->resolved->file->path);
    err->retry_after_ms = RETRY_AFTER_MS;
    return -1;
}

static int stream_open(struct read_stream *stream, struct hc_error *err)
{
    const Hubcache__V1__ResolvedFile *file = stream->resolved->file;
    int found =
        hc_resolver_open_file(stream->streams->resolver, file->path, &stream->fd, err);
    struct stat status;

    if (found < 0)
        return -1;
    if (found == 0)
        return stream_fail_changed(stream, err);
    if (fstat(stream->fd, &status) < 0)
        return hc_fail_errno(err, errno, "stat '%s'", file->path);
    if ((uint64_t)status.st_size != file->size_bytes)
        return stream_fail_changed(stream, err);
    if (stream_set_range(stream, file->size_bytes, err) < 0)
        return -1;
    (void)posix_fadvise(stream->fd, (off_t)stream->next,
                        (off_t)(stream->end - stream->next), POSIX_FADV_SEQUENTIAL);
    return 0;
}

/* All of `count` bytes from the position on: a file that has lost some is a failure. */
static int stream_read_bytes(struct read_stream *stream, uint8_t *bytes, size_t count,
                             struct hc_error *err)
{
    for (size_t done = 0; done < count;) {
        ssize_t got =
            pread(stream->fd, bytes + done, count - done, (off_t)(stream->next + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return hc_fail_errno(err, errno, "read '%s' at %" PRIu64,
                                 stream->resolved->file->path, stream->next + done);
        if (got == 0)
            return hc_fail(err, HC_CACHE_IO,
                           "'%s' ends after %" PRIu64 " bytes: it had %" PRIu64
                           " when it was opened",
                           stream->resolved->file->path, stream->next + done,
                           stream->resolved->file->size_bytes);
        done += (size_t)got;
    }
    return 0;
}

/* The tag and the length of `data` (protobuf's encoding of a field of bytes). */
static size_t data_put_head(uint8_t out[DATA_HEAD_MAX], size_t count)
{
    if (count == 0)
        return 0;
    out[0] = DATA_TAG;
    return 1 + hc_message_put_varint(out + 1, count);
}

/*
 * The next message, read into the memory that gRPC sends: its other fields are packed in
 * front of the data, where the fields of a message may be in any sequence.
 */
static struct hc_answer *stream_read(struct read_stream *stream, struct hc_error *err)
{
    Hubcache__V1__ReadFileResponse fields = HUBCACHE__V1__READ_FILE_RESPONSE__INIT;
    uint64_t left = stream->end - stream->next;
    size_t count = left < MESSAGE_BYTES ? (size_t)left : MESSAGE_BYTES;
    uint8_t head[DATA_HEAD_MAX];
    size_t head_size = data_put_head(head, count);
    size_t fields_size;
    HC_AUTO(hc_answer) *message = NULL;
    uint8_t *room;

    fields.file = stream->is_first ? stream->resolved->file : NULL;
    fields.offset = stream->next;
    fields_size = protobuf_c_message_get_packed_size(&fields.base);
    message = hc_answer_new_room(fields_size + head_size + count, &room);
    if (!message) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)protobuf_c_message_pack(&fields.base, room);
    memcpy(room + fields_size, head, head_size);
    if (stream_read_bytes(stream, room + fields_size + head_size, count, err) < 0)
        return NULL;
    stream->is_first = false;
    stream->next += count;
    stream->facts.bytes += count;
    message->facts = stream->facts;
    atomic_fetch_add_explicit(&stream->streams->bytes, count, memory_order_relaxed);
    return hc_take(&message);
}

/* ---- the task -----------------------------------------------------------------------
 */

static int stream_submit(struct read_stream *stream, struct hc_error *err)
{
    hc_rpc_call_hold(stream->call);
    if (hc_workers_submit(stream->streams->workers, &stream->task, err) == 0)
        return 0;
    hc_rpc_call_release(stream->call);
    return -1;
}

/* Reads the next message, unless one is read already. -1: the stream has failed. */
static int stream_make_ready(struct read_stream *stream)
{
    struct hc_answer *message = NULL;
    struct hc_error err;

    if (stream->shared.ready) /* only the task changes it while it runs */
        return 0;
    if (stream->fd >= 0 || stream_open(stream, &err) == 0)
        message = stream_read(stream, &err);
    if (message)
        stream->shared.ready = message;
    else
        stream_fail(stream, &err);
    return message ? 0 : -1;
}

/* Takes the message that may be sent now; NULL: `sent` submits the task again. */
static struct hc_answer *stream_take_ready(struct read_stream *stream)
{
    HC_LOCKED(&stream->shared.lock);

    stream->shared.is_waiting = stream->shared.is_sending && !stream->shared.is_over;
    if (stream->shared.is_waiting || stream->shared.is_over)
        return NULL;
    stream->shared.is_sending = true;
    return hc_take(&stream->shared.ready);
}

/* True: the message is on its way, and the next one can be read. */
static bool stream_send_ready(struct read_stream *stream)
{
    HC_AUTO(hc_answer) *message = NULL;

    if (stream->next == stream->end) { /* the answer waits for the message before it */
        stream_finish(stream, stream->shared.ready);
        return false;
    }
    message = stream_take_ready(stream);
    if (message)
        hc_rpc_call_send(stream->call, message);
    return message;
}

static bool stream_run(struct hc_task *task)
{
    struct read_stream *stream =
        (struct read_stream *)((char *)task - offsetof(struct read_stream, task));
    bool is_again = !stream_is_over(stream) && stream_make_ready(stream) == 0 &&
                    stream_send_ready(stream);

    if (!is_again)
        hc_rpc_call_release(stream->call);
    return is_again;
}

static void stream_sent(struct hc_rpc_call *call)
{
    struct read_stream *stream = *stream_slot(call);
    bool was_waiting;
    struct hc_error err;

    {
        HC_LOCKED(&stream->shared.lock);

        stream->shared.is_sending = false;
        was_waiting = stream->shared.is_waiting && !stream->shared.is_over;
        stream->shared.is_waiting = false;
    }
    if (was_waiting && stream_submit(stream, &err) < 0)
        stream_fail(stream, &err);
}

/* ---- the waiter ---------------------------------------------------------------------
 */

static int stream_set_resolved(struct read_stream *stream, const struct hc_answer *answer,
                               struct hc_error *err)
{
    stream->resolved =
        hubcache__v1__resolve_file_response__unpack(NULL, answer->size, answer->bytes);
    stream->facts = answer->facts;
    stream->facts.bytes = 0; /* are read */
    return stream->resolved ? 0 : hc_fail_memory(err);
}

/* The waiter is the first member. */
static void stream_resolved(struct hc_waiter *waiter, struct hc_answer *answer)
{
    struct read_stream *stream = (struct read_stream *)waiter;
    struct hc_error err;

    if (!answer || answer->code != 0)
        stream_finish(stream, answer);
    else if (stream_set_resolved(stream, answer, &err) < 0 ||
             stream_submit(stream, &err) < 0)
        stream_fail(stream, &err);
    hc_rpc_call_release(stream->call);
}

static const struct hc_waiter_type stream_waiter = {.done = stream_resolved};

static const struct hc_rpc_stream stream_hooks = {stream_leave, stream_sent, stream_end};

/* ---- all streams --------------------------------------------------------------------
 */

/* The lock is held. */
static unsigned streams_count_caller(const struct hc_read_streams *streams,
                                     uint64_t caller)
{
    const struct read_stream *stream;
    unsigned count = 0;

    LIST_FOREACH(stream, &streams->shared.open, link)
    {
        count += stream->task.caller == caller;
    }
    return count;
}

static int streams_add(struct hc_read_streams *streams, struct read_stream *stream,
                       struct hc_error *err)
{
    unsigned left;
    HC_LOCKED(&streams->shared.lock);

    left = STREAMS_MAX - streams->shared.count;
    if (streams_count_caller(streams, stream->task.caller) >= CALLER_WEIGHT * left) {
        (void)hc_fail(err, HC_BUSY,
                      "the %d calls of ReadFile that may run at a time, or this caller's "
                      "share of them, are under way: try later",
                      STREAMS_MAX);
        err->retry_after_ms = RETRY_AFTER_MS;
        return -1;
    }
    LIST_INSERT_HEAD(&streams->shared.open, stream, link);
    streams->shared.count++;
    return 0;
}

int hc_read_streams_begin(struct hc_read_streams *streams, struct hc_rpc_call *call,
                          const struct hc_request_key *key,
                          const Hubcache__V1__ReadFileRequest *request,
                          struct hc_error *err)
{
    HC_AUTO_FREE struct read_stream *stream = calloc(1, sizeof *stream);
    struct hc_waiter *waiter;

    if (!stream)
        return hc_fail_memory(err);
    *stream = (struct read_stream){
        .waiter = {.type = &stream_waiter,
                   .caller = key->caller,
                   .deadline_ms = hc_rpc_call_request(call)->deadline_ms},
        .task = {.run = stream_run, .caller = key->caller, .repo = key->repo},
        .streams = streams,
        .call = call,
        .fd = -1,
        .next = request->offset,
        .end = request->length,
        .is_first = true,
    };
    if (streams_add(streams, stream, err) < 0)
        return -1;
    (void)pthread_mutex_init(&stream->shared.lock, NULL);
    waiter = &stream->waiter;
    *stream_slot(call) = hc_take(&stream);
    hc_rpc_call_hold(call); /* for the waiter */
    hc_rpc_call_park_stream(call, &stream_hooks);
    hc_coalescer_join(streams->coalescer, key, waiter);
    return 0;
}

void hc_read_streams_count(struct hc_read_streams *streams, unsigned *open,
                           uint64_t *bytes)
{
    HC_LOCKED(&streams->shared.lock);

    *open = streams->shared.count;
    *bytes = atomic_load(&streams->bytes);
}

struct hc_read_streams *hc_read_streams_open(struct hc_resolver *resolver,
                                             struct hc_coalescer *coalescer,
                                             struct hc_error *err)
{
    HC_AUTO_FREE struct hc_read_streams *streams = calloc(1, sizeof *streams);

    if (!streams) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    streams->resolver = resolver;
    streams->coalescer = coalescer;
    streams->workers = hc_workers_open(THREADS_MAX, QUEUE_MAX, err);
    if (!streams->workers)
        return NULL;
    (void)pthread_mutex_init(&streams->shared.lock, NULL);
    return hc_take(&streams);
}

void hc_read_streams_close(struct hc_read_streams *streams)
{
    if (!streams)
        return;
    hc_workers_close(streams->workers);
    (void)pthread_mutex_destroy(&streams->shared.lock);
    free(streams);
}
