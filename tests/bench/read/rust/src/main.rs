// SPDX-License-Identifier: Apache-2.0

//! Streams one file with hubcache's ReadFile, as tonic does it.
//!
//! read-server FILE ETAG COMMIT CHUNK
//!
//! It listens on a free port, prints "listening ADDRESS", and sends messages of CHUNK bytes. A
//! thread of tokio's pool for blocking work reads the file, some messages ahead of the connection.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::{env, process::exit, sync::Arc};

use tokio::{net::TcpListener, sync::mpsc, task::spawn_blocking};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, codegen::BoxStream, transport::Server};

use hubcache::resolver_server::{Resolver, ResolverServer};
use hubcache::{ReadFileRequest, ReadFileResponse, ResolvedFile, Source};

mod hubcache {
    tonic::include_proto!("hubcache.v1");
}

const AHEAD: usize = 4; // messages

type Message = Result<ReadFileResponse, Status>;

struct OneFile {
    path: String,
    chunk: u64,
    file: ResolvedFile,
}

impl OneFile {
    fn send(
        &self,
        request: &ReadFileRequest,
        sender: &mpsc::Sender<Message>,
    ) -> Result<(), Status> {
        let mut file = File::open(&self.path)?;
        let mut offset = file.seek(SeekFrom::Start(request.offset))?;
        let mut left = self.file.size_bytes - offset;
        if request.length > 0 {
            left = left.min(request.length);
        }
        let mut name = Some(self.file.clone());
        while left > 0 || name.is_some() {
            let count = left.min(self.chunk);
            let mut data = Vec::with_capacity(count as usize);
            file.by_ref().take(count).read_to_end(&mut data)?;
            if data.len() as u64 != count {
                return Err(Status::internal("the file became shorter"));
            }
            let file = name.take();
            let message = ReadFileResponse {
                file,
                data: data.into(),
                offset,
            };
            if sender.blocking_send(Ok(message)).is_err() {
                return Ok(()); // the client left
            }
            offset += count;
            left -= count;
        }
        Ok(())
    }
}

struct Service(Arc<OneFile>);

#[tonic::async_trait]
impl Resolver for Service {
    async fn read_file(
        &self,
        request: Request<ReadFileRequest>,
    ) -> Result<Response<BoxStream<ReadFileResponse>>, Status> {
        let (one, request) = (self.0.clone(), request.into_inner());
        if request.offset > one.file.size_bytes {
            return Err(Status::invalid_argument("the offset is beyond the end"));
        }
        let (sender, receiver) = mpsc::channel(AHEAD);
        spawn_blocking(move || {
            if let Err(status) = one.send(&request, &sender) {
                let _ = sender.blocking_send(Err(status));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().collect();
    let [_, path, etag, commit, chunk] = &arguments[..] else {
        eprintln!("usage: read-server FILE ETAG COMMIT CHUNK");
        exit(2);
    };
    let file = ResolvedFile {
        path: path.clone(),
        cache_path: "file".into(),
        filename: "file".into(),
        commit_hash: commit.clone(),
        etag: etag.clone(),
        size_bytes: fs::metadata(path)?.len(),
        source: Source::Cache.into(),
        ..Default::default()
    };
    let one = OneFile {
        path: path.clone(),
        chunk: chunk.parse()?,
        file,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    Server::builder()
        .add_service(ResolverServer::new(Service(Arc::new(one))))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}
