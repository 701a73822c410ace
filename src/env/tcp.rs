//! TCP, the way to brokers outside of simulation; and the listening side of it, for the broker that lives in this process.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::net::TcpStream;

use super::{Dial, Transport};

fn transport(stream: TcpStream) -> io::Result<Transport> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(60));
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    let (reader, writer) = stream.into_split();
    Ok(Transport { reader: Box::new(reader), writer: Box::new(writer) })
}

/// A listening socket.
#[cfg(feature = "embedded")]
pub(crate) struct Listener(tokio::net::TcpListener);

#[cfg(feature = "embedded")]
impl Listener {
    /// Binds `host:port`; port 0 lets the system choose.
    pub(crate) async fn bind(host: &str, port: u16) -> io::Result<Self> {
        tokio::net::TcpListener::bind((host, port)).await.map(Self)
    }

    /// The port it got.
    pub(crate) fn port(&self) -> io::Result<u16> {
        Ok(self.0.local_addr()?.port())
    }

    /// The next connection and the address of its client, as Kafka writes it: `/127.0.0.1`. Cancel-safe.
    pub(crate) async fn accept(&self) -> io::Result<(Transport, String)> {
        let (stream, from) = self.0.accept().await?;
        Ok((transport(stream)?, format!("/{}", from.ip())))
    }
}

/// TCP with `TCP_NODELAY` and keep-alive.
pub(super) struct TcpDial;

#[async_trait]
impl Dial for TcpDial {
    async fn dial(&self, host: &str, port: u16) -> io::Result<Transport> {
        transport(connect(host, port).await?)
    }
}

/// What one address of a name gets before the next is tried as well (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// Tries every address the name has. One that swallows packets does not use up the caller's limit.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut addresses = tokio::net::lookup_host((host, port)).await?;
    let mut attempts = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if attempts.is_empty() {
            match addresses.next() {
                Some(address) => attempts.push(TcpStream::connect(address)),
                None => return Err(last),
            }
        }
        tokio::select! {
            biased;
            Some(outcome) = attempts.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            },
            () = tokio::time::sleep(HEAD_START) => attempts.extend(addresses.next().map(TcpStream::connect)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::env::Env;

    #[tokio::test]
    async fn a_name_is_reached_at_whichever_of_its_addresses_listens() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let env = Env::system();
        let (accepted, dialled) = tokio::join!(listener.accept(), env.dial("localhost", port));
        assert!(accepted.is_ok() && dialled.is_ok());
        drop(listener);
        assert!(env.dial("localhost", port).await.is_err());
    }
}
