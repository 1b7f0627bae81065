//! APIService: who serves a group and version.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceCondition, APIServiceSpec, APIServiceStatus,
};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, NameRule, Strategy, Subresource};
use crate::server::validation;

pub struct ApiServices;

impl Strategy for ApiServices {
    type Kind = APIService;

    fn meta(&self) -> Meta {
        Meta {
            categories: &["api-extensions"],
            subresources: const { &[Subresource::status("APIService")] },
            status_only: true,
            unconditional_update: false,
            names: NameRule::PathSegment,
            ..Meta::cluster::<APIService>("apiservices")
        }
    }

    fn prepare_create(&self, object: &mut APIService) {
        object.status = Some(Default::default());
        let local = object.spec.as_ref().is_none_or(|spec| spec.service.is_none());
        if local {
            let available = APIServiceCondition {
                type_: "Available".to_owned(),
                status: "True".to_owned(),
                reason: Some("Local".to_owned()),
                message: Some("Local APIServices are always available".to_owned()),
                last_transition_time: None,
            };
            object.status = Some(APIServiceStatus { conditions: Some(vec![available]) });
        }
    }

    fn prepare_update(&self, new: &mut APIService, old: &APIService) {
        new.status = old.status.clone();
    }

    fn prepare_status(&self, new: &mut APIService, old: &APIService) {
        new.spec = old.spec.clone();
    }

    fn same_spec(&self, new: &APIService, old: &APIService) -> bool {
        new.spec == old.spec
    }

    fn default(&self, object: &mut APIService) {
        let service = object.spec.as_mut().and_then(|spec| spec.service.as_mut());
        if let Some(service) = service {
            crate::server::kinds::defaults::absent(&mut service.port, 443);
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Service", "The reference to the service that hosts this API endpoint."),
            Column::string("Available", "Whether this service is available."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &APIService, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let service = object.spec.as_ref().and_then(|spec| spec.service.as_ref());
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let service = service.map(|service| format!("{}/{}", text(&service.namespace), text(&service.name)));
        Some(vec![
            cell::name(&object.metadata),
            cell::or(service.as_deref(), "Local").into(),
            available(object).into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(&self, new: &APIService, _old: Option<&APIService>) -> Errors {
        let mut errors = Errors::new();
        let spec = new.spec.clone().unwrap_or_default();
        let (group, version) = (validation::text(&spec.group), validation::text(&spec.version));
        let name = new.metadata.name.as_deref().unwrap_or_default();
        let wanted = format!("{version}.{group}");
        if name != wanted {
            let detail = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
            errors.push(Error::invalid(&Path::new("metadata").child("name"), name, detail));
        }
        let path = Path::new("spec");
        if group.is_empty() && version != "v1" {
            let detail = "only v1 may have an empty group and it better be legacy kube";
            errors.push(Error::required(&path.child("group"), detail));
        } else if !group.is_empty() {
            validation::named(&mut errors, &path.child("group"), group, names::dns1123_subdomain(group));
        }
        validation::named(&mut errors, &path.child("version"), version, names::dns1035_label(version));
        if !(1..=20_000).contains(&spec.group_priority_minimum) {
            let path = path.child("groupPriorityMinimum");
            let detail = "must be positive and less than 20000";
            errors.push(Error::invalid(&path, spec.group_priority_minimum, detail));
        }
        if !(1..=1000).contains(&spec.version_priority) {
            let path = path.child("versionPriority");
            errors.push(Error::invalid(&path, spec.version_priority, "must be positive and less than 1000"));
        }
        backend(&mut errors, &path, &spec);
        errors
    }
}

/// Where requests go, and whether its certificate is looked at.
fn backend(errors: &mut Errors, path: &Path, spec: &APIServiceSpec) {
    let insecure = spec.insecure_skip_tls_verify == Some(true);
    let bundle = spec.ca_bundle.as_ref().map_or(0, |bundle| bundle.0.len());
    let here = path.child("insecureSkipTLSVerify");
    let Some(service) = &spec.service else {
        if bundle > 0 {
            let detail = "local APIServices may not have a caBundle";
            errors.push(Error::invalid(&path.child("caBundle"), format!("{bundle} bytes"), detail));
        }
        if insecure {
            errors.push(Error::invalid(&here, true, "local APIServices may not have insecureSkipTLSVerify"));
        }
        return;
    };
    let path = path.child("service");
    validation::required(errors, &path.child("namespace"), validation::text(&service.namespace));
    validation::required(errors, &path.child("name"), validation::text(&service.name));
    validation::port_with_words(errors, &path.child("port"), service.port.unwrap_or(443));
    if insecure && bundle > 0 {
        errors.push(Error::invalid(&here, true, "may not be true if caBundle is present"));
    }
}

/// The Available condition, with the reason where it does not hold.
fn available(service: &APIService) -> String {
    let mut conditions = service.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let Some(found) = conditions.find(|condition| condition.type_ == "Available") else { return "Unknown".to_owned() };
    match found.reason.as_deref() {
        Some(reason) if found.status != "True" => format!("{} ({reason})", found.status),
        _ => found.status.clone(),
    }
}
