//! FlowSchemas and PriorityLevelConfigurations, read: to which level a request belongs and how many run there at once. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, NonResourcePolicyRule, PolicyRulesWithSubjects, PriorityLevelConfiguration, ResourcePolicyRule, Subject,
};

use crate::server::http::authn::User;
use crate::server::http::route::RequestInfo;

const ANY: &str = "*";

/// What happens to requests that find no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Reject,
    Queue { queues: usize, hand: usize, length: usize },
}

/// One priority level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    pub name: Arc<str>,
    pub uid: Arc<str>,
    /// `None` is not limited at all.
    pub limit: Option<Limit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Requests that run at once by right.
    pub seats: usize,
    /// Of these, what others may have while they are free.
    pub lendable: usize,
    /// What may be had of others.
    pub borrowable: usize,
    pub full: Full,
}

/// The objects, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Config {
    schemas: Vec<FlowSchema>,
    levels: Vec<Level>,
}

/// To which level a request belongs.
#[derive(Clone, Debug)]
pub struct Class<'a> {
    pub level: &'a Level,
    pub schema: &'a str,
    pub schema_uid: &'a str,
    /// The same for all requests of a flow.
    pub flow: u64,
}

impl Config {
    /// `seats`: all requests that the server runs at once.
    pub fn new(mut schemas: Vec<FlowSchema>, levels: &[PriorityLevelConfiguration], seats: usize) -> Self {
        let order = |schema: &FlowSchema| {
            let precedence = schema.spec.as_ref().and_then(|spec| spec.matching_precedence).unwrap_or(1000);
            (precedence, schema.metadata.name.clone())
        };
        schemas.sort_by_key(order);
        let total: i64 = levels.iter().map(shares).sum();
        let levels = levels.iter().map(|level| read(level, seats, total));
        Self { schemas, levels: levels.collect() }
    }

    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// `None` where no schema fits, or where its level does not exist: such a request is not held up.
    pub fn classify(&self, user: &User, request: &RequestInfo) -> Option<Class<'_>> {
        self.schemas.iter().find_map(|schema| {
            let spec = schema.spec.as_ref()?;
            if !spec.rules.iter().flatten().any(|rule| fits(rule, user, request)) {
                return None;
            }
            let wanted = &spec.priority_level_configuration.name;
            let level = self.levels.iter().find(|level| *level.name == **wanted)?;
            let name = schema.metadata.name.as_deref().unwrap_or_default();
            let distinguisher = match spec.distinguisher_method.as_ref().map(|method| method.type_.as_str()) {
                Some("ByUser") => user.name.as_str(),
                Some("ByNamespace") => request.namespace.as_str(),
                _ => "",
            };
            let mut hasher = DefaultHasher::new();
            (name, distinguisher).hash(&mut hasher);
            let schema_uid = schema.metadata.uid.as_deref().unwrap_or_default();
            Some(Class { level, schema: name, schema_uid, flow: hasher.finish() })
        })
    }
}

fn shares(level: &PriorityLevelConfiguration) -> i64 {
    let Some(spec) = &level.spec else { return 0 };
    let limited = spec.limited.as_ref().and_then(|limited| limited.nominal_concurrency_shares);
    let exempt = spec.exempt.as_ref().and_then(|exempt| exempt.nominal_concurrency_shares);
    i64::from(if spec.type_ == "Exempt" { exempt.unwrap_or(0) } else { limited.unwrap_or(30) })
}

fn read(level: &PriorityLevelConfiguration, seats: usize, total: i64) -> Level {
    let text = |text: &Option<String>| -> Arc<str> { text.as_deref().unwrap_or_default().into() };
    let spec = level.spec.clone().unwrap_or_default();
    let limit = spec.limited.filter(|_| spec.type_ != "Exempt").map(|limited| {
        let part = seats as f64 * shares(level) as f64 / total.max(1) as f64;
        let own = part.ceil() as usize;
        let percent = |percent: Option<i32>| percent.map(|percent| (own as f64 * f64::from(percent) / 100.0) as usize);
        let queuing = limited.limit_response.as_ref().and_then(|response| response.queuing.clone());
        let number = |number: Option<i32>, otherwise: usize| {
            number.and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0).unwrap_or(otherwise)
        };
        let queues = limited.limit_response.as_ref().is_some_and(|response| response.type_ == "Queue");
        let queuing = queuing.unwrap_or_default();
        let full = match queues {
            true => Full::Queue {
                queues: number(queuing.queues, 64),
                hand: number(queuing.hand_size, 8),
                length: number(queuing.queue_length_limit, 50),
            },
            false => Full::Reject,
        };
        let lendable = percent(limited.lendable_percent).unwrap_or(0).min(own);
        let borrowable = percent(limited.borrowing_limit_percent).unwrap_or(seats);
        Limit { seats: own, lendable, borrowable, full }
    });
    Level { name: text(&level.metadata.name), uid: text(&level.metadata.uid), limit }
}

