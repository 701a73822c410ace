//! A proxy between clients and one broker that stalls at a chosen moment: the n-th request of an API that one client sends
//! is held, before the broker has it or before the client has the answer, and with it all that its connection carries
//! after it. The broker's listener must name the proxy's port: see `Builder::listener_behind`. And a plain one that counts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Which side of a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The broker does not get it.
    Request,
    /// The broker has done it, and the client does not hear of it.
    Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Held,
    Released,
}

struct Rule {
    client: String,
    api: i16,
    left: usize,
    side: Side,
    stage: Arc<watch::Sender<Stage>>,
}

#[derive(Default)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
}

/// A rule of the proxy: what it waits for, and whether that was held.
pub struct Hold {
    stage: Arc<watch::Sender<Stage>>,
}

impl Hold {
    /// Waits until the request (or its answer) is held.
    pub async fn held(&self) {
        let mut stage = self.stage.subscribe();
        super::within(Duration::from_secs(30), "the request to hold", stage.wait_for(|s| *s != Stage::Waiting))
            .await
            .unwrap();
    }

    /// Lets it go on its way, whoever is still there.
    pub fn release(&self) {
        self.stage.send_replace(Stage::Released);
    }
}

/// A running proxy; it ends with the runtime that it was started on.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    to: watch::Sender<Option<SocketAddr>>,
}

impl Proxy {
    /// Listens; connections wait until [`Proxy::lead_to`] says where they go.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (shared, (to, leads)) = (Arc::new(Shared::default()), watch::channel(None));
        let rules = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, leads.clone(), rules.clone()));
            }
        });
        Self { port, shared, to }
    }

    /// The broker behind it.
    pub fn lead_to(&self, address: &str) {
        self.to.send_replace(Some(address.parse().unwrap()));
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Holds the `nth` (from 1) request of this API that `client` sends from now on.
    pub fn hold(&self, client: &str, api: i16, nth: usize, side: Side) -> Hold {
        let stage = Arc::new(watch::Sender::new(Stage::Waiting));
        let rule = Rule { client: client.to_owned(), api, left: nth, side, stage: stage.clone() };
        self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
        Hold { stage }
    }
}

/// A held request's correlation id and its rule's stage.
type Held = (i32, Arc<watch::Sender<Stage>>);

async fn serve(client: TcpStream, mut leads: watch::Receiver<Option<SocketAddr>>, shared: Arc<Shared>) {
    let Ok(Some(to)) = leads.wait_for(Option::is_some).await.map(|to| *to) else { return };
    let Ok(broker) = TcpStream::connect(to).await else { return };
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
    let answers = Arc::new(Mutex::new(Vec::<Held>::new()));
    tokio::spawn(backward(from_broker, to_client, answers.clone()));
    forward(from_client, to_broker, &shared, &answers).await;
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    answers: &Mutex<Vec<Held>>,
) -> Option<()> {
    loop {
        let frame = frame(&mut from).await?;
        if let Some((correlation, side, stage)) = matching(shared, &frame) {
            match side {
                Side::Request => pass(&stage).await,
                Side::Answer => answers.lock().unwrap_or_else(PoisonError::into_inner).push((correlation, stage)),
            }
        }
        to.write_all(&frame).await.ok()?;
    }
}

async fn backward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, answers: Arc<Mutex<Vec<Held>>>) -> Option<()> {
    loop {
        let frame = frame(&mut from).await?;
        let correlation = i32::from_be_bytes(*frame.get(4..)?.first_chunk()?);
        let held = {
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            let found = answers.iter().position(|(id, _)| *id == correlation);
            found.map(|found| answers.swap_remove(found).1)
        };
        if let Some(stage) = held {
            pass(&stage).await;
        }
        to.write_all(&frame).await.ok()?;
    }
}

/// Tells that it is held, and waits until it is released.
async fn pass(stage: &watch::Sender<Stage>) {
    stage.send_if_modified(|stage| *stage == Stage::Waiting && std::mem::replace(stage, Stage::Held) == Stage::Waiting);
    let _ = stage.subscribe().wait_for(|stage| *stage == Stage::Released).await;
}

/// A length-prefixed frame, its length included.
async fn frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame).await.ok()?;
    let length = u32::from_be_bytes(*frame.first_chunk()?) as usize;
    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}

/// Api key, version, correlation id and client id stand in this order in every request header.
fn matching(shared: &Shared, frame: &[u8]) -> Option<(i32, Side, Arc<watch::Sender<Stage>>)> {
    let header = frame.get(4..)?;
    let api = i16::from_be_bytes(*header.first_chunk()?);
    let correlation = i32::from_be_bytes(*header.get(4..)?.first_chunk()?);
    let length = usize::try_from(i16::from_be_bytes(*header.get(8..)?.first_chunk()?)).ok()?;
    let client = header.get(10..10 + length)?;
    let mut rules = shared.rules.lock().unwrap_or_else(PoisonError::into_inner);
    let rule = rules.iter_mut().find(|rule| rule.left > 0 && rule.api == api && rule.client.as_bytes() == client)?;
    rule.left -= 1;
    (rule.left == 0).then(|| (correlation, rule.side, rule.stage.clone()))
}

/// Leads connections on to `address` and counts them.
pub async fn counting(address: &str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let (counted, to) = (Arc::new(AtomicUsize::new(0)), address.to_owned());
    let counts = counted.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counts.fetch_add(1, Ordering::Relaxed);
            let to = to.clone();
            tokio::spawn(async move {
                let mut broker = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut broker).await;
            });
        }
    });
    (at, counted)
}
