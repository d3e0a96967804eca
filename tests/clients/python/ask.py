#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks hubcache for files of the Hugging Face Hub.

ask.py file REPO FILENAME SECONDS    prints the path of a file on the own mount
ask.py watch REPO MAX_BYTES SECONDS  fetches a snapshot, unless it is larger; prints its path
ask.py read REPO FILENAME SECONDS    writes the bytes of a file, for hosts without the volume

Calls fail after SECONDS. HUBCACHE_SERVER is the server, HUBCACHE_MOUNT the own mount,
HUBCACHE_TLS_CA the authority that has signed the server's certificate, for TLS.
"""

import json
import os
import pathlib
import sys

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from hubcache.v1 import resolver_pb2 as pb
from hubcache.v1 import resolver_pb2_grpc

RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": "hubcache.v1.Resolver"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "maxBackoff": "5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
OPTIONS = [
    ("grpc.service_config", json.dumps(RETRIES)),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", 64 << 20),
]


def connect(server):
    authority = os.environ.get("HUBCACHE_TLS_CA")
    if not authority:
        return grpc.insecure_channel(server, options=OPTIONS)
    credentials = grpc.ssl_channel_credentials(pathlib.Path(authority).read_bytes())
    return grpc.secure_channel(server, credentials, options=OPTIONS)


def find_mount(stub, timeout):
    """The own mount of the server's volume."""
    info = stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=timeout)
    mount = pathlib.Path(os.environ.get("HUBCACHE_MOUNT", info.cache_root))
    if (mount / ".hubcache" / "cache-id").read_text().strip() != info.cache_id:
        sys.exit(f"{mount} is another volume than the server's")
    return mount


def file(stub, repo, filename, timeout):
    mount = find_mount(stub, timeout)
    request = pb.ResolveFileRequest(repo_id=repo, filename=filename)
    print(mount / stub.ResolveFile(request, timeout=timeout).file.cache_path)


def watch(stub, repo, max_bytes, timeout):
    mount = find_mount(stub, timeout)
    snapshot = pb.ResolveSnapshotRequest(repo_id=repo)
    call = stub.WatchSnapshot(pb.WatchSnapshotRequest(snapshot=snapshot), timeout=timeout)
    for event in call:
        if event.WhichOneof("event") == "result":
            print(mount / event.result.cache_path)
            break
        done, total = event.progress.bytes_done, event.progress.bytes_total
        print(f"{done} of {total} bytes", file=sys.stderr)
        if total > int(max_bytes):
            call.cancel()  # the next event is the failure CANCELLED


def read(stub, repo, filename, timeout):
    request = pb.ReadFileRequest(file=pb.ResolveFileRequest(repo_id=repo, filename=filename))
    for response in stub.ReadFile(request, timeout=timeout):
        sys.stdout.buffer.write(response.data)


def explain(error):
    """Prints what is known of a failed call."""
    print(f"status {error.code().value[0]}: {error.details()}", file=sys.stderr)
    status = rpc_status.from_call(error)  # None: gRPC itself failed the call
    for detail in status.details if status else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            print(f"reason {info.reason}", file=sys.stderr)
            for name, value in sorted(info.metadata.items()):
                print(f"{name}: {value}", file=sys.stderr)
        elif detail.Unpack(retry):
            print(f"retry after {retry.retry_delay.ToMilliseconds()} ms", file=sys.stderr)


def main():
    if len(sys.argv) != 5 or sys.argv[1] not in ("file", "watch", "read"):
        sys.exit(__doc__)
    _, command, repo, argument, seconds = sys.argv
    server = os.environ.get("HUBCACHE_SERVER", "127.0.0.1:50051")
    with connect(server) as channel:
        stub = resolver_pb2_grpc.ResolverStub(channel)
        try:
            {"file": file, "watch": watch, "read": read}[command](
                stub, repo, argument, float(seconds)
            )
        except grpc.RpcError as error:
            explain(error)
            sys.exit(1)


if __name__ == "__main__":
    main()
