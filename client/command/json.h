/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers as JSON: the fields of the proto messages under their names there, enums by
 * theirs, 64-bit numbers as numbers. `path` is on this machine's mount. The text is one
 * line and the caller's to free; NULL when it cannot be made.
 */
#ifndef HC_COMMAND_JSON_H
#define HC_COMMAND_JSON_H

#include <hubcache-client/client.h>

char *hc_output_json_of_file(const struct hc_client_file *file);
char *hc_output_json_of_files(const struct hc_client_files *files);
char *hc_output_json_of_snapshot(const struct hc_client_snapshot *snapshot);
char *hc_output_json_of_info(const struct hc_client_info *info);

#endif