fn fits(rule: &PolicyRulesWithSubjects, user: &User, request: &RequestInfo) -> bool {
    let asked = match request.is_resource {
        true => rule.resource_rules.iter().flatten().any(|rule| fits_resource(rule, request)),
        false => rule.non_resource_rules.iter().flatten().any(|rule| fits_path(rule, request)),
    };
    asked && rule.subjects.iter().any(|subject| is_subject(subject, user))
}

fn is_subject(subject: &Subject, user: &User) -> bool {
    match subject.kind.as_str() {
        "User" => subject.user.as_ref().is_some_and(|one| one.name == ANY || one.name == user.name),
        "Group" => subject.group.as_ref().is_some_and(|one| one.name == ANY || user.in_group(&one.name)),
        "ServiceAccount" => subject.service_account.as_ref().is_some_and(|one| {
            let account = user.name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
            account.is_some_and(|(namespace, name)| namespace == one.namespace && (one.name == ANY || one.name == name))
        }),
        _ => false,
    }
}

fn holds(list: &[String], value: &str) -> bool {
    list.iter().any(|one| one == ANY || one == value)
}

fn fits_resource(rule: &ResourcePolicyRule, request: &RequestInfo) -> bool {
    let resource = match request.subresource.as_str() {
        "" => request.resource.clone(),
        sub => format!("{}/{sub}", request.resource),
    };
    let placed = match request.namespace.as_str() {
        "" => rule.cluster_scope == Some(true),
        namespace => holds(rule.namespaces.as_deref().unwrap_or_default(), namespace),
    };
    placed
        && holds(&rule.verbs, &request.verb)
        && holds(&rule.api_groups, &request.group)
        && holds(&rule.resources, &resource)
}

fn fits_path(rule: &NonResourcePolicyRule, request: &RequestInfo) -> bool {
    let path = request.path.as_str();
    let below = |url: &str| url.strip_suffix("/*").is_some_and(|root| path.starts_with(&format!("{root}/")));
    holds(&rule.verbs, &request.verb)
        && rule.non_resource_urls.iter().any(|url| url == ANY || url == path || below(url))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::server::http::route::request_info;
    use crate::server::pipeline::query::Query;

    /// The objects that every cluster has.
    pub fn defaults(seats: usize) -> Config {
        let (mut schemas, mut levels) = (Vec::new(), Vec::new());
        for text in include_str!("../../../../manifests/flowcontrol.yaml").split("\n---\n") {
            match text.contains("kind: FlowSchema") {
                true => schemas.push(serde_yaml_ng::from_str(text).unwrap()),
                false => levels.push(serde_yaml_ng::from_str(text).unwrap()),
            }
        }
        Config::new(schemas, &levels, seats)
    }

    #[test]
    fn requests_belong_to_upstreams_levels() {
        let config = defaults(600);
        let nodes = User::node("n");
        let account = User::service_account("default", "a", "");
        let system = User::service_account("kube-system", "a", "");
        let cases = [
            (User::admin(), "GET", "/api/v1/pods", "exempt", "exempt"),
            (User::anonymous(), "GET", "/readyz", "probes", "exempt"),
            (User::anonymous(), "GET", "/version", "global-default", "global-default"),
            (nodes.clone(), "PATCH", "/api/v1/nodes/n/status", "system-node-high", "node-high"),
            (nodes, "GET", "/api/v1/pods", "system-nodes", "system"),
            (User::scheduler(), "GET", "/api/v1/pods", "kube-scheduler", "workload-high"),
            (
                account.clone(),
                "PUT",
                "/apis/coordination.k8s.io/v1/namespaces/n/leases/l",
                "workload-leader-election",
                "leader-election",
            ),
            (account, "GET", "/api/v1/namespaces/n/secrets", "service-accounts", "workload-low"),
            (system, "GET", "/api/v1/namespaces/n/secrets", "kube-system-service-accounts", "workload-high"),
            (User::new("alice", &[]), "GET", "/api/v1/nodes", "global-default", "global-default"),
        ];
        for (user, method, path, schema, level) in cases {
            let info = request_info(&method.parse().unwrap(), path, &Query::parse(None));
            let class = config.classify(&user, &info).unwrap();
            assert_eq!((class.schema, &*class.level.name), (schema, level), "{} {path}", user.name);
        }
    }

    #[test]
    fn seats_are_shared_out() {
        let config = defaults(600);
        let of = |name: &str| config.levels().iter().find(|level| *level.name == *name).unwrap().limit;
        assert_eq!(of("exempt"), None);
        let low = of("workload-low").unwrap();
        // 100 of 245 shares of 600.
        assert_eq!((low.seats, low.lendable), (245, 220));
        assert_eq!(of("catch-all").unwrap().full, Full::Reject);
        assert_eq!(low.full, Full::Queue { queues: 128, hand: 6, length: 50 });
    }
}
