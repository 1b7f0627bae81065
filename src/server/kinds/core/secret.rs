//! Secret: data that is not shown by default; typed, and immutable on request.

use std::borrow::Cow;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

use crate::api::field::Errors;
use crate::server::kinds::cell;
use crate::server::kinds::defaults::text;
use crate::server::strategy::{Column, Fields, Meta, Strategy};
use crate::server::validation;

pub struct Secrets;

impl Strategy for Secrets {
    type Kind = Secret;

    fn meta(&self) -> Meta {
        Meta::namespaced::<Secret>("secrets")
    }

    fn default(&self, object: &mut Secret) {
        text(&mut object.type_, "Opaque");
    }

    fn prepare_create(&self, object: &mut Secret) {
        fold_strings(object);
    }

    fn prepare_update(&self, new: &mut Secret, old: &Secret) {
        if new.type_.as_deref().is_none_or(str::is_empty) {
            new.type_.clone_from(&old.type_);
        }
        fold_strings(new);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "Type",
                "Used to facilitate programmatic handling of secret data. More info: https://kubernetes.io/docs/concepts/configuration/secret/#secret-types",
            ),
            Column::string(
                "Data",
                "Data contains the secret data. Each key must consist of alphanumeric characters, '-', '_' or '.'. The serialized form of the secret data is a base64 encoded string, representing the arbitrary (possibly non-string) data value here. Described in https://tools.ietf.org/html/rfc4648#section-4",
            ),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Secret, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let keys = object.data.as_ref().map_or(0, |data| data.len());
        Some(vec![
            cell::name(&object.metadata),
            cell::text(&object.type_),
            keys.into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn fields<'a>(&self, object: &'a Secret) -> Fields<'a> {
        vec![("type", Cow::from(object.type_.as_deref().unwrap_or_default()))]
    }

    fn warnings(&self, new: &Secret, _old: Option<&Secret>) -> Vec<String> {
        if new.type_.as_deref() != Some("kubernetes.io/tls") {
            return Vec::new();
        }
        let data = |key: &str| new.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |bytes| &bytes.0);
        validation::key_pair::problem(data("tls.crt"), data("tls.key")).into_iter().collect()
    }

    fn validate(&self, new: &Secret, old: Option<&Secret>) -> Errors {
        let mut errors = Errors::new();
        validation::data::secret(&mut errors, new, old);
        errors
    }
}

/// `stringData` is for writing only: it becomes `data` and is never stored.
fn fold_strings(secret: &mut Secret) {
    let Some(strings) = secret.string_data.take() else { return };
    let data = secret.data.get_or_insert_default();
    data.extend(strings.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
}
