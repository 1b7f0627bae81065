//! RBAC's rules: which requests one matches, and whether some rules cover others. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::server::http::route::RequestInfo;

const ALL: &str = "*";

/// Whether the rule allows what the request asks (upstream's `RuleAllows`).
pub fn allows(rule: &PolicyRule, request: &RequestInfo) -> bool {
    let verb = || has(&rule.verbs, &request.verb);
    if !request.is_resource {
        return verb() && list(&rule.non_resource_urls).iter().any(|url| url_matches(url, &request.path));
    }
    let resource = || {
        let wanted = list(&rule.resources).iter();
        wanted.into_iter().any(|rule| resource_matches(rule, &request.resource, &request.subresource))
    };
    verb() && has(list(&rule.api_groups), &request.group) && resource() && {
        let names = list(&rule.resource_names);
        names.is_empty() || names.iter().any(|name| name == request.target())
    }
}

pub(super) fn list(values: &Option<Vec<String>>) -> &[String] {
    values.as_deref().unwrap_or_default()
}

/// The set names the value, or everything.
fn has(set: &[String], value: &str) -> bool {
    set.iter().any(|one| one == ALL || one == value)
}

/// `*`, `pods`, `pods/log`, `*/scale`.
fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    match rule.split_once('/') {
        None => rule == ALL || (subresource.is_empty() && rule == resource),
        Some((parent, child)) => {
            !subresource.is_empty() && child == subresource && (parent == ALL || parent == resource)
        }
    }
}

fn url_matches(rule: &str, path: &str) -> bool {
    rule == path || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*')))
}

/// What of `wanted` the `held` rules do not allow, in rules of one verb and one thing each
/// (upstream's `Covers`). Empty where everything is covered.
pub fn missing(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let single = wanted.iter().flat_map(break_down);
    single.filter(|wanted| !held.iter().any(|held| covers(held, wanted))).collect()
}

/// The rule as rules of one verb, one group, one resource and one name, or one verb and one path.
fn break_down(rule: &PolicyRule) -> Vec<PolicyRule> {
    let one = |value: &String| vec![value.clone()];
    let mut out = Vec::new();
    for group in list(&rule.api_groups) {
        for resource in list(&rule.resources) {
            for verb in &rule.verbs {
                let plain = PolicyRule {
                    api_groups: Some(one(group)),
                    resources: Some(one(resource)),
                    verbs: one(verb),
                    ..PolicyRule::default()
                };
                let names = list(&rule.resource_names);
                if names.is_empty() {
                    out.push(plain.clone());
                }
                out.extend(names.iter().map(|name| PolicyRule { resource_names: Some(one(name)), ..plain.clone() }));
            }
        }
    }
    for url in list(&rule.non_resource_urls) {
        let urls = rule.verbs.iter().map(|verb| PolicyRule {
            non_resource_urls: Some(one(url)),
            verbs: one(verb),
            ..PolicyRule::default()
        });
        out.extend(urls);
    }
    out
}

/// Whether one rule allows all that a rule from [`break_down`] does.
fn covers(held: &PolicyRule, wanted: &PolicyRule) -> bool {
    let all = |held: &[String], wanted: &[String]| {
        held.iter().any(|one| one == ALL) || wanted.iter().all(|wanted| held.contains(wanted))
    };
    let names = || {
        let (held, wanted) = (list(&held.resource_names), list(&wanted.resource_names));
        held.is_empty() || (!wanted.is_empty() && wanted.iter().all(|name| held.contains(name)))
    };
    let resources = || {
        let held = list(&held.resources);
        let matches = |wanted: &String| {
            let any_parent = wanted.split_once('/').map(|(_, child)| format!("*/{child}"));
            held.contains(wanted) || any_parent.is_some_and(|any| held.contains(&any))
        };
        held.iter().any(|one| one == ALL) || list(&wanted.resources).iter().all(matches)
    };
    let urls = || {
        let held = list(&held.non_resource_urls);
        list(&wanted.non_resource_urls).iter().all(|wanted| held.iter().any(|held| url_matches(held, wanted)))
    };
    all(&held.verbs, &wanted.verbs)
        && all(list(&held.api_groups), list(&wanted.api_groups))
        && resources()
        && urls()
        && names()
}

/// The rules as an error message lists them: those about one resource joined, each on a line.
pub fn describe(rules: &[PolicyRule]) -> String {
    let mut lines: Vec<String> = compact(rules).iter().map(text).collect();
    lines.sort();
    lines.dedup();
    lines.join("\n")
}

/// Joins the verbs of rules that name one group and one resource, and nothing else.
pub fn compact(rules: &[PolicyRule]) -> Vec<PolicyRule> {
    let mut simple: BTreeMap<(&str, &str), PolicyRule> = BTreeMap::new();
    let mut rest = Vec::new();
    for rule in rules {
        let special = !list(&rule.resource_names).is_empty() || !list(&rule.non_resource_urls).is_empty();
        match (list(&rule.api_groups), list(&rule.resources)) {
            ([group], [resource]) if !special => match simple.get_mut(&(group.as_str(), resource.as_str())) {
                Some(joined) => joined.verbs.extend(rule.verbs.iter().cloned()),
                None => drop(simple.insert((group, resource), rule.clone())),
            },
            _ => rest.push(rule.clone()),
        }
    }
    rest.extend(simple.into_values());
    rest
}

