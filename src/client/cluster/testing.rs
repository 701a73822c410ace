//! A cluster of scripted brokers in memory: answers ApiVersions, Metadata and FindCoordinator from a state that tests
//! change as they go, everything else by hooks. For tests of this room and those above it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::client::ClientConfig;
use crate::client::cluster::Cluster;
use crate::env::watch;
use crate::env::{Env, lock};
use crate::error::Result;
use crate::net::testing::{Net, Peer, Received, all_versions};
use crate::wire::messages::find_coordinator::Coordinator;
use crate::wire::messages::metadata::{Broker, Partition, Topic};
use crate::wire::messages::*;
use crate::wire::{ErrorCode, Request, Uuid};

type Hook = Arc<dyn Fn(i32, &Received) -> Box<dyn std::any::Any + Send> + Send + Sync>;

/// Clones share the cluster.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) net: Net,
    state: Arc<Mutex<State>>,
}

pub(crate) struct State {
    pub(crate) cluster_id: String,
    /// Ports at host "kafka", in Metadata answers.
    pub(crate) brokers: BTreeMap<i32, u16>,
    pub(crate) topics: BTreeMap<String, FakeTopic>,
    /// Topics that nobody may see.
    pub(crate) forbidden: std::collections::BTreeSet<String>,
    /// Answered to every Metadata request if set.
    pub(crate) metadata_error: ErrorCode,
    /// Of every group, or an error.
    pub(crate) coordinator: Result<i32, ErrorCode>,
    /// Every request: broker, API, version.
    pub(crate) log: Vec<(i32, i16, i16)>,
    /// Topics of each Metadata request.
    pub(crate) asked: Vec<Vec<String>>,
    alive: BTreeMap<u16, Arc<watch::Sender<bool>>>,
    hooks: BTreeMap<i16, Hook>,
}

#[derive(Clone)]
pub(crate) struct FakeTopic {
    pub(crate) id: Uuid,
    /// Leader and epoch of each partition.
    pub(crate) partitions: Vec<(i32, i32)>,
}

impl Fake {
    /// Brokers 1 to `brokers` at kafka:9001 and so on.
    pub(crate) fn new(brokers: i32) -> Self {
        let state = State {
            cluster_id: "fake".into(),
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            forbidden: Default::default(),
            metadata_error: ErrorCode::NONE,
            coordinator: Ok(1),
            log: Vec::new(),
            asked: Vec::new(),
            alive: BTreeMap::new(),
            hooks: BTreeMap::new(),
        };
        let fake = Self { net: Net::default(), state: Arc::new(Mutex::new(state)) };
        for id in 1..=brokers {
            fake.start(id, 9000 + id as u16);
        }
        fake
    }

    /// Starts broker `id` at a port, and names it there in Metadata answers.
    pub(crate) fn start(&self, id: i32, port: u16) {
        let alive = Arc::new(watch::Sender::new(true));
        {
            let mut state = lock(&self.state);
            state.brokers.insert(id, port);
            state.alive.insert(port, alive.clone());
        }
        let fake = self.clone();
        self.net.listen("kafka", port, move |peer| {
            let (fake, mut alive) = (fake.clone(), alive.subscribe());
            async move {
                tokio::select! {
                    biased;
                    _ = alive.wait_for(|alive| !alive) => {}
                    () = fake.serve(id, peer) => {}
                }
            }
        });
    }

    /// The broker at this port closes its connections and refuses new ones.
    pub(crate) fn kill(&self, port: u16) {
        self.net.refuse("kafka", port);
        if let Some(alive) = lock(&self.state).alive.remove(&port) {
            alive.send_replace(false);
        }
    }

