/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See resolution.h for the order of the steps and what moves one to the next.
 */
#include "hub_resolution.h"

#include <cache/ref.h>

#include <string.h>

static void hub_resolution_clear(struct hc_hub_resolution *hub_resolution)
{
    explicit_bzero(hub_resolution->token, sizeof hub_resolution->token);
}

HC_DEFINE_AUTO_VALUE(hc_hub_resolution, hub_resolution_clear)

/* ---- what a repo's visibility has to do with mirrors -----------------------------------
 */

static bool resolution_has_mirrors(const struct hc_hub_resolution *hub_resolution)
{
    return hub_resolution->resolution->resolver->settings.mirror_count > 0;
}

/* That a repo is public is kept only where it says something: to a caller with a token,
 * or after it was restricted. */
static void resolution_record_visibility(struct hc_hub_resolution *hub_resolution,
                                         enum hc_visibility visibility)
{
    const struct hc_resolution *resolution = hub_resolution->resolution;
    bool is_no_news = visibility == HC_VISIBILITY_PUBLIC && !hub_resolution->token[0] &&
                      hub_resolution->visibility != HC_VISIBILITY_RESTRICTED;

    if (!resolution_has_mirrors(hub_resolution) || is_no_news)
        return;
    hub_resolution->visibility = visibility;
    hub_resolution->credentials.hub_only = visibility == HC_VISIBILITY_RESTRICTED;
    hc_visibility_update(resolution->resolver->cache, &resolution->repo, visibility,
                         hc_resolution_now_ms());
}

/* A repo that is hidden from a caller is not for everybody; a refused token says nothing
 * of the repo. */
static void resolution_record_refusal(struct hc_hub_resolution *hub_resolution,
                                      const struct hc_error *err)
{
    bool is_hidden = err->reason == HC_GATED_REPO || err->reason == HC_REPO_NOT_FOUND ||
                     (err->reason == HC_HUB_UNAUTHORIZED && !hub_resolution->token[0]);

    if (is_hidden)
        resolution_record_visibility(hub_resolution, HC_VISIBILITY_RESTRICTED);
}

/* The answer to a token does not say whether it would be the same without one: the Hub is
 * asked, once a day. */
static void resolution_ask_visibility(struct hc_hub_resolution *hub_resolution)
{
    const struct hc_resolution *resolution = hub_resolution->resolution;
    struct hc_hub_credentials credentials = hub_resolution->credentials;
    struct hc_revision answer;
    struct hc_error failure;

    if (!resolution_has_mirrors(hub_resolution) || hub_resolution->is_stale ||
        !hub_resolution->token[0] || hub_resolution->visibility != HC_VISIBILITY_UNKNOWN)
        return;
    credentials.hub_only = true;
    credentials.no_retry = true;
    if (hc_hub_revision(resolution->resolver->hub, &resolution->repo,
                        resolution->revision, &credentials, &answer, &failure) == 0)
        hc_resolution_note_repo(hub_resolution, &answer);
    else
        resolution_record_refusal(hub_resolution, &failure);
}

/* ---- beginning ------------------------------------------------------------------------
 */

/* What is on disk; `*is_old`: the Hub has to be asked whether it still holds. */
static int resolution_read_disk(struct hc_hub_resolution *hub_resolution, bool *is_old,
                                struct hc_error *err)
{
    const struct hc_resolution *resolution = hub_resolution->resolution;
    struct hc_local_ref local_ref;

    *is_old = false;
    if (resolution_has_mirrors(hub_resolution))
        hub_resolution->visibility =
            hc_visibility_find(resolution->resolver->cache, &resolution->repo,
                               hc_resolution_now_ms());
    hub_resolution->credentials.hub_only =
        hub_resolution->visibility == HC_VISIBILITY_RESTRICTED;
    if (resolution->is_commit)
        return 0;
    if (hc_resolution_read_ref(resolution, &local_ref, err) < 0)
        return -1;
    memcpy(hub_resolution->ref_commit, local_ref.commit, sizeof local_ref.commit);
    *is_old = !local_ref.is_usable && local_ref.commit[0];
    return 0;
}

static int resolution_choose_token(struct hc_hub_resolution *hub_resolution,
                                   struct hc_error *err)
{
    const struct hc_resolution *resolution = hub_resolution->resolution;
    struct hc_resolver *resolver = resolution->resolver;

    hub_resolution->credentials.token = hub_resolution->token;
    hub_resolution->credentials.key = resolution->options->caller;
    return hc_token_choose(&resolver->settings, resolution->options->hub_token,
                           &resolver->had_token_file, hub_resolution->token, err);
}

/* ---- learning -------------------------------------------------------------------------
 */

/* True once, when the branch was rewritten: the ref that names the lost commit counts no
 * more, here and for those who come later. */
static bool resolution_drop_ref(struct hc_hub_resolution *hub_resolution,
                                const struct hc_error *err)
{
    const struct hc_resolution *resolution = hub_resolution->resolution;

    if (err->reason != HC_REVISION_NOT_FOUND || !hub_resolution->asked_by_commit ||
        hub_resolution->is_ref_lost || hub_resolution->is_at_old_ref)
        return false;
    hub_resolution->is_ref_lost = true;
    hc_ref_expire(resolution->resolver->cache, &resolution->repo, resolution->revision);
    return true;
}

