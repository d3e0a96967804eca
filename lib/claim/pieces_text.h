/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has arrived of a blob as text, "0-1000,4096-8192", for records (record.h) that
 * anybody may have written.
 */
#ifndef HC_CLAIM_PIECES_TEXT_H
#define HC_CLAIM_PIECES_TEXT_H

#include "pieces.h"

enum { HC_PIECES_TEXT_SIZE = 2048 };

/* As much of it as fits. */
void hc_pieces_format(struct hc_pieces *pieces, char text[HC_PIECES_TEXT_SIZE]);

/* False, and none has arrived, when it is no such text. */
bool hc_pieces_parse(struct hc_pieces *pieces, const char *text);

#endif
