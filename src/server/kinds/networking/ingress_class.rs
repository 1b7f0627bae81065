//! IngressClass: which controller implements an Ingress.

use k8s_openapi::api::networking::v1::{IngressClass, IngressClassParametersReference};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

pub struct IngressClasses;

impl Strategy for IngressClasses {
    type Kind = IngressClass;

    fn meta(&self) -> Meta {
        Meta { generation: true, ..Meta::cluster::<IngressClass>("ingressclasses") }
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut IngressClass) {
        let Some(parameters) = object.spec.as_mut().and_then(|spec| spec.parameters.as_mut()) else { return };
        defaults::absent_text(&mut parameters.scope, "Cluster");
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Controller", "Controller that is responsible for handling this class"),
            Column::string("Parameters", "A reference to a resource with additional parameters"),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &IngressClass, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let parameters = spec.parameters.map(|parameters| {
            let group = parameters.api_group.filter(|group| !group.is_empty());
            let kind = group.map_or(parameters.kind.clone(), |group| format!("{}.{group}", parameters.kind));
            format!("{kind}/{}", parameters.name)
        });
        Some(vec![
            cell::name(&object.metadata),
            cell::text(&spec.controller),
            cell::or(parameters.as_deref(), cell::NONE).into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(&self, new: &IngressClass, old: Option<&IngressClass>) -> Errors {
        let mut errors = Errors::new();
        let spec = new.spec.clone().unwrap_or_default();
        let controller = validation::text(&spec.controller);
        let path = Path::new("spec").child("controller");
        if let Some(old) = old {
            let before = old.spec.as_ref().map_or("", |spec| validation::text(&spec.controller));
            validation::immutable(&mut errors, &path, &controller, &before);
        }
        if controller.len() > CONTROLLER_MAX {
            errors.push(Error::too_long(&path, CONTROLLER_MAX));
        }
        validation::domain_prefixed_path(&mut errors, &path, controller);
        if let Some(reference) = &spec.parameters {
            parameters(&mut errors, &Path::new("spec").child("parameters"), reference);
        }
        errors
    }
}

const CONTROLLER_MAX: usize = 250;

fn parameters(errors: &mut Errors, path: &Path, reference: &IngressClassParametersReference) {
    super::reference(errors, path, reference.api_group.as_deref(), &reference.kind, &reference.name);
    let here = path.child("namespace");
    match (validation::text(&reference.scope), &reference.namespace) {
        ("Cluster", Some(_)) => errors.push(Error::forbidden(&here, "`parameters.scope` is set to 'Cluster'")),
        ("Namespace", None) => errors.push(Error::required(&here, "`parameters.scope` is set to 'Namespace'")),
        ("Namespace", Some(namespace)) => {
            validation::named(errors, &here, namespace, names::dns1123_label(namespace));
        }
        ("Cluster", None) => {}
        (scope, _) => errors.push(Error::not_supported(&path.child("scope"), scope, &["Cluster", "Namespace"])),
    }
}
