/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What answers of the Hub, and of mirrors, mean for the next question: whether the repo
 * is public, which decides whether mirrors are asked about it; and whether the answer is
 * stale, because only a mirror gave it.
 */
#include "resolution.h"

#include <base/cancellation.h>
#include <hub/access.h>

#include <string.h>

/* ---- visibility -------------------------------------------------------------------- */

bool hc_resolution_has_mirrors(const struct hc_resolution *resolution)
{
    return resolution->resolver->settings.mirror_count > 0 && !resolution->endpoint_rule;
}

static bool resolution_has_token(const struct hc_resolution *resolution)
{
    return resolution->credentials.token && resolution->credentials.token[0];
}

static void resolution_record_visibility(struct hc_resolution *resolution,
                                         enum hc_visibility visibility)
{
    resolution->visibility = visibility;
    resolution->credentials.hub_only = hc_visibility_is_restricted(visibility);
    hc_resolution_note_access(resolution, visibility);
    if (resolution->endpoint_rule)
        return; /* the record is of the Hub of the settings */
    hc_visibility_update(resolution->resolver->cache, &resolution->repo, visibility,
                         hc_epoch_ms());
}

void hc_resolution_note_refusal(struct hc_resolution *resolution,
                                const struct hc_error *err)
{
    enum hc_visibility visibility =
        err->reason == HC_GATED_REPO ? HC_VISIBILITY_GATED : HC_VISIBILITY_PRIVATE;
    bool is_hidden =
        err->reason == HC_GATED_REPO || err->reason == HC_REPO_NOT_FOUND ||
        (err->reason == HC_HUB_UNAUTHORIZED && !resolution_has_token(resolution));

    if (is_hidden && (hc_resolution_has_mirrors(resolution) ||
                      hc_visibility_find_last(resolution->resolver->cache,
                                              &resolution->repo) == HC_VISIBILITY_PUBLIC))
        resolution_record_visibility(resolution, visibility);
    hc_resolution_deny_access(resolution, err);
}

void hc_resolution_ask_visibility(struct hc_resolution *resolution)
{
    struct hc_hub_credentials credentials = resolution->credentials;
    struct hc_revision answer;
    struct hc_error failure;

    if (!hc_resolution_has_mirrors(resolution) || resolution->is_stale ||
        !resolution_has_token(resolution) ||
        resolution->visibility != HC_VISIBILITY_UNKNOWN)
        return;
    credentials.hub_only = true;
    credentials.no_retry = true;
    if (hc_hub_revision(resolution->resolver->hub, &resolution->repo,
                        resolution->revision, &credentials, &answer, &failure) == 0)
        hc_resolution_note_repo(resolution, &answer);
    else
        hc_resolution_note_refusal(resolution, &failure);
}

/* ---- notes ------------------------------------------------------------------------- */

/* Only a mirror said what the name means. */
static void resolution_note_mirror(struct hc_resolution *resolution, const char *commit)
{
    resolution->is_stale = true;
    (void)hc_fail(resolution->stale_cause, HC_HUB_UNREACHABLE,
                  "the Hub cannot be asked; a mirror says that '%s' of '%s' is %.8s",
                  resolution->revision, resolution->repo.id, commit);
}

void hc_resolution_note_revision(struct hc_resolution *resolution,
                                 const struct hc_revision *answer)
{
    if (answer->is_of_mirror && !resolution->is_commit)
        resolution_note_mirror(resolution, answer->commit);
}

void hc_resolution_note_repo(struct hc_resolution *resolution,
                             const struct hc_revision *answer)
{
    enum hc_visibility visibility = answer->visibility;

    if (visibility == HC_VISIBILITY_UNKNOWN && !resolution_has_token(resolution))
        visibility = HC_VISIBILITY_PUBLIC;
    if (!answer->is_of_mirror && visibility != HC_VISIBILITY_UNKNOWN)
        resolution_record_visibility(resolution, visibility);
}

void hc_resolution_note_file(struct hc_resolution *resolution, const char *revision,
                             const struct hc_metadata *metadata)
{
    if (metadata->is_of_mirror) {
        if (!resolution->is_commit && strcmp(revision, resolution->revision) == 0)
            resolution_note_mirror(resolution, metadata->commit);
        return;
    }
    if (!resolution_has_token(resolution) &&
        hc_visibility_is_restricted(resolution->visibility) &&
        hc_hub_file_proves_access(resolution->path))
        resolution_record_visibility(resolution, HC_VISIBILITY_PUBLIC);
}