/// `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}`.
fn text(rule: &PolicyRule) -> String {
    let parts = [
        ("APIGroups", list(&rule.api_groups)),
        ("Resources", list(&rule.resources)),
        ("NonResourceURLs", list(&rule.non_resource_urls)),
        ("ResourceNames", list(&rule.resource_names)),
        ("Verbs", &rule.verbs),
    ];
    let parts = parts.iter().filter(|(_, values)| !values.is_empty());
    let parts: Vec<String> = parts.map(|(name, values)| format!("{name}:{}", quoted(values))).collect();
    format!("{{{}}}", parts.join(", "))
}

/// Go's `%q` of a list of strings.
pub fn quoted(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("[{}]", values.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(text: &str) -> PolicyRule {
        crate::server::authorization::policy::rule(text)
    }

    fn request(text: &str) -> RequestInfo {
        let (verb, what) = text.split_once(' ').unwrap();
        if what.starts_with('/') {
            return RequestInfo { verb: verb.into(), path: what.into(), ..RequestInfo::default() };
        }
        let (what, name) = what.split_once('=').unwrap_or((what, ""));
        let (what, group) = what.split_once('.').unwrap_or((what, ""));
        let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
        RequestInfo {
            is_resource: true,
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            name: name.into(),
            ..RequestInfo::default()
        }
    }

    #[test]
    fn rules_match_as_upstream_does() {
        // rule; what it allows; what it does not
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("get pods", &["get pods", "get pods=x"], &["list pods", "get pods/log", "get pods.apps", "get /pods"]),
            ("* pods", &["get pods", "dance pods"], &["get pods/log"]),
            ("get *", &["get pods", "get pods/log"], &["get pods.apps"]),
            ("get pods in *", &["get pods", "get pods.apps"], &["get nodes"]),
            ("get */scale in apps", &["get deployments/scale.apps"], &["get deployments.apps", "get pods/scale"]),
            ("get pods/*", &[], &["get pods", "get pods/log"]),
            ("get,list pods,pods/log", &["get pods/log", "list pods"], &["watch pods"]),
            ("get pods named a,b", &["get pods=a", "get pods=b"], &["get pods", "get pods=c"]),
            ("get path /healthz", &["get /healthz"], &["get /healthz/", "post /healthz", "get healthz"]),
            ("get path /api/*", &["get /api/", "get /api/v1"], &["get /api", "get /apis"]),
            ("* path *", &["get /", "post /x"], &["get pods"]),
        ];
        for (text, allowed, refused) in cases {
            for asked in *allowed {
                assert!(allows(&rule(text), &request(asked)), "{text} allows {asked}");
            }
            for asked in *refused {
                assert!(!allows(&rule(text), &request(asked)), "{text} does not allow {asked}");
            }
        }
    }

    #[test]
    fn a_selector_for_one_name_is_a_name() {
        let one = RequestInfo { selected: "a".into(), ..request("list pods") };
        assert!(allows(&rule("list pods named a"), &one));
        assert!(!allows(&rule("list pods named b"), &one));
    }

    #[test]
    fn what_is_not_held_is_told_in_few_words() {
        let cases = [
            ("* * in *", "get pods", ""),
            ("get,list pods", "get,list,watch pods", r#"{APIGroups:[""], Resources:["pods"], Verbs:["watch"]}"#),
            (
                "get pods",
                "create,get pods,services",
                "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"create\"]}\n{APIGroups:[\"\"], Resources:[\"services\"], Verbs:[\"create\" \"get\"]}",
            ),
            ("get pods named a", "get pods", r#"{APIGroups:[""], Resources:["pods"], Verbs:["get"]}"#),
            (
                "get pods named a",
                "get pods named a,b",
                r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["b"], Verbs:["get"]}"#,
            ),
            ("get pods", "get pods named a", ""),
            ("get */scale in *", "get deployments/scale in apps", ""),
            ("get pods", "get * ", r#"{APIGroups:[""], Resources:["*"], Verbs:["get"]}"#),
            ("get path /api/*", "get path /api/v1", ""),
            ("get path /api/*", "get path /apis", r#"{NonResourceURLs:["/apis"], Verbs:["get"]}"#),
            ("get path *", "get path /a/*", ""),
        ];
        for (held, wanted, expected) in cases {
            assert_eq!(describe(&missing(&[rule(held)], &[rule(wanted)])), expected, "{held} / {wanted}");
        }
    }

    #[test]
    fn rules_add_up() {
        let held = [rule("get pods"), rule("list pods"), rule("get services")];
        assert_eq!(missing(&held, &[rule("get,list pods")]), []);
        let wanted: PolicyRule = serde_json::from_value(json!({
            "verbs": ["list"], "apiGroups": [""], "resources": ["pods", "services"],
        }))
        .unwrap();
        assert_eq!(missing(&held, &[wanted]), [rule("list services")]);
    }
}
