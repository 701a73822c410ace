//! The broker's end of one connection: requests are read, carried out and answered one after another, in their order,
//! as Kafka does.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::dispatch::{self, Reply};
use super::shared::Shared;
use crate::env::Transport;
use crate::env::watch;
use crate::wire::buffers::Buffers;
use crate::wire::frames::Frames;

/// Kafka's `socket.request.max.bytes`.
const MAX_REQUEST: usize = 100 << 20;
/// So many parts go into one vectored write.
const MAX_PARTS: usize = 64;

/// Serves until the client hangs up, breaks the protocol, or the broker cuts it off.
pub(super) async fn serve(
    cluster: Arc<Shared>,
    broker: i32,
    number: u64,
    host: String,
    transport: Transport,
    mut cut: watch::Receiver<u64>,
) {
    tokio::select! {
        biased;
        _ = cut.changed() => {}
        _ended = run(&cluster, broker, number, &host, transport) => {}
    }
}

async fn run(cluster: &Arc<Shared>, broker: i32, number: u64, host: &str, transport: Transport) -> io::Result<()> {
    let Transport { mut reader, mut writer } = transport;
    let mut frames = Frames::new(MAX_REQUEST, Buffers::default());
    loop {
        while let Some(frame) = frames.next().map_err(|_| io::ErrorKind::InvalidData)? {
            match dispatch::answer(cluster, broker, number, host, frame).await {
                Reply::Send(frame) => write(&mut *writer, frame.parts).await?,
                Reply::Cut(frame, at) => {
                    let whole = frame.into_bytes();
                    return write(&mut *writer, vec![whole.slice(..at.min(whole.len()))]).await;
                }
                Reply::Nothing => {}
                Reply::Close => return Ok(()),
                Reply::Silence => std::future::pending().await,
            }
        }
        if reader.read_buf(frames.space()).await? == 0 {
            return Ok(());
        }
    }
}

async fn write(writer: &mut (dyn AsyncWrite + Send + Unpin), mut parts: Vec<Bytes>) -> io::Result<()> {
    let mut first = 0;
    while first < parts.len() {
        let mut slices = [IoSlice::new(&[]); MAX_PARTS];
        let count = (parts.len() - first).min(MAX_PARTS);
        for (slice, part) in slices.iter_mut().zip(&parts[first..]) {
            *slice = IoSlice::new(part);
        }
        let mut written = writer.write_vectored(&slices[..count]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while first < parts.len() && written >= parts[first].len() {
            written -= parts[first].len();
            first += 1;
        }
        if let Some(part) = parts.get_mut(first) {
            part.advance(written);
        }
    }
    writer.flush().await
}