static int resolution_describe_once(const struct hc_resolution_steps *steps,
                                    struct hc_hub_resolution *hub_resolution,
                                    struct hc_error *err)
{
    int result = steps->describe(steps->ctx, hub_resolution, err);

    if (result < 0 && resolution_drop_ref(hub_resolution, err))
        result = steps->describe(steps->ctx, hub_resolution, err);
    if (result < 0)
        resolution_record_refusal(hub_resolution, err);
    return result;
}

/* At the commit that the Hub named last: its bytes may be had without the Hub. */
static int resolution_describe_at_old_ref(const struct hc_resolution_steps *steps,
                                          struct hc_hub_resolution *hub_resolution,
                                          struct hc_error *err)
{
    hub_resolution->stale_cause = *err;
    hub_resolution->is_at_old_ref = true;
    hub_resolution->is_stale = true;
    if (steps->describe(steps->ctx, hub_resolution, err) == 0)
        return 0;
    hub_resolution->is_at_old_ref = false;
    hub_resolution->is_stale = false;
    return -1;
}

static int resolution_describe(const struct hc_resolution_steps *steps,
                               struct hc_hub_resolution *hub_resolution, bool has_older,
                               bool is_old, struct hc_error *err)
{
    bool may_pin = is_old && !has_older && resolution_has_mirrors(hub_resolution) &&
                   hub_resolution->visibility != HC_VISIBILITY_RESTRICTED &&
                   !hub_resolution->resolution->options->force_download;

    hub_resolution->credentials.no_retry = has_older || may_pin;
    if (resolution_describe_once(steps, hub_resolution, err) == 0)
        return 0;
    if (!may_pin || err->is_final ||
        (err->reason != HC_HUB_UNREACHABLE && err->reason != HC_HUB_RATE_LIMITED))
        return -1;
    hub_resolution->credentials.no_retry = false;
    if (resolution_describe_at_old_ref(steps, hub_resolution, err) == 0)
        return 0;
    return resolution_describe_once(steps, hub_resolution, err);
}

/* ---- answering ------------------------------------------------------------------------
 */

static void resolution_report_stale(const struct hc_hub_resolution *hub_resolution)
{
    const struct hc_resolution *resolution = hub_resolution->resolution;
    const struct hc_resolver *resolver = resolution->resolver;
    const struct hc_stale stale = {.repo_id = resolution->repo.id,
                                   .repo_type = resolution->repo.type,
                                   .revision = resolution->revision,
                                   .reason = hub_resolution->stale_cause.reason,
                                   .message = hub_resolution->stale_cause.message};

    if (resolver->stale_watcher)
        resolver->stale_watcher(resolver->stale_ctx, &stale);
}

static int resolution_answer_stale(const struct hc_resolution_steps *steps,
                                   const struct hc_hub_resolution *hub_resolution)
{
    steps->mark_stale(steps->ctx);
    resolution_report_stale(hub_resolution);
    return 0;
}

/* The Hub failed, as `err` says: the older answer, if there is one, takes its place. */
static int resolution_fall_back(const struct hc_resolution_steps *steps,
                                struct hc_hub_resolution *hub_resolution, bool has_older,
                                const struct hc_error *err)
{
    const char *own = hub_resolution->resolution->options->hub_token;

    if (!has_older || !hc_policy_may_fall_back(err, own && own[0])) {
        steps->clear(steps->ctx);
        return -1;
    }
    hub_resolution->stale_cause = *err;
    return resolution_answer_stale(steps, hub_resolution);
}

static int resolution_fetch(const struct hc_resolution_steps *steps,
                            struct hc_hub_resolution *hub_resolution,
                            struct hc_error *err)
{
    steps->clear(steps->ctx);
    hub_resolution->asked_by_commit = !hub_resolution->resolution->is_commit;
    return steps->fetch(steps->ctx, hub_resolution, err);
}

/* Whether something else is to be obtained than what failed, as `err` says. */
static bool resolution_describe_again(const struct hc_resolution_steps *steps,
                                      struct hc_hub_resolution *hub_resolution,
                                      struct hc_error *err)
{
    const struct hc_error cause = *err;

    if (resolution_drop_ref(hub_resolution, err))
        return resolution_describe_once(steps, hub_resolution, err) >= 0;
    if (!hub_resolution->is_listing_wrong || hub_resolution->is_stale)
        return false;
    hub_resolution->must_relist = true;
    if (steps->describe(steps->ctx, hub_resolution, err) == 0)
        return true;
    *err = cause;
    return false;
}