    pub(crate) fn topic(&self, name: &str, id: u8, partitions: &[(i32, i32)]) {
        let topic = FakeTopic { id: Uuid([id; 16]), partitions: partitions.to_vec() };
        lock(&self.state).topics.insert(name.into(), topic);
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut lock(&self.state))
    }

    /// How many requests of this API came in, at all brokers.
    pub(crate) fn count<R: Request>(&self) -> usize {
        self.with(|s| s.log.iter().filter(|(_, key, _)| *key == R::KEY).count())
    }

    /// Answers an API: the function gets the broker's id and the request.
    pub(crate) fn on<R>(&self, answer: impl Fn(i32, R) -> R::Response + Send + Sync + 'static)
    where
        R: Request,
        R::Response: Send + 'static,
    {
        let hook: Hook = Arc::new(move |broker, received| Box::new(answer(broker, received.decode::<R>())));
        lock(&self.state).hooks.insert(R::KEY, hook);
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let ports = self.with(|s| s.brokers.values().copied().collect::<Vec<_>>());
        let brokers = ports.iter().map(|port| format!("kafka:{port}")).collect();
        ClientConfig { brokers, ..ClientConfig::default() }
    }

    pub(crate) async fn connect(&self) -> Cluster {
        Cluster::connect(self.config(), Env::simulated(7, self.net.clone())).await.unwrap()
    }

    async fn serve(&self, id: i32, mut peer: Peer) {
        while let Some(request) = peer.request().await {
            let (key, version) = (request.header.api_key, request.header.api_version);
            self.with(|s| s.log.push((id, key, version)));
            match key {
                ApiVersionsRequest::KEY => peer.answer::<ApiVersionsRequest>(&request, &all_versions()).await,
                MetadataRequest::KEY => {
                    let response = self.metadata(request.decode());
                    peer.answer::<MetadataRequest>(&request, &response).await;
                }
                FindCoordinatorRequest::KEY => {
                    let response = self.coordinator(&request.decode());
                    peer.answer::<FindCoordinatorRequest>(&request, &response).await;
                }
                _ => self.hooked(id, &request, &mut peer).await,
            }
        }
    }

    async fn hooked(&self, id: i32, request: &Received, peer: &mut Peer) {
        let hook = self.with(|s| s.hooks.get(&request.header.api_key).cloned());
        let answer = hook.unwrap_or_else(|| panic!("no hook for API {}", request.header.api_key))(id, request);
        if let Some(fetched) = answer.downcast_ref::<FetchResponse>()
            && fetched.responses.is_empty()
            && fetched.error_code == ErrorCode::NONE
        {
            // A long poll. What is written meanwhile is found by the next one.
            let wait = request.decode::<FetchRequest>().max_wait_ms;
            #[allow(clippy::disallowed_methods, reason = "the broker's side")]
            tokio::time::sleep(std::time::Duration::from_millis(wait.unsigned_abs().into())).await;
        }
        macro_rules! answer {
            ($($api:ident)*) => {
                $(if let Some(response) = answer.downcast_ref::<<$api as Request>::Response>() {
                    return peer.answer::<$api>(request, response).await;
                })*
            };
        }
        for_each_api!(answer);
    }

    fn metadata(&self, request: MetadataRequest) -> MetadataResponse {
        let names = request.topics.unwrap_or_default().into_iter().map(|t| t.name.unwrap_or_default().to_string());
        let names: Vec<String> = names.collect();
        self.with(|state| {
            let topics = names.iter().map(|name| match state.topics.get(name) {
                None => Topic {
                    name: Some(name.as_str().into()),
                    error_code: match state.forbidden.contains(name) {
                        true => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
                        false => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    },
                    ..Default::default()
                },
                Some(topic) => {
                    let partitions = topic.partitions.iter().enumerate().map(|(i, &(leader_id, leader_epoch))| {
                        Partition { partition_index: i as i32, leader_id, leader_epoch, ..Default::default() }
                    });
                    let (name, topic_id) = (Some(name.as_str().into()), topic.id);
                    Topic { name, topic_id, partitions: partitions.collect(), ..Default::default() }
                }
            });
            let topics = topics.collect();
            let brokers = state.brokers.iter().map(|(&node_id, &port)| Broker {
                node_id,
                host: "kafka".into(),
                port: i32::from(port),
                ..Default::default()
            });
            let response = MetadataResponse {
                brokers: brokers.collect(),
                cluster_id: Some(state.cluster_id.as_str().into()),
                controller_id: 1,
                topics,
                error_code: state.metadata_error,
                ..Default::default()
            };
            state.asked.push(names);
            response
        })
    }

    fn coordinator(&self, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
        self.with(|state| {
            let (node_id, error_code) = state.coordinator.map_or_else(|e| (-1, e), |id| (id, ErrorCode::NONE));
            let port = state.brokers.get(&node_id).map_or(-1, |&p| i32::from(p));
            let found = |key: &crate::wire::StrBytes| Coordinator {
                key: key.clone(),
                node_id,
                host: "kafka".into(),
                port,
                error_code,
                ..Default::default()
            };
            let coordinators = request.coordinator_keys.iter().map(found).collect();
            FindCoordinatorResponse { coordinators, ..Default::default() }
        })
    }
}

impl Fake {
    /// A seed that is not at any broker's address, such as a load balancer.
    pub(crate) async fn serve_seed(self, peer: Peer) {
        self.serve(-1, peer).await;
    }
}
