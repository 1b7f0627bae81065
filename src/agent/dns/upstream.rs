//! The host's resolvers, for everything that is not of the cluster: a stub with a cache. It follows the host's
//! `resolv.conf` as questions come in, since a laptop changes its network; without a resolver it fails at once.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::net::{DnsError, NetError};
use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::{Name, Record, RecordType};
use hickory_server::resolver::TokioResolver;
use hickory_server::resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_server::resolver::system_conf::parse_resolv_conf;
use parking_lot::Mutex;

/// What the host's resolvers said.
pub enum Found {
    Records {
        answers: Vec<Record>,
    },
    /// The name, or records of this type, do not exist.
    None {
        code: ResponseCode,
        soa: Option<Box<Record>>,
    },
    Failed,
}

pub struct Upstream {
    path: PathBuf,
    /// Asking ourselves would never end.
    own: IpAddr,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    checked: Option<Instant>,
    modified: Option<SystemTime>,
    resolver: Option<Arc<TokioResolver>>,
}

impl Upstream {
    pub fn new(path: PathBuf, own: Ipv4Addr) -> Self {
        Self { path, own: own.into(), current: Mutex::default() }
    }

    pub async fn lookup(&self, name: &Name, kind: RecordType) -> Found {
        let Some(resolver) = self.resolver() else { return Found::Failed };
        let mut name = name.clone();
        name.set_fqdn(true);
        match resolver.lookup(name, kind).await {
            Ok(lookup) => Found::Records { answers: lookup.answers().to_vec() },
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                Found::None { code: none.response_code, soa: none.soa.map(|soa| Box::new(soa.into_record_of_rdata())) }
            }
            Err(error) => {
                tracing::debug!(%error, "asking the host's resolvers");
                Found::Failed
            }
        }
    }

    /// The resolver for the file as it is; the file is looked at again at most every other second.
    fn resolver(&self) -> Option<Arc<TokioResolver>> {
        const FRESH: Duration = Duration::from_secs(2);
        let mut current = self.current.lock();
        if current.checked.is_some_and(|checked| checked.elapsed() < FRESH) {
            return current.resolver.clone();
        }
        current.checked = Some(Instant::now());
        let modified = self.path.metadata().and_then(|meta| meta.modified()).ok();
        if modified.is_none() || modified != current.modified {
            current.modified = modified;
            current.resolver = self.build();
        }
        current.resolver.clone()
    }

    fn build(&self) -> Option<Arc<TokioResolver>> {
        let text = std::fs::read(&self.path).ok()?;
        let servers: Vec<NameServerConfig> = match parse_resolv_conf(text) {
            Ok((config, _)) => config.name_servers().iter().filter(|server| server.ip != self.own).cloned().collect(),
            Err(error) => {
                tracing::info!(path = %self.path.display(), %error, "no resolver for names outside the cluster");
                return None;
            }
        };
        if servers.is_empty() {
            return None;
        }
        let config = ResolverConfig::from_name_servers(servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = Duration::from_secs(2);
        options.attempts = 2;
        options.cache_size = 4096;
        options.use_hosts_file = ResolveHosts::Never;
        options.preserve_intermediates = true;
        match builder.build() {
            Ok(resolver) => Some(Arc::new(resolver)),
            Err(error) => {
                tracing::warn!(%error, "no resolver for names outside the cluster");
                None
            }
        }
    }
}
