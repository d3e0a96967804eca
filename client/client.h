/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the client share of a client. */
#ifndef HC_CLIENT_CLIENT_H
#define HC_CLIENT_CLIENT_H

struct hc_channel;
struct hc_client;
struct hc_lease_renewer;
struct hc_mount;

/* Borrowed. */
struct hc_channel *hc_client_channel(const struct hc_client *client);
struct hc_mount hc_client_mount(const struct hc_client *client);
struct hc_lease_renewer *hc_client_lease_renewer(struct hc_client *client);

#endif
