/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread takes all lines that wait and appends them with one write, so lines of
 * another process that appends to the file stay whole, too. If a write fails, the thread
 * tries again every RETRY_MS with what is left. If the file is another one by then, it
 * begins with the line of which the old one has only a part.
 */
#include "audit.h"

#include "caller.h"
#include "line.h"
#include "line_queue.h"
#include "log.h"
#include "request_log.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/text.h>
#include <repo/repo.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_EVERY_MS = 1000, RETRY_MS = 200, LOG_EVERY_MS = 60000, FLUSH_MS = 1000 };

struct hc_audit {
    char *path;
    struct hc_line_queue *queue;
    pthread_t thread;
    atomic_uint_least64_t lines, given_up;
    atomic_bool is_failing, is_reopen_wanted;

    /* The thread's own. */
    int fd;
    int64_t looked_ms; /* when it looked at the name, last */
    int64_t logged_ms; /* when a failure was logged, last */
};

/* ---- the file ---------------------------------------------------------------------- */

/* O_NONBLOCK is for a FIFO without a reader, and means nothing for a file. */
static int file_open(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                0640);
}

static void audit_log_failure(struct hc_audit *audit, const char *what, int failed)
{
    int64_t now_ms = hc_monotonic_ms();
    const char *text = strerrordesc_np(failed);

    if (atomic_exchange(&audit->is_failing, true) &&
        now_ms - audit->logged_ms < LOG_EVERY_MS)
        return;
    audit->logged_ms = now_ms;
    HC_LOG(HC_LOG_ERROR, "audit log not written: lines wait, and are lost if too many do",
           HC_TEXT("file", audit->path), HC_TEXT("call", what),
           HC_TEXT("error", text ? text : "unknown error"));
}

