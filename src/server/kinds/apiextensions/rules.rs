//! The rules of a definition as a whole: group, names, conversion, stored versions, approval.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionSpec,
    CustomResourceDefinitionVersion,
};

use super::version;
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::{self, immutable, json, text};

/// All problems of a name as one error.
pub fn joined(errors: &mut Errors, path: &Path, value: &str, intro: &str, problems: names::Problems) {
    if !problems.is_empty() {
        errors.push(Error::invalid(path, value, format!("{intro}{}", problems.join(","))));
    }
}

pub fn spec(errors: &mut Errors, path: &Path, spec: &CustomResourceDefinitionSpec) {
    let here = path.child("group");
    if spec.group.is_empty() {
        errors.push(Error::required(&here, ""));
    } else if !names::dns1123_subdomain(&spec.group).is_empty() {
        joined(errors, &here, &spec.group, "", names::dns1123_subdomain(&spec.group));
    } else if !spec.group.contains('.') {
        errors.push(Error::invalid(&here, spec.group.as_str(), "should be a domain with at least one dot"));
    }
    validation::one_of(errors, &path.child("scope"), &spec.scope, &["Cluster", "Namespaced"]);
    version::versions(errors, path, &spec.versions);
    let here = path.child("names");
    let given = &spec.names;
    let required = [
        ("plural", given.plural.as_str()),
        ("singular", text(&given.singular)),
        ("kind", given.kind.as_str()),
        ("listKind", text(&given.list_kind)),
    ];
    for (field, _) in required.iter().filter(|(_, name)| name.is_empty()) {
        errors.push(Error::required(&here.child(field), ""));
    }
    accepted(errors, &here, given);
    if let Some(conversion) = &spec.conversion {
        self::conversion(errors, &path.child("conversion"), conversion);
    }
}

/// Names as they are wanted or accepted; those that are missing are another matter.
pub fn accepted(errors: &mut Errors, path: &Path, given: &CustomResourceDefinitionNames) {
    let label = |name: &str| if name.is_empty() { Vec::new() } else { names::dns1035_label(name) };
    let mixed = "may have mixed case, but should otherwise match: ";
    let (singular, list_kind) = (text(&given.singular), text(&given.list_kind));
    joined(errors, &path.child("plural"), &given.plural, "", label(&given.plural));
    joined(errors, &path.child("singular"), singular, "", label(singular));
    joined(errors, &path.child("kind"), &given.kind, mixed, label(&given.kind.to_lowercase()));
    joined(errors, &path.child("listKind"), list_kind, mixed, label(&list_kind.to_lowercase()));
    for (field, list) in [("shortNames", &given.short_names), ("categories", &given.categories)] {
        for (at, name) in list.iter().flatten().enumerate() {
            joined(errors, &path.child(field).index(at), name, "", names::dns1035_label(name));
        }
    }
    if !given.kind.is_empty() && given.kind == list_kind {
        let detail = "kind and listKind may not be the same";
        errors.push(Error::invalid(&path.child("listKind"), list_kind, detail));
    }
}

fn conversion(errors: &mut Errors, path: &Path, conversion: &CustomResourceConversion) {
    validation::one_of(errors, &path.child("strategy"), &conversion.strategy, &["None", "Webhook"]);
    let here = path.child("webhookClientConfig");
    let webhook = conversion.webhook.as_ref();
    let client = webhook.and_then(|webhook| webhook.client_config.as_ref());
    let versions = webhook.map_or(&[][..], |webhook| &webhook.conversion_review_versions);
    let versions_path = path.child("conversionReviewVersions");
    if conversion.strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if client.is_some() {
            errors.push(Error::forbidden(&here, detail));
        }
        if !versions.is_empty() {
            errors.push(Error::forbidden(&versions_path, detail));
        }
        return;
    }
    match client.map(|client| (&client.url, &client.service)) {
        None => errors.push(Error::required(&here, "required when strategy is set to Webhook")),
        Some((None, None) | (Some(_), Some(_))) => {
            errors.push(Error::required(&here, "exactly one of url or service is required"));
        }
        Some((Some(url), None)) => validation::webhook::url(errors, &here.child("url"), url),
        Some((None, Some(service))) => {
            let (route, port) = (service.path.as_deref(), service.port.unwrap_or(443));
            let here = here.child("service");
            validation::webhook::service(errors, &here, &service.namespace, &service.name, route, port);
        }
    }
    validation::webhook::review_versions(errors, &versions_path, versions, "");
}

/// Whether the names have been taken for good.
pub fn is_established(definition: &CustomResourceDefinition) -> bool {
    let mut conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Established" && condition.status == "True")
}

pub fn fixed(errors: &mut Errors, path: &Path, new: &CustomResourceDefinitionSpec, old: &CustomResourceDefinition) {
    let before = &old.spec;
    let here = path.child("names");
    if is_established(old) {
        immutable(errors, &path.child("scope"), &new.scope, &before.scope);
        immutable(errors, &here.child("kind"), &new.names.kind, &before.names.kind);
    }
    immutable(errors, &path.child("group"), &new.group, &before.group);
    immutable(errors, &here.child("plural"), &new.names.plural, &before.names.plural);
}

/// Objects of a version may lie in the store until that version leaves this list.
pub fn stored_versions(errors: &mut Errors, stored: &[String], versions: &[CustomResourceDefinitionVersion]) {
    let path = Path::new("status").child("storedVersions");
    if stored.is_empty() {
        errors.push(Error::invalid(&path, json(&stored), "must have at least one stored version"));
        return;
    }
    for version in versions.iter().filter(|version| version.storage && !stored.contains(&version.name)) {
        let detail = format!("must have the storage version {}", version.name);
        errors.push(Error::invalid(&path, json(&stored), detail));
    }
    for (at, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| version.name == *name) {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(Error::invalid(&path.index(at), name.as_str(), detail));
        }
    }
}

const APPROVAL: &str = "api-approved.kubernetes.io";

#[derive(PartialEq)]
enum Approval {
    Given,
    Bypassed,
    Missing,
    Invalid,
}

fn approval(definition: &CustomResourceDefinition) -> (Approval, &str) {
    let annotations = definition.metadata.annotations.as_ref();
    let text = annotations.and_then(|annotations| annotations.get(APPROVAL)).map_or("", String::as_str);
    let is_url = text
        .split_once("://")
        .is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.starts_with('/') && !rest.is_empty());
    let state = match text {
        "" => Approval::Missing,
        text if text.starts_with("unapproved") => Approval::Bypassed,
        _ if is_url => Approval::Given,
        _ => Approval::Invalid,
    };
    (state, text)
}

/// Groups of the community are for APIs that the community has looked at.
pub fn approved(errors: &mut Errors, new: &CustomResourceDefinition, old: Option<&CustomResourceDefinition>) {
    let group = new.spec.group.as_str();
    let is_protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    let (state, text) = approval(new);
    if !is_protected || old.is_some_and(|old| approval(old).0 == state) {
        return;
    }
    let path = Path::new("metadata").child("annotations").key(APPROVAL);
    let (words, link) = (
        format!("protected groups must have approval annotation {APPROVAL:?}"),
        "see https://github.com/kubernetes/enhancements/pull/1111",
    );
    match state {
        Approval::Missing => errors.push(Error::required(&path, format!("{words}, {link}"))),
        Approval::Invalid => {
            let detail = format!("{words} with either a URL or a reason starting with \"unapproved\", {link}");
            errors.push(Error::invalid(&path, text, detail));
        }
        Approval::Given | Approval::Bypassed => {}
    }
}
