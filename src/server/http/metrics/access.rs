//! Who is let in, and what they are let do: how often, with what result, how long it took. All labels are a few fixed
//! words, and every counter is there from the beginning: nothing is looked up for a request but a user's sort.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use super::super::authn::User;
use super::super::authz::Decision;

/// A counter that upstream named without the `_total` that OpenMetrics wants of counters.
#[derive(Clone, Debug, Default)]
struct Bare(Counter);

impl EncodeMetric for Bare {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&i64::try_from(self.0.get()).unwrap_or(i64::MAX))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Bare {
    const TYPE: MetricType = MetricType::Unknown;
}

type Label = [(&'static str, &'static str); 1];

/// Names that clusters have had since before they had more; everybody else is of a sort.
const USERS: [&str; 7] =
    ["admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default", "email_id", "other"];

fn sort(user: &str) -> usize {
    let known = USERS[..5].iter().position(|name| *name == user);
    known.unwrap_or(if user.contains('@') { 5 } else { 6 })
}

/// Good, then bad.
struct Outcomes<C> {
    counts: [C; 2],
    durations: [Histogram; 2],
}

impl<C: Clone + Default> Outcomes<C> {
    /// Also the families that show them.
    fn new(results: [&'static str; 2]) -> (Self, Family<Label, C>, Histograms) {
        let counts = Family::<Label, C>::default();
        let durations = Histograms::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15)));
        let label = |result| [("result", result)];
        let outcomes = Self {
            counts: results.map(|result| counts.get_or_create_owned(&label(result))),
            durations: results.map(|result| durations.get_or_create_owned(&label(result))),
        };
        (outcomes, counts, durations)
    }
}

type Histograms = Family<Label, Histogram, fn() -> Histogram>;

pub(in super::super) struct Access {
    users: [Bare; USERS.len()],
    authentications: Outcomes<Bare>,
    authorizations: Outcomes<Counter>,
}

impl Access {
    pub fn new(registry: &mut Registry) -> Self {
        let users = Family::<Label, Bare>::default();
        let (authentications, counts, durations) = Outcomes::new(["success", "error"]);
        registry.register("authentication_attempts", "Requests by how their authentication went", counts);
        let help = "How long authentication took, in seconds";
        registry.register("authentication_duration_seconds", help, durations);
        let (authorizations, counts, durations) = Outcomes::new(["allowed", "no-opinion"]);
        registry.register("authorization_attempts", "Requests by what the authorizer said", counts);
        let help = "How long authorization took, in seconds";
        registry.register("authorization_duration_seconds", help, durations);
        registry.register("authenticated_user_requests", "Requests by the sort of their user", users.clone());
        let users = USERS.map(|user| users.get_or_create_owned(&[("username", user)]));
        Self { users, authentications, authorizations }
    }

    /// Somebody's credentials were good, or were not.
    pub fn authenticated(&self, user: Option<&User>, took: Duration) {
        let Outcomes { counts, durations } = &self.authentications;
        let at = usize::from(user.is_none());
        counts[at].0.inc();
        durations[at].observe(took.as_secs_f64());
        if let Some(user) = user {
            self.users[sort(&user.name)].0.inc();
        }
    }

    pub fn authorized(&self, decision: &Decision, took: Duration) {
        let Outcomes { counts, durations } = &self.authorizations;
        let at = usize::from(matches!(decision, Decision::Deny(_)));
        counts[at].inc();
        durations[at].observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_is_told_under_upstreams_names() {
        let mut registry = Registry::default();
        let access = Access::new(&mut registry);
        for user in ["kubelet", "a@b.example", "system:node:a", "system:serviceaccount:kube-system:default"] {
            access.authenticated(Some(&User::new(user, &[])), Duration::from_micros(5));
        }
        access.authenticated(None, Duration::ZERO);
        access.authorized(&Decision::Allow(String::new()), Duration::ZERO);
        access.authorized(&Decision::Deny(String::new()), Duration::ZERO);
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &registry).unwrap();
        let told = crate::api::exposition::plain(&out);
        for line in [
            "# TYPE authentication_attempts untyped",
            r#"authentication_attempts{result="success"} 4"#,
            r#"authentication_attempts{result="error"} 1"#,
            r#"authentication_duration_seconds_count{result="success"} 4"#,
            r#"authentication_duration_seconds_bucket{le="0.001",result="success"} 4"#,
            r#"authenticated_user_requests{username="kubelet"} 1"#,
            r#"authenticated_user_requests{username="email_id"} 1"#,
            r#"authenticated_user_requests{username="other"} 1"#,
            r#"authenticated_user_requests{username="system:serviceaccount:kube-system:default"} 1"#,
            r#"authorization_attempts_total{result="allowed"} 1"#,
            r#"authorization_attempts_total{result="no-opinion"} 1"#,
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\n{told}");
        }
    }
}
