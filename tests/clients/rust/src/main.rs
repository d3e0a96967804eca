// SPDX-License-Identifier: Apache-2.0

//! Asks hubcache for files of the Hugging Face Hub.
//!
//! ask file REPO FILENAME SECONDS    prints the path of a file on the own mount
//! ask watch REPO MAX_BYTES SECONDS  fetches a snapshot, unless it is larger; prints its path
//! ask read REPO FILENAME SECONDS    writes the bytes of a file, for hosts without the volume
//!
//! Calls fail after SECONDS. HUBCACHE_SERVER is the server, HUBCACHE_MOUNT the own mount.

use std::{env, error::Error, fs, path::PathBuf, process::exit, time::Duration};

use tokio::io::AsyncWriteExt;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt;

use hubcache::{resolver_client::ResolverClient, watch_snapshot_response::Event, *};

mod hubcache {
    tonic::include_proto!("hubcache.v1");
}

type Client = ResolverClient<Channel>;
type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ATTEMPTS: u32 = 4;

/// Calls again while the server is unavailable, which tonic does not do by itself.
async fn retry<T>(mut call: impl AsyncFnMut() -> tonic::Result<T>) -> tonic::Result<T> {
    let mut delay = Duration::from_millis(200);
    for _ in 1..ATTEMPTS {
        match call().await {
            Err(status) if status.code() == Code::Unavailable => {
                let info = status.get_details_retry_info();
                tokio::time::sleep(info.and_then(|info| info.retry_delay).unwrap_or(delay)).await;
                delay *= 2;
            }
            result => return result,
        }
    }
    call().await
}

/// A request with a deadline, which the server learns too.
fn within<T>(timeout: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// The own mount of the server's volume.
async fn find_mount(client: &mut Client, timeout: Duration) -> Result<PathBuf> {
    let info = retry(async || {
        client
            .get_server_info(within(timeout, GetServerInfoRequest {}))
            .await
    })
    .await?
    .into_inner();
    let mount = PathBuf::from(env::var("HUBCACHE_MOUNT").unwrap_or(info.cache_root));
    if fs::read_to_string(mount.join(".hubcache/cache-id"))?.trim() != info.cache_id {
        return Err(format!("{} is another volume than the server's", mount.display()).into());
    }
    Ok(mount)
}

fn file_request(repo_id: &str, filename: &str) -> ResolveFileRequest {
    ResolveFileRequest {
        repo_id: repo_id.into(),
        filename: filename.into(),
        ..Default::default()
    }
}

async fn file(mut client: Client, repo: &str, filename: &str, timeout: Duration) -> Result<()> {
    let mount = find_mount(&mut client, timeout).await?;
    let request = file_request(repo, filename);
    let answer =
        retry(async || client.resolve_file(within(timeout, request.clone())).await).await?;
    let file = answer.into_inner().file.unwrap_or_default();
    println!("{}", mount.join(file.cache_path).display());
    Ok(())
}

async fn watch(mut client: Client, repo: &str, max_bytes: &str, timeout: Duration) -> Result<()> {
    let max_bytes: u64 = max_bytes.parse()?;
    let mount = find_mount(&mut client, timeout).await?;
    let request = WatchSnapshotRequest {
        snapshot: Some(ResolveSnapshotRequest {
            repo_id: repo.into(),
            ..Default::default()
        }),
    };
    let mut events = client
        .watch_snapshot(within(timeout, request))
        .await?
        .into_inner();
    while let Some(event) = events.message().await? {
        match event.event {
            Some(Event::Progress(progress)) => {
                eprintln!("{} of {} bytes", progress.bytes_done, progress.bytes_total);
                if progress.bytes_total > max_bytes {
                    drop(events); // cancels the call
                    return Err(Status::cancelled("the snapshot is too large").into());
                }
            }
            Some(Event::Result(result)) => println!("{}", mount.join(result.cache_path).display()),
            Some(Event::Files(_)) | None => {} // files only come when they were asked for
        }
    }
    Ok(())
}

async fn read(mut client: Client, repo: &str, filename: &str, timeout: Duration) -> Result<()> {
    let request = ReadFileRequest {
        file: Some(file_request(repo, filename)),
        ..Default::default()
    };
    let mut responses = client
        .read_file(within(timeout, request))
        .await?
        .into_inner();
    let mut output = tokio::io::stdout();
    while let Some(response) = responses.message().await? {
        output.write_all(&response.data).await?;
    }
    Ok(output.flush().await?)
}

/// Prints what is known of a failed call.
fn explain(error: &(dyn Error + 'static)) {
    let Some(status) = error.downcast_ref::<Status>() else {
        eprintln!("{error}");
        return;
    };
    eprintln!("status {}: {}", status.code() as i32, status.message());
    if let Some(info) = status.get_details_error_info() {
        eprintln!("reason {}", info.reason);
        for (name, value) in info.metadata {
            eprintln!("{name}: {value}");
        }
    }
    if let Some(delay) = status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay)
    {
        eprintln!("retry after {} ms", delay.as_millis());
    }
}

async fn run(command: &str, repo: &str, argument: &str, timeout: Duration) -> Result<()> {
    let server = env::var("HUBCACHE_SERVER").unwrap_or("127.0.0.1:50051".into());
    let channel = Channel::from_shared(format!("http://{server}"))?
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .connect_lazy();
    let client = ResolverClient::new(channel).max_decoding_message_size(64 << 20);
    match command {
        "file" => file(client, repo, argument, timeout).await,
        "watch" => watch(client, repo, argument, timeout).await,
        "read" => read(client, repo, argument, timeout).await,
        _ => Err(format!("there is no command {command}").into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = env::args().collect();
    let [_, command, repo, argument, seconds] = &arguments[..] else {
        eprintln!("usage: ask file|watch|read REPO FILENAME|MAX_BYTES SECONDS");
        exit(2);
    };
    let timeout = Duration::from_secs(seconds.parse().unwrap_or_default());
    // tonic's own timer ends with the response's headers, and says CANCELLED.
    let result = tokio::time::timeout(timeout, run(command, repo, argument, timeout))
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("the deadline has passed").into()));
    if let Err(error) = result {
        explain(&*error);
        exit(1);
    }
}