int hc_resolution_run(const struct hc_resolution_steps *steps,
                      const struct hc_resolution *resolution,
                      struct hc_cancellation *cancellation, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_hub_resolution)
    hub_resolution = {.resolution = resolution,
                      .credentials = {.cancellation = cancellation}};
    struct hc_error ignored;
    bool is_old, has_older;

    if (resolution_read_disk(&hub_resolution, &is_old, err) < 0)
        return -1;
    has_older = is_old && !resolution->options->force_download &&
                steps->find_cached(steps->ctx, hub_resolution.ref_commit, &ignored) == 1;
    if (resolution_choose_token(&hub_resolution, err) < 0 ||
        resolution_describe(steps, &hub_resolution, has_older, is_old, err) < 0)
        return resolution_fall_back(steps, &hub_resolution, has_older, err);
    hub_resolution.credentials.no_retry = false;
    resolution_ask_visibility(&hub_resolution);
    if (resolution_fetch(steps, &hub_resolution, err) < 0) {
        resolution_record_refusal(&hub_resolution, err);
        if (!resolution_describe_again(steps, &hub_resolution, err) ||
            resolution_fetch(steps, &hub_resolution, err) < 0)
            return -1;
    }
    return hub_resolution.is_stale ? resolution_answer_stale(steps, &hub_resolution) : 0;
}

/* ---- for the steps ----------------------------------------------------------------------
 */

int hc_resolution_reread_ref(const struct hc_hub_resolution *hub_resolution,
                             struct hc_local_ref *local_ref, struct hc_error *err)
{
    if (hc_resolution_read_ref(hub_resolution->resolution, local_ref, err) < 0)
        return -1;
    if (hub_resolution->resolution->is_commit)
        return 0;
    if (hub_resolution->is_at_old_ref) {
        memcpy(local_ref->commit, hub_resolution->ref_commit, sizeof local_ref->commit);
        local_ref->is_usable = true;
    }
    /* A volume that cannot be written to keeps the ref as it was. */
    if (hub_resolution->is_ref_lost &&
        strcmp(local_ref->commit, hub_resolution->ref_commit) == 0)
        local_ref->is_usable = false;
    return 0;
}

struct hc_hub_credentials
hc_resolution_credentials(struct hc_hub_resolution *hub_resolution, const char *revision)
{
    struct hc_hub_credentials credentials = hub_resolution->credentials;
    const struct hc_resolution *resolution = hub_resolution->resolution;
    bool is_name = !resolution->is_commit && strcmp(revision, resolution->revision) == 0;

    hub_resolution->asked_by_commit = !resolution->is_commit && !is_name;
    credentials.hub_only =
        credentials.hub_only || (is_name && hub_resolution->ref_commit[0]);
    return credentials;
}

/* Only a mirror said what the name means. */
static void resolution_note_mirror(struct hc_hub_resolution *hub_resolution,
                                   const char *commit)
{
    hub_resolution->is_stale = true;
    (void)hc_fail(&hub_resolution->stale_cause, HC_HUB_UNREACHABLE,
                  "the Hub cannot be asked; a mirror says that '%s' of '%s' is %.8s",
                  hub_resolution->resolution->revision,
                  hub_resolution->resolution->repo.id, commit);
}

void hc_resolution_note_revision(struct hc_hub_resolution *hub_resolution,
                                 const struct hc_revision *answer)
{
    if (answer->is_of_mirror && !hub_resolution->resolution->is_commit)
        resolution_note_mirror(hub_resolution, answer->commit);
}

void hc_resolution_note_repo(struct hc_hub_resolution *hub_resolution,
                             const struct hc_revision *answer)
{
    if (!answer->is_of_mirror)
        resolution_record_visibility(hub_resolution, answer->is_restricted
                                                         ? HC_VISIBILITY_RESTRICTED
                                                         : HC_VISIBILITY_PUBLIC);
}

void hc_resolution_note_file(struct hc_hub_resolution *hub_resolution,
                             const char *revision, const struct hc_metadata *metadata)
{
    const struct hc_resolution *resolution = hub_resolution->resolution;

    if (metadata->is_of_mirror) {
        if (!resolution->is_commit && strcmp(revision, resolution->revision) == 0)
            resolution_note_mirror(hub_resolution, metadata->commit);
        return;
    }
    if (!hub_resolution->token[0] &&
        hub_resolution->visibility == HC_VISIBILITY_RESTRICTED)
        resolution_record_visibility(hub_resolution, HC_VISIBILITY_PUBLIC);
}

int hc_resolution_suspect_listing(struct hc_hub_resolution *hub_resolution,
                                  const struct hc_error *err)
{
    switch (err->reason) {
    case HC_CHECKSUM_MISMATCH:
    case HC_BAD_HUB_REPLY:
    case HC_ENTRY_NOT_FOUND:
        hub_resolution->is_listing_wrong =
            !hub_resolution->resolution->options->force_download;
        return -1;
    default:
        return -1;
    }
}

int hc_resolution_write_ref(const struct hc_hub_resolution *hub_resolution,
                            const char *commit, struct hc_error *err)
{
    const struct hc_resolution *resolution = hub_resolution->resolution;

    if (hub_resolution->is_stale)
        return 0;
    return hc_ref_update(resolution->resolver->cache, &resolution->repo,
                         resolution->revision, commit, err);
}