static bool file_is_at(int fd, const char *path)
{
    struct stat open_file, named;

    return fstat(fd, &open_file) == 0 && stat(path, &named) == 0 &&
           open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

/* True: the file is another one. If that cannot be opened, the old one goes on. */
static bool audit_follow_rotation(struct hc_audit *audit)
{
    int64_t now_ms = hc_monotonic_ms();
    bool is_wanted = atomic_exchange(&audit->is_reopen_wanted, false);
    int fd;

    if (!is_wanted && now_ms - audit->looked_ms < LOOK_EVERY_MS)
        return false;
    audit->looked_ms = now_ms;
    if (file_is_at(audit->fd, audit->path))
        return false;
    fd = file_open(audit->path);
    if (fd < 0) {
        audit_log_failure(audit, "open", errno);
        return false;
    }
    (void)close(audit->fd);
    audit->fd = fd;
    return true;
}

/* ---- the thread -------------------------------------------------------------------- */

static uint64_t lines_count(const char *text, size_t size)
{
    const char *end = text + size;
    uint64_t count = 0;

    while ((text = memchr(text, '\n', (size_t)(end - text)))) {
        text++;
        count++;
    }
    return count;
}

/* The part of `lines` that a write has to begin with when `done` bytes of it are written:
 * the start of a line. */
static size_t lines_restart(const struct hc_lines *lines, size_t done)
{
    const char *before = memrchr(lines->text, '\n', done);

    return before ? (size_t)(before + 1 - lines->text) : 0;
}

/* False: the queue closes, and the rest is given up. */
static bool audit_await_retry(struct hc_audit *audit)
{
    if (hc_line_queue_is_closing(audit->queue))
        return false;
    (void)poll(NULL, 0, RETRY_MS);
    return true;
}

static void audit_write(struct hc_audit *audit, const struct hc_lines *lines)
{
    size_t done = 0;

    while (done < lines->size) {
        ssize_t written = write(audit->fd, lines->text + done, lines->size - done);

        if (written > 0) {
            done += (size_t)written;
            continue;
        }
        if (written < 0 && errno == EINTR)
            continue;
        audit_log_failure(audit, "write", errno);
        if (!audit_await_retry(audit)) {
            atomic_fetch_add(&audit->given_up,
                             lines_count(lines->text + done, lines->size - done));
            return;
        }
        if (audit_follow_rotation(audit))
            done = lines_restart(lines, done);
    }
    if (atomic_exchange(&audit->is_failing, false))
        HC_LOG(HC_LOG_INFO, "audit log written again", HC_TEXT("file", audit->path));
}

static void *audit_run(void *ctx)
{
    struct hc_audit *audit = ctx;
    struct hc_lines lines;

    while (hc_line_queue_take(audit->queue, LOOK_EVERY_MS, &lines)) {
        (void)audit_follow_rotation(audit);
        if (lines.dropped > 0)
            HC_LOG(HC_LOG_ERROR, "audit lines lost", HC_NUMBER("count", lines.dropped));
        if (lines.size > 0)
            audit_write(audit, &lines);
    }
    return NULL;
}

/* ---- lines ------------------------------------------------------------------------- */

/* Other services tell nothing of the cache; but a caller that is refused is of interest
 * whatever it asked for. */
static bool request_is_audited(const struct hc_request *request,
                               const struct hc_answer *answer)
{
    return hc_text_starts(request->method, "/hubcache.") ||
           answer->reason == HC_CALLER_UNAUTHENTICATED;
}

/* A line with a rule has a caller, too: "" for an anonymous one. */
static void line_add_caller(struct hc_line *line, const struct hc_caller *caller,
                            bool has_rule)
{
    if (!caller && has_rule)
        hc_line_add_text(line, "caller", "");
    if (!caller)
        return;
    hc_line_add_text(line, "caller", caller->name);
    hc_line_add_text(line, "kind", hc_caller_kind_name(caller->kind));
    hc_line_add_list(line, "groups", caller->groups, caller->group_count);
}

static void line_add_subject(struct hc_line *line, const struct hc_subject *subject)
{
    if (!subject->repo_id[0])
        return;
    hc_line_add_text(line, "repo", subject->repo_id);
    hc_line_add_text(line, "type", hc_repo_type_name(subject->repo_type));
    hc_line_add_text(line, "revision", subject->revision);
    if (subject->filename[0])
        hc_line_add_text(line, "file", subject->filename);
    if (subject->patterns[0])
        hc_line_add_text(line, "patterns", subject->patterns);
}

/* An alias has another name than the repo. */
static void line_add_rule(struct hc_line *line, const struct hc_request *request)
{
    const struct hc_facts *facts = &request->facts;
    struct hc_repo repo;

    if (!facts->rule[0])
        return;
    hc_line_add_text(line, "rule", facts->rule);
    if (hc_repo_parse_folder(&repo, facts->folder) &&
        strcmp(repo.id, request->subject.repo_id) != 0)
        hc_line_add_text(line, "alias_of", repo.id);
}

static void audit_add_line(struct hc_audit *audit, struct hc_line *line)
{
    hc_line_end(line);
    if (hc_line_queue_add(audit->queue, line->text, line->size) == HC_LINE_QUEUED)
        atomic_fetch_add_explicit(&audit->lines, 1, memory_order_relaxed);
}

static void line_add_facts(struct hc_line *line, const struct hc_facts *facts)
{
    if (facts->source == HC_SOURCE_UNSPECIFIED && facts->files == 0)
        return;
    if (facts->commit[0])
        hc_line_add_text(line, "commit", facts->commit);
    if (facts->etag[0])
        hc_line_add_text(line, "etag", facts->etag);
    hc_line_add_number(line, "files", facts->files);
    hc_line_add_number(line, "bytes", (int64_t)facts->bytes);
    if (facts->source != HC_SOURCE_UNSPECIFIED) /* not of a removal */
        hc_line_add_text(line, "source", hc_source_name(facts->source));
    if (facts->is_stale)
        hc_line_add_bool(line, "stale", true);
}

void hc_audit_add(struct hc_audit *audit, const struct hc_request *request,
                  const struct hc_answer *answer, int64_t duration_us)
{
    const char *method = request->method;
    char trace_id[HC_TRACE_ID_SIZE];
    struct hc_line line;

    if (!request_is_audited(request, answer))
        return;
    hc_line_begin(&line, true);
    hc_line_add_number(&line, "id", (int64_t)request->id);
    hc_line_add_text(&line, "rpc", *method == '/' ? method + 1 : method);
    line_add_caller(&line, request->identity, request->facts.rule[0]);
    if (request->peer[0])
        hc_line_add_text(&line, "peer", request->peer);
    line_add_subject(&line, &request->subject);
    line_add_facts(&line, &request->facts);
    line_add_rule(&line, request);
    hc_line_add_text(&line, "outcome", hc_request_outcome(answer));
    hc_line_add_microseconds(&line, "duration_ms", duration_us);
    hc_trace_format_id(&request->trace, trace_id);
    hc_line_add_text(&line, "trace_id", trace_id);
    audit_add_line(audit, &line);
}

/* What the file is of: the first part of its path, and the commit. */
static void line_add_file(struct hc_line *line, const struct hc_file *file)
{
    char folder[HC_REPO_FOLDER_MAX + 1];
    struct hc_repo repo;

    if (hc_format(folder, sizeof folder, "%.*s", (int)strcspn(file->cache_path, "/"),
                  file->cache_path) >= 0 &&
        hc_repo_parse_folder(&repo, folder)) {
        hc_line_add_text(line, "repo", repo.id);
        hc_line_add_text(line, "type", hc_repo_type_name(repo.type));
    }
    if (file->commit_hash[0])
        hc_line_add_text(line, "commit", file->commit_hash);
    hc_line_add_text(line, "file", file->filename);
    if (file->etag[0])
        hc_line_add_text(line, "etag", file->etag);
    hc_line_add_text(line, "rule", file->rule);
}

void hc_audit_add_files(struct hc_audit *audit, const struct hc_caller *caller,
                        const struct hc_file *files, size_t count)
{
    struct hc_line line;

    for (size_t i = 0; i < count && i <= HC_AUDIT_FILES_MAX; i++) {
        hc_line_begin(&line, true);
        hc_line_add_text(&line, "event", "provenance");
        line_add_caller(&line, caller, true);
        if (i == HC_AUDIT_FILES_MAX)
            hc_line_add_number(&line, "files_left_out", (int64_t)(count - i));
        else
            line_add_file(&line, &files[i]);
        audit_add_line(audit, &line);
    }
}

/* ---- the whole --------------------------------------------------------------------- */

static void audit_free(struct hc_audit *audit)
{
    hc_line_queue_free(audit->queue);
    hc_auto_close(&audit->fd);
    free(audit->path);
    free(audit);
}

static int path_fail(const char *path, int failed, struct hc_error *err)
{
    (void)hc_fail_errno(err, failed, "audit-log: open '%s'", path);
    err->reason = HC_INVALID_OPTIONS;
    return -1;
}

/* A file that is not there yet takes a directory that may be written. */
int hc_audit_check(const char *path, struct hc_error *err)
{
    HC_AUTO_FREE char *copy = hc_text_copy(path, err);

    if (!copy)
        return -1;
    if (access(path, W_OK) == 0 ||
        (errno == ENOENT && access(dirname(copy), W_OK | X_OK) == 0))
        return 0;
    return path_fail(path, errno, err);
}

static int audit_start(struct hc_audit *audit, const char *path, struct hc_error *err)
{
    audit->path = hc_text_copy(path, err);
    audit->queue = audit->path ? hc_line_queue_new(HC_AUDIT_BYTES_MAX, err) : NULL;
    if (!audit->queue)
        return -1;
    audit->fd = file_open(path);
    if (audit->fd < 0)
        return path_fail(path, errno, err);
    audit->looked_ms = hc_monotonic_ms();
    if (pthread_create(&audit->thread, NULL, audit_run, audit) != 0)
        return hc_fail(err, HC_INTERNAL, "the system gives no thread for the audit log");
    return 0;
}

struct hc_audit *hc_audit_open(const char *path, struct hc_error *err)
{
    struct hc_audit *audit = calloc(1, sizeof *audit);

    if (!audit) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    audit->fd = -1;
    if (audit_start(audit, path, err) == 0)
        return audit;
    audit_free(audit);
    return NULL;
}

/* If the thread hangs in a write, what it uses stays. */
void hc_audit_close(struct hc_audit *audit)
{
    struct hc_audit_counts counts;

    if (!audit)
        return;
    if (!hc_line_queue_close(audit->queue, FLUSH_MS)) {
        HC_LOG(HC_LOG_ERROR, "audit lines lost: the file's volume does not answer",
               HC_TEXT("file", audit->path));
        return;
    }
    (void)pthread_join(audit->thread, NULL);
    hc_audit_count(audit, &counts);
    if (counts.lost > 0)
        HC_LOG(HC_LOG_ERROR, "audit lines lost", HC_NUMBER("in_all", counts.lost));
    audit_free(audit);
}

void hc_audit_reopen(struct hc_audit *audit)
{
    atomic_store(&audit->is_reopen_wanted, true);
}

void hc_audit_count(struct hc_audit *audit, struct hc_audit_counts *counts)
{
    counts->lines = atomic_load(&audit->lines);
    counts->lost = hc_line_queue_dropped(audit->queue) + atomic_load(&audit->given_up);
    counts->is_failing = atomic_load(&audit->is_failing);
}
