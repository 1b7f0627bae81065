//! Namespace: the scope of names; its finalizers guard the deletion of its contents.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Fields, Meta, NameRule, Strategy, Subresource, Verb};
use crate::server::validation;

const NAMESPACE_VERBS: &[Verb] =
    &[Verb::Create, Verb::Delete, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch];
const SUBRESOURCES: &[Subresource] = &[
    Subresource { name: "finalize", kind: "Namespace", group_version: None, verbs: &["update"] },
    Subresource::status("Namespace"),
];

pub struct Namespaces;

/// So that label selectors can name a namespace.
fn label(object: &mut Namespace) {
    if let Some(name) = object.metadata.name.clone().filter(|name| !name.is_empty()) {
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
}

impl Strategy for Namespaces {
    type Kind = Namespace;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["ns"],
            verbs: NAMESPACE_VERBS,
            subresources: SUBRESOURCES,
            names: NameRule::Label,
            ..Meta::cluster::<Namespace>("namespaces")
        }
    }

    fn prepare_create(&self, object: &mut Namespace) {
        // The API server guards the contents: the finalizer is there from the first moment.
        let finalizers = object.spec.get_or_insert_default().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|name| name == "kubernetes") {
            finalizers.push("kubernetes".to_owned());
        }
        object.status = Some(NamespaceStatus { phase: Some("Active".to_owned()), conditions: None });
        // A generated name was not there when defaults were.
        label(object);
    }

    fn prepare_update(&self, new: &mut Namespace, old: &Namespace) {
        // Only /finalize changes the finalizers.
        new.spec.get_or_insert_default().finalizers = old.spec.as_ref().and_then(|spec| spec.finalizers.clone());
        new.status = old.status.clone();
    }

    fn prepare_status(&self, new: &mut Namespace, old: &Namespace) {
        new.spec = old.spec.clone();
    }

    fn default(&self, object: &mut Namespace) {
        label(object);
        if object.status.as_ref().is_some_and(|status| status.phase.is_none()) {
            object.status.get_or_insert_default().phase = Some("Active".to_owned());
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] =
            &[Column::NAME, Column::string("Status", "The status of the namespace"), Column::AGE];
        COLUMNS
    }

    fn cells(&self, object: &Namespace, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let phase = object.status.as_ref().and_then(|status| status.phase.clone());
        Some(vec![cell::name(&object.metadata), cell::text(&phase), cell::age(&object.metadata, now)])
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["status.phase"]
    }

    fn fields<'a>(&self, object: &'a Namespace) -> Fields<'a> {
        let phase = object.status.as_ref().and_then(|status| status.phase.as_deref());
        vec![("status.phase", Cow::from(phase.unwrap_or_default()))]
    }

    fn validate(&self, new: &Namespace, old: Option<&Namespace>) -> Errors {
        // An update keeps the finalizers that were checked before.
        if old.is_some() { Errors::new() } else { finalizers(new, |path, _| path.clone()) }
    }

    fn validate_status(&self, new: &Namespace, _old: &Namespace) -> Errors {
        let phase = new.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        let (wanted, why) = match new.metadata.deletion_timestamp {
            None => ("Active", "may only be 'Active' if `deletionTimestamp` is empty"),
            Some(_) => ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty"),
        };
        let wrong = (phase != wanted).then(|| Error::invalid(&Path::new("status").child("Phase"), phase, why));
        wrong.into_iter().collect()
    }

    fn validate_window(&self, _window: &str, new: &Namespace, _old: &Namespace) -> Errors {
        finalizers(new, Path::index)
    }
}

/// `at` is where the error of one finalizer is told.
fn finalizers(namespace: &Namespace, at: impl Fn(&Path, usize) -> Path) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec").child("finalizers");
    let names = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_deref()).unwrap_or_default();
    for (index, name) in names.iter().enumerate() {
        let path = at(&path, index);
        validation::named(&mut errors, &path, name, names::qualified_name(name));
        if !name.contains('/') && !["kubernetes", "orphan", "foregroundDeletion"].contains(&name.as_str()) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(Error::invalid(&path, name.as_str(), detail));
        }
    }
    errors
}
