// SPDX-License-Identifier: Apache-2.0
//! Asks the Rust client for files and prints their paths, one per line:
//!
//!     ask ENDPOINT CACHE OWNER NAME REVISION online|offline FILENAME...

use std::time::Duration;

use hf_hub::HFClient;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, cache, owner, name, revision, network, filenames @ ..] = &arguments[..] else {
        return Err("usage: ask ENDPOINT CACHE OWNER NAME REVISION online|offline FILE...".into());
    };
    let client = HFClient::builder()
        .endpoint(endpoint)
        .cache_dir(cache)
        .retry_max_attempts(1)
        .retry_base_delay(Duration::from_millis(10))
        .build_sync()?;
    let repo = client.model(owner, name);

    for filename in filenames {
        let path = repo
            .download_file()
            .filename(filename)
            .revision(revision)
            .local_files_only(network == "offline")
            .send()?;
        println!("{}", path.display());
    }
    Ok(())
}
