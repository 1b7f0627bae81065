//! What the node knows of Nodes, by one watch: its own as it is, and of the others only their place in the overlay, however
//! many they are. For the kubelet and the overlay. Never writes.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::net::overlay::{Backend, Mac, Peer, VNI};
use crate::reconcile::memory::{Memory, Remembered, remembered};
use crate::reconcile::relist;

const TYPE: &str = "flannel.alpha.coreos.com/backend-type";
const DATA: &str = "flannel.alpha.coreos.com/backend-data";
const PUBLIC_IP: &str = "flannel.alpha.coreos.com/public-ip";
const MANAGER: &str = "flannel.alpha.coreos.com/kube-subnet-manager";

/// What the watch is told.
#[derive(Clone)]
pub struct NodesConfig {
    pub client: Client,
    pub node_name: String,
    pub backend: Backend,
    /// Whether the other nodes matter.
    pub all: bool,
    /// The folder in which the watch is remembered, if it is.
    pub memory: Option<PathBuf>,
}

/// What a Node says of its place in the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub range: Option<Ipv4Net>,
    /// How it is reached, where it says so in the way of our backend.
    pub peer: Option<Peer>,
    /// The annotations as they are.
    pub annotations: BTreeMap<&'static str, String>,
}

/// Every node's place by the node's name; `None` before the first list.
pub type Places = Option<Arc<HashMap<String, Place>>>;

/// A handle on what is known. The watch ends with its last clone.
#[derive(Clone)]
pub struct Nodes {
    own: watch::Receiver<Option<Arc<Node>>>,
    places: watch::Receiver<Places>,
    _task: Arc<AbortOnDropHandle<()>>,
}

impl Nodes {
    /// Begins to watch.
    pub fn watch(config: NodesConfig) -> Self {
        let mut selection = watcher::Config::default();
        if !config.all {
            selection = selection.fields(&format!("metadata.name={}", config.node_name));
        }
        // What every node reports all the time and no other node needs.
        let without = &["/status/conditions", "/status/images"];
        let memory = config.memory.map(|dir| Memory { file: dir.join("nodes"), without, synced: false });
        let events = remembered(relist::watch(Api::<Node>::all(config.client), selection), memory);
        let (own, own_seen) = watch::channel(None);
        let (places, places_seen) = watch::channel(None);
        let follower =
            Follower { name: config.node_name, backend: config.backend, own, places, fresh: (None, HashMap::new()) };
        let task = Arc::new(AbortOnDropHandle::new(tokio::spawn(follower.follow(events))));
        Self { own: own_seen, places: places_seen, _task: task }
    }

    /// This node's own Node; `None` while it is not known or does not exist.
    pub fn own(&self) -> watch::Receiver<Option<Arc<Node>>> {
        self.own.clone()
    }

    pub fn places(&self) -> watch::Receiver<Places> {
        self.places.clone()
    }
}

struct Follower {
    name: String,
    backend: Backend,
    own: watch::Sender<Option<Arc<Node>>>,
    places: watch::Sender<Places>,
    /// The list that is coming in.
    fresh: (Option<Arc<Node>>, HashMap<String, Place>),
}

impl Follower {
    async fn follow(mut self, mut events: Remembered<Node>) {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event),
                Err(error) => tracing::debug!(%error, "watching nodes"),
            }
        }
    }

    fn take(&mut self, event: Event<Node>) {
        match event {
            Event::Init => self.fresh = (None, HashMap::new()),
            Event::InitApply(node) => {
                self.fresh.1.insert(node.name_any(), place(&node, self.backend));
                if node.name_any() == self.name {
                    self.fresh.0 = Some(Arc::new(node));
                }
            }
            Event::InitDone => {
                let (own, places) = std::mem::take(&mut self.fresh);
                self.own.send_if_modified(|known| std::mem::replace(known, own.clone()) != own);
                self.change(|known| std::mem::replace(known, places.clone()) != places);
            }
            Event::Apply(node) => {
                let (name, place) = (node.name_any(), place(&node, self.backend));
                if name == self.name {
                    self.own.send_replace(Some(Arc::new(node)));
                }
                self.change(|known| known.insert(name, place.clone()).as_ref() != Some(&place));
            }
            Event::Delete(node) => {
                if node.name_any() == self.name {
                    self.own.send_replace(None);
                }
                self.change(|known| known.remove(&node.name_any()).is_some());
            }
        }
    }

    /// Changes the places, and tells of it where that made a difference or they are known for the first time.
    fn change(&self, change: impl FnOnce(&mut HashMap<String, Place>) -> bool) {
        self.places.send_if_modified(|known| {
            let first = known.is_none();
            change(Arc::make_mut(known.get_or_insert_default())) || first
        });
    }
}

