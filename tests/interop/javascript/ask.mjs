// SPDX-License-Identifier: Apache-2.0
// Asks the JavaScript client for files and prints their paths, one per line:
//     node ask.mjs ENDPOINT CACHE REPO REVISION FILENAME...
import { downloadFileToCacheDir } from "@huggingface/hub";

const [hubUrl, cacheDir, repo, revision, ...paths] = process.argv.slice(2);
for (const path of paths) {
    console.log(await downloadFileToCacheDir({ repo, path, revision, hubUrl, cacheDir }));
}
