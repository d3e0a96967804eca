/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only shapes change here: what is allowed in a request is the server's to say.
 */
#include "request.h"

#include <google/protobuf/duration.pb-c.h>
#include <hubcache/v1/resolver.pb-c.h>
#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

/* protobuf-c declares strings as char * and does not write to those it packs. */
static char *message_borrow(const char *text)
{
    union {
        const char *given;
        char *lent;
    } both = {.given = text ? text : ""};

    return both.lent;
}

static char **message_borrow_list(const char *const *list)
{
    union {
        const char *const *given;
        char **lent;
    } both = {.given = list};

    return both.lent;
}

static Hubcache__V1__FetchOptions *
message_fill_options(const struct hc_client_fetch *fetch,
                     struct hc_message_options *options)
{
    protobuf_c_message_init(&google__protobuf__duration__descriptor,
                            &options->max_staleness);
    protobuf_c_message_init(&hubcache__v1__fetch_options__descriptor, &options->message);
    options->message.local_files_only = fetch->local_files_only;
    options->message.force_download = fetch->force_download;
    options->message.dry_run = fetch->dry_run;
    if (fetch->has_max_staleness) {
        options->max_staleness.seconds = fetch->max_staleness_ms / 1000;
        options->max_staleness.nanos =
            (int32_t)(fetch->max_staleness_ms % 1000 * 1000000);
        options->message.max_staleness = &options->max_staleness;
    }
    return &options->message;
}

void hc_message_encode_file(const struct hc_client_file_request *request,
                            struct hc_message_options *options,
                            Hubcache__V1__ResolveFileRequest *message)
{
    protobuf_c_message_init(&hubcache__v1__resolve_file_request__descriptor, message);
    message->repo_id = message_borrow(request->repo.id);
    message->repo_type = (Hubcache__V1__RepoType)request->repo.type;
    message->revision = message_borrow(request->repo.revision);
    message->filename = message_borrow(request->filename);
    message->subfolder = message_borrow(request->subfolder);
    message->options = message_fill_options(&request->fetch, options);
}

void hc_message_encode_files(const struct hc_client_files_request *request,
                             struct hc_message_options *options,
                             Hubcache__V1__ResolveFilesRequest *message)
{
    protobuf_c_message_init(&hubcache__v1__resolve_files_request__descriptor, message);
    message->repo_id = message_borrow(request->repo.id);
    message->repo_type = (Hubcache__V1__RepoType)request->repo.type;
    message->revision = message_borrow(request->repo.revision);
    message->filenames = message_borrow_list(request->filenames);
    message->n_filenames = request->filename_count;
    message->subfolder = message_borrow(request->subfolder);
    message->allow_missing = request->allow_missing;
    message->options = message_fill_options(&request->fetch, options);
}

void hc_message_encode_snapshot(const struct hc_client_snapshot_request *request,
                                struct hc_message_options *options,
                                Hubcache__V1__ResolveSnapshotRequest *message)
{
    protobuf_c_message_init(&hubcache__v1__resolve_snapshot_request__descriptor, message);
    message->repo_id = message_borrow(request->repo.id);
    message->repo_type = (Hubcache__V1__RepoType)request->repo.type;
    message->revision = message_borrow(request->repo.revision);
    message->allow_patterns = message_borrow_list(request->allow_patterns);
    message->n_allow_patterns = request->allow_count;
    message->ignore_patterns = message_borrow_list(request->ignore_patterns);
    message->n_ignore_patterns = request->ignore_count;
    message->list_files = request->list_files;
    message->options = message_fill_options(&request->fetch, options);
}