/// What flannel writes of a node.
pub fn announcement(backend: Backend, name: &str, ip: Ipv4Addr) -> BTreeMap<&'static str, String> {
    let data = match backend {
        Backend::Vxlan => json!({"VNI": VNI, "VtepMAC": Mac::of_node(name).to_string()}),
        Backend::HostGateway => Value::Null,
    };
    BTreeMap::from([
        (TYPE, backend.name().to_owned()),
        (DATA, data.to_string()),
        (PUBLIC_IP, ip.to_string()),
        (MANAGER, "true".to_owned()),
    ])
}

fn place(node: &Node, backend: Backend) -> Place {
    let all = node.annotations();
    let annotations: BTreeMap<_, _> =
        [TYPE, DATA, PUBLIC_IP, MANAGER].into_iter().filter_map(|key| Some((key, all.get(key)?.clone()))).collect();
    let peer = || {
        let text = |key| annotations.get(key).map(String::as_str).unwrap_or_default();
        if text(TYPE) != backend.name() {
            return None;
        }
        let data: Value = serde_json::from_str(text(DATA)).ok()?;
        let mac = match backend {
            Backend::Vxlan if data["VNI"] == json!(VNI) => data["VtepMAC"].as_str()?.parse().ok()?,
            Backend::Vxlan => return None,
            Backend::HostGateway => Mac([0; 6]),
        };
        Some(Peer { node_ip: text(PUBLIC_IP).parse().ok()?, mac })
    };
    let peer = peer();
    Place { range: pod_range(node), peer, annotations }
}

/// The first IPv4 range of the node.
pub fn pod_range(node: &Node) -> Option<Ipv4Net> {
    let spec = node.spec.as_ref()?;
    let all = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    all.filter_map(|cidr| cidr.parse().ok()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(annotations: &BTreeMap<&str, String>) -> Node {
        let meta = json!({"name": "a", "annotations": annotations});
        serde_json::from_value(json!({"metadata": meta, "spec": {"podCIDRs": ["10.42.3.0/24"]}})).unwrap()
    }

    #[test]
    fn what_a_node_announces_is_what_others_read() {
        for backend in [Backend::Vxlan, Backend::HostGateway] {
            let wanted = announcement(backend, "a", [192, 0, 2, 1].into());
            let found = place(&node(&wanted), backend);
            assert_eq!(found.annotations, wanted);
            assert_eq!(found.range, Some("10.42.3.0/24".parse().unwrap()));
            let peer = found.peer.unwrap();
            assert_eq!(peer.node_ip, Ipv4Addr::from([192, 0, 2, 1]));
            assert_eq!(peer.mac == Mac::of_node("a"), backend == Backend::Vxlan);
        }
    }

    #[test]
    fn a_node_that_is_not_of_this_overlay_is_no_peer() {
        let good = announcement(Backend::Vxlan, "a", [192, 0, 2, 1].into());
        for (key, value) in [
            (TYPE, "host-gw"),
            (DATA, "{\"VNI\":2,\"VtepMAC\":\"02:00:00:00:00:01\"}"),
            (DATA, "{\"VNI\":1,\"VtepMAC\":\"nonsense\"}"),
            (DATA, "null"),
            (DATA, ""),
            (PUBLIC_IP, "::1"),
        ] {
            let mut bad = good.clone();
            bad.insert(key, value.to_owned());
            assert_eq!(place(&node(&bad), Backend::Vxlan).peer, None, "{key}={value}");
        }
    }

    #[test]
    fn a_report_that_says_nothing_of_a_place_wakes_nobody() {
        let (own, own_seen) = watch::channel(None);
        let (places, mut places_seen) = watch::channel(None);
        let backend = Backend::Vxlan;
        let mut follower = Follower { name: "b".into(), backend, own, places, fresh: Default::default() };
        let good = node(&announcement(backend, "a", [192, 0, 2, 1].into()));
        let mut told = |follower: &mut Follower, event| {
            follower.take(event);
            let told = places_seen.has_changed().unwrap();
            (told, places_seen.borrow_and_update().as_ref().map(|known| known.len()))
        };
        assert_eq!(told(&mut follower, Event::Init), (false, None));
        assert_eq!(told(&mut follower, Event::InitDone), (true, Some(0)), "an empty list is news");
        assert_eq!(told(&mut follower, Event::Apply(good.clone())), (true, Some(1)));
        let mut report = good.clone();
        report.metadata.labels = Some([("l".to_owned(), "x".to_owned())].into());
        assert_eq!(told(&mut follower, Event::Apply(report)), (false, Some(1)));
        assert_eq!(*own_seen.borrow(), None);
        let mut own = good.clone();
        own.metadata.name = Some("b".to_owned());
        assert_eq!(told(&mut follower, Event::Apply(own)), (true, Some(2)));
        assert!(own_seen.borrow().is_some());
        assert_eq!(told(&mut follower, Event::Init), (false, Some(2)));
        assert_eq!(told(&mut follower, Event::InitApply(good)), (false, Some(2)));
        assert_eq!(told(&mut follower, Event::InitDone), (true, Some(1)));
        assert_eq!(*own_seen.borrow(), None);
    }
}
