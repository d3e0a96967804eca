/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Hub describes a gated repo to every client, with the names of its files, and
 * refuses the files. So the proof of access is a HEAD of a file: the same question as
 * that for the bytes, which every Hub and every gateway answers as it answers that for
 * the bytes, with commit and etag. The Hub's GET …/auth-check would be one request less;
 * but other hubs do not have it, and a status alone, of a gateway that answers 200 to all
 * paths, would prove nothing.
 *
 * Not every file does: the Hub gives out the README.md of a gated repo, for that is read
 * before access is asked for. A file is chosen that has reason to be behind the gate:
 * weights and data first, texts and pictures last.
 */
#include "access.h"

#include "mirror.h"
#include "url.h"

#include <base/error.h>
#include <base/text.h>

#include <string.h>

static bool path_ends_with_one_of(const char *path, const char *const *suffixes,
                                  size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (hc_text_ends(path, suffixes[i]))
            return true;
    }
    return false;
}

/* How much access to this file proves; 0: nothing; 1: perhaps nothing. */
static unsigned path_worth(const char *path)
{
    static const char *const data[] = {".safetensors", ".bin", ".gguf",    ".pt",
                                       ".pth",         ".h5",  ".parquet", ".onnx"};
    static const char *const shown[] = {".md",  ".txt", ".png",  ".jpg",   ".jpeg",
                                        ".gif", ".svg", ".webp", "LICENSE"};
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    if (strcasecmp(name, "README.md") == 0)
        return 0;
    if (path_ends_with_one_of(path, data, sizeof data / sizeof *data))
        return 3;
    if (name[0] == '.' ||
        path_ends_with_one_of(path, shown, sizeof shown / sizeof *shown))
        return 1;
    return 2;
}

/* NULL: there is none whose HEAD would prove anything. */
static const char *access_choose_file(const struct hc_tree *files)
{
    const char *chosen = NULL;
    unsigned worth = 0;

    for (size_t i = 0; files && i < files->count; i++) {
        const char *path = files->entries[i].path;

        if (path_worth(path) > worth) {
            worth = path_worth(path);
            chosen = path;
        }
    }
    return chosen;
}

/* The request's target is the repo, so that a refusal is in terms of the repo, whichever
 * file was asked for. */
static int query_send_proof(void *ctx, struct hc_hub_request *request,
                            struct hc_error *err)
{
    const struct hc_repo_file *file = ctx;
    struct hc_hub_target target = request->target;
    struct hc_metadata metadata;

    target.path = file->path;
    request->http.is_head = true;
    if (hc_url_resolve(request->http.url, target.endpoint, file->repo, file->revision,
                       file->path, err) < 0)
        return -1;
    if (hc_hub_request_perform(request, NULL, err) == 0)
        return hc_hub_response_metadata(&request->response, &target, &metadata, err);
    if (err->reason != HC_ENTRY_NOT_FOUND && err->reason != HC_REVISION_NOT_FOUND)
        return -1;
    (void)hc_fail(err, HC_BAD_HUB_REPLY, "it lacks a file that it lists");
    return hc_hub_request_fail(request, err);
}

static int access_prove(struct hc_hub *hub, const struct hc_repo_file *place,
                        const struct hc_repo_info *info,
                        const struct hc_hub_credentials *credentials,
                        struct hc_error *err)
{
    struct hc_repo_file file = {.repo = place->repo,
                                .revision = info->revision.commit,
                                .path = access_choose_file(info->siblings)};
    const struct hc_hub_query query = {.hub = hub,
                                       .credentials = credentials,
                                       .target = {.repo = place->repo,
                                                  .revision = place->revision},
                                       .send = query_send_proof,
                                       .ctx = &file};

    if (!file.path)
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "%s '%s' at revision '%.60s': it names no file that would show "
                       "whether this caller may have the repo",
                       hc_repo_type_name(place->repo->type), place->repo->id,
                       place->revision);
    return hc_hub_query_run(&query, err);
}

int hc_hub_access(struct hc_hub *hub, const struct hc_repo *repo, const char *revision,
                  const struct hc_hub_credentials *credentials,
                  enum hc_visibility *visibility, struct hc_error *err)
{
    struct hc_repo_file place = {.repo = repo, .revision = "main"};
    HC_AUTO_VALUE(hc_repo_info) info = {0};
    int result = hc_hub_repo_info(hub, &place, credentials, &info, err);

    *visibility = HC_VISIBILITY_UNKNOWN;
    if (result < 0 && err->reason == HC_REVISION_NOT_FOUND) {
        place.revision = revision;
        result = hc_hub_repo_info(hub, &place, credentials, &info, err);
    }
    if (result < 0)
        return -1;
    *visibility = info.revision.visibility;
    if (*visibility == HC_VISIBILITY_PUBLIC)
        return 0;
    return access_prove(hub, &place, &info, credentials, err);
}

bool hc_hub_file_proves_access(const char *path)
{
    return path_worth(path) >= 2;
}

bool hc_hub_error_is_refusal(const struct hc_error *err)
{
    switch (err->reason) {
    case HC_GATED_REPO:
    case HC_REPO_NOT_FOUND:
    case HC_REPO_DISABLED:
    case HC_HUB_UNAUTHORIZED:
        return true;
    default:
        return false;
    }
}
