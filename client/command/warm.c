/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server has begun to read the same files ahead on its own machine. If that is this
 * one, and the mount the same, then both fill the same page cache, and what the server
 * has brought is not read again here.
 */
#include "warm.h"

#include "base/available_memory.h"
#include "base/file.h"
#include "base/read_ahead.h"
#include "base/size.h"
#include "output.h"

#include <fcntl.h>
#include <stdio.h>

enum { NOTE_MAX = 256 };

/* What has happened, for a person. */
static void warm_note(size_t present, size_t count, uint64_t bytes)
{
    char size[HC_UNITS_TEXT_MAX], note[NOTE_MAX];

    hc_bytes_format(size, bytes);
    (void)snprintf(note, sizeof note,
                   "%zu of %zu files are in the page cache, %s were read for that",
                   present, count, size);
    hc_output_print_note(note);
}

void hc_warm_files(const struct hc_resolve_options *options,
                   const struct hc_client_file *files, size_t count)
{
    static const atomic_bool stop = false; /* a signal ends the process */
    HC_AUTO_FREE struct hc_read_ahead_file *list = NULL;
    uint64_t bytes = 0;
    size_t chosen, present = 0;

    if (!options->fetch.warm || options->fetch.dry_run || count == 0)
        return;
    list = calloc(count, sizeof *list);
    if (!list)
        return;
    for (size_t i = 0; i < count; i++)
        list[i] = (struct hc_read_ahead_file){files[i].path, files[i].size_bytes};
    chosen = hc_read_ahead_choose(list, count, hc_available_memory(""));
    for (size_t i = 0; i < chosen; i++) {
        HC_AUTO_CLOSE int fd = hc_file_open_linked(AT_FDCWD, list[i].path);

        present += fd >= 0;
        bytes += fd >= 0 ? hc_read_ahead(fd, &stop) : 0;
    }
    if (!options->is_quiet)
        warm_note(present, count, bytes);
}
