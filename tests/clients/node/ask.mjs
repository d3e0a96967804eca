// SPDX-License-Identifier: Apache-2.0
// Asks hubcache for files of the Hugging Face Hub.
//
// ask.mjs file REPO FILENAME SECONDS    prints the path of a file on the own mount
// ask.mjs watch REPO MAX_BYTES SECONDS  fetches a snapshot, unless it is larger; prints its path
// ask.mjs read REPO FILENAME SECONDS    writes the bytes of a file, for hosts without the volume
//
// Calls fail after SECONDS. HUBCACHE_SERVER is the server, HUBCACHE_MOUNT the own mount.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const definition = protoLoader.loadSync(
  [
    "hubcache/v1/resolver.proto",
    "google/rpc/status.proto",
    "google/rpc/error_details.proto",
  ],
  {
    includeDirs: [join(import.meta.dirname, "proto")],
    defaults: true,
    enums: String,
    longs: Number,
    json: true, // unpacks the details of a failure
  },
);
const { Resolver } = grpc.loadPackageDefinition(definition).hubcache.v1;

const RETRIES = {
  methodConfig: [
    {
      name: [{ service: "hubcache.v1.Resolver" }],
      retryPolicy: {
        maxAttempts: 4,
        initialBackoff: "0.2s",
        maxBackoff: "5s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
};
const CHANNEL = {
  "grpc.service_config": JSON.stringify(RETRIES),
  "grpc.keepalive_time_ms": 30000,
  "grpc.keepalive_timeout_ms": 10000,
  "grpc.max_receive_message_length": 64 << 20,
};

/** The response of a unary call, as a promise. */
function ask(client, method, request, seconds) {
  return new Promise((resolve, reject) => {
    client[method](request, within(seconds), (error, response) =>
      error ? reject(error) : resolve(response),
    );
  });
}

function within(seconds) {
  return { deadline: Date.now() + seconds * 1000 };
}

/** The own mount of the server's volume. */
async function findMount(client, seconds) {
  const info = await ask(client, "getServerInfo", {}, seconds);
  const mount = process.env.HUBCACHE_MOUNT ?? info.cacheRoot;
  const id = await readFile(join(mount, ".hubcache", "cache-id"), "utf8");
  if (id.trim() !== info.cacheId) {
    throw new Error(`${mount} is another volume than the server's`);
  }
  return mount;
}

async function file(client, repoId, filename, seconds) {
  const mount = await findMount(client, seconds);
  const answer = await ask(client, "resolveFile", { repoId, filename }, seconds);
  console.log(join(mount, answer.file.cachePath));
}

async function watch(client, repoId, maxBytes, seconds) {
  const mount = await findMount(client, seconds);
  const call = client.watchSnapshot({ snapshot: { repoId } }, within(seconds));
  for await (const { progress, result } of call) {
    if (result) {
      console.log(join(mount, result.cachePath));
    } else {
      console.error(`${progress.bytesDone} of ${progress.bytesTotal} bytes`);
      if (progress.bytesTotal > maxBytes) {
        call.cancel(); // the next event is the failure CANCELLED
      }
    }
  }
}

async function read(client, repoId, filename, seconds) {
  const call = client.readFile({ file: { repoId, filename } }, within(seconds));
  const bytes = call.map((response) => response.data);
  await pipeline(bytes, process.stdout, { end: false });
}

/** Prints what is known of a failed call. */
function explain(error) {
  if (error.code === undefined) {
    console.error(error.message);
    return;
  }
  console.error(`status ${error.code}: ${error.details}`);
  const [status] = error.metadata.get("grpc-status-details-bin");
  const details = status ? definition["google.rpc.Status"].deserialize(status).details : [];
  for (const detail of details) {
    switch (detail["@type"]) {
      case "type.googleapis.com/google.rpc.ErrorInfo":
        console.error(`reason ${detail.reason}`);
        for (const [name, value] of Object.entries(detail.metadata)) {
          console.error(`${name}: ${value}`);
        }
        break;
      case "type.googleapis.com/google.rpc.RetryInfo": {
        const { seconds, nanos } = detail.retryDelay;
        console.error(`retry after ${seconds * 1000 + Math.trunc(nanos / 1e6)} ms`);
      }
    }
  }
}

const commands = { file, watch, read };
const [command, repo, argument, seconds] = process.argv.slice(2);
if (!seconds || !(command in commands)) {
  console.error("usage: ask.mjs file|watch|read REPO FILENAME|MAX_BYTES SECONDS");
  process.exit(2);
}
const server = process.env.HUBCACHE_SERVER ?? "127.0.0.1:50051";
const client = new Resolver(server, grpc.credentials.createInsecure(), CHANNEL);
try {
  await commands[command](client, repo, argument, Number(seconds));
} catch (error) {
  explain(error);
  process.exitCode = 1;
} finally {
  client.close();
}
