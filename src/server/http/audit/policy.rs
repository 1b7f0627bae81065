//! The audit policy (`audit.k8s.io/v1` Policy): which requests are recorded, and how much of them. Pure.
//!
//! Rules are tried in order and the first that fits decides; what no rule fits is not recorded.

use serde::Deserialize;

use crate::server::http::authn::User;
use crate::server::http::route::RequestInfo;

/// How much is recorded of a request; each includes the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Level {
    #[default]
    None,
    Metadata,
    Request,
    RequestResponse,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// When in a request's life an event is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    api_version: String,
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde::de::IgnoredAny,
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What the policy says of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub level: Level,
    pub omit_stages: Vec<Stage>,
    pub omit_managed_fields: bool,
}

/// Why a text is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("{0}")]
    Syntax(#[from] serde_yaml_ng::Error),
    #[error("unknown group version field {0:?} in policy")]
    Version(String),
    #[error("kind must be Policy")]
    Kind,
    #[error("loaded illegal policy with 0 rules")]
    Empty,
    #[error("rules[{0}]: rules cannot apply to both regular resources and non-resource URLs")]
    Both(usize),
}

impl Policy {
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = serde_yaml_ng::from_str(text)?;
        if policy.api_version != "audit.k8s.io/v1" {
            return Err(PolicyError::Version(policy.api_version));
        }
        if policy.kind != "Policy" {
            return Err(PolicyError::Kind);
        }
        if policy.rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        let both = |rule: &Rule| {
            let about_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            about_resources && !rule.non_resource_urls.is_empty()
        };
        match policy.rules.iter().position(both) {
            Some(at) => Err(PolicyError::Both(at)),
            None => Ok(policy),
        }
    }

    /// `user` is nobody where authentication failed.
    pub fn verdict(&self, user: Option<&User>, request: &RequestInfo) -> Verdict {
        let Some(rule) = self.rules.iter().find(|rule| rule.fits(user, request)) else { return Verdict::default() };
        Verdict {
            level: rule.level,
            omit_stages: self.omit_stages.iter().chain(&rule.omit_stages).copied().collect(),
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn fits(&self, user: Option<&User>, request: &RequestInfo) -> bool {
        let named = |user: &User| self.users.contains(&user.name);
        let grouped = |user: &User| user.groups.iter().any(|group| self.user_groups.contains(group));
        if !self.users.is_empty() && !user.is_some_and(named) {
            return false;
        }
        if !self.user_groups.is_empty() && !user.is_some_and(grouped) {
            return false;
        }
        if !self.verbs.is_empty() && !self.verbs.contains(&request.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return self.fits_resource(request);
        }
        if !self.non_resource_urls.is_empty() {
            return !request.is_resource && self.non_resource_urls.iter().any(|url| fits_path(url, &request.path));
        }
        true
    }

    fn fits_resource(&self, request: &RequestInfo) -> bool {
        let placed = self.namespaces.is_empty() || self.namespaces.contains(&request.namespace);
        request.is_resource
            && placed
            && (self.resources.is_empty() || self.resources.iter().any(|resources| resources.fit(request)))
    }
}

impl GroupResources {
    fn fit(&self, request: &RequestInfo) -> bool {
        if self.group != request.group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        let named = self.resource_names.is_empty() || self.resource_names.contains(&request.name);
        named && self.resources.iter().any(|pattern| fits_resource_name(pattern, request))
    }
}

/// `*`, `pods`, `pods/log`, `pods/*`, `*/scale`.
fn fits_resource_name(pattern: &str, request: &RequestInfo) -> bool {
    let sub = request.subresource.as_str();
    let whole = match sub {
        "" => request.resource.clone(),
        sub => format!("{}/{sub}", request.resource),
    };
    pattern == "*"
        || pattern == whole
        || pattern.strip_prefix("*/").is_some_and(|wanted| !sub.is_empty() && wanted == sub)
        || pattern.strip_suffix("/*").is_some_and(|wanted| wanted == request.resource)
}

fn fits_path(pattern: &str, path: &str) -> bool {
    pattern == "*" || pattern == path || (pattern.ends_with('*') && path.starts_with(pattern.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::route::request_info;
    use crate::server::pipeline::query::Query;

    const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: [system:kube-proxy], verbs: [watch]}
- {level: None, nonResourceURLs: ['/healthz*', /version]}
- {level: RequestResponse, resources: [{group: '', resources: [pods/log, '*/scale']}], omitManagedFields: true}
- {level: Request, namespaces: [kube-system], resources: [{group: '', resources: [secrets], resourceNames: [a]}]}
- {level: Metadata, userGroups: [system:authenticated], omitStages: [ResponseStarted]}
";

    fn level(user: &str, method: &str, path: &str) -> Level {
        let policy = Policy::parse(POLICY).unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let info = request_info(&method.parse().unwrap(), path, &Query::parse(Some(query)));
        policy.verdict(Some(&User::new(user, &[])), &info).level
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let cases = [
            ("system:kube-proxy", "GET", "/api/v1/pods?watch=1", Level::None),
            ("system:kube-proxy", "GET", "/api/v1/pods", Level::Metadata),
            ("a", "GET", "/healthz/etcd", Level::None),
            ("a", "GET", "/version", Level::None),
            ("a", "GET", "/version/x", Level::Metadata),
            ("a", "GET", "/api/v1/namespaces/n/pods/p/log", Level::RequestResponse),
            ("a", "PUT", "/api/v1/namespaces/n/replicationcontrollers/p/scale", Level::RequestResponse),
            ("a", "GET", "/api/v1/namespaces/kube-system/secrets/a", Level::Request),
            ("a", "GET", "/api/v1/namespaces/kube-system/secrets/b", Level::Metadata),
            ("a", "GET", "/api/v1/namespaces/other/secrets/a", Level::Metadata),
        ];
        for (user, method, path, wanted) in cases {
            assert_eq!(level(user, method, path), wanted, "{user} {method} {path}");
        }
        let policy = Policy::parse(POLICY).unwrap();
        let info = request_info(&http::Method::GET, "/api", &Query::parse(None));
        assert_eq!(policy.verdict(None, &info), Verdict::default());
        let verdict = policy.verdict(Some(&User::admin()), &info);
        assert_eq!(verdict.omit_stages, [Stage::RequestReceived, Stage::ResponseStarted]);
    }

    #[test]
    fn what_is_no_policy_is_told() {
        let cases = [
            ("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: []}", "loaded illegal policy with 0 rules"),
            ("{apiVersion: v1, kind: Policy, rules: [{level: None}]}", "unknown group version field \"v1\" in policy"),
            (
                "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None, namespaces: [a], nonResourceURLs: ['/a']}]}",
                "rules[0]: rules cannot apply to both regular resources and non-resource URLs",
            ),
        ];
        for (text, why) in cases {
            assert_eq!(Policy::parse(text).unwrap_err().to_string(), why);
        }
        let unknown = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: All}]}";
        assert!(Policy::parse(unknown).unwrap_err().to_string().contains("unknown variant `All`"));
    }
}
