/* SPDX-License-Identifier: Apache-2.0 */
#include "client_ask.h"

enum hc_reason client_ask(struct hc_client *client, struct hc_error *err)
{
    struct hc_client_info info;

    if (hc_client_get_info(client, &info, err) < 0)
        return err->reason;
    hc_client_info_clear(&info);
    return HC_OK;
}
