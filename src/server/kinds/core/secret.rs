//! Secret: data that is not shown by default; typed, and immutable on request.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use crate::server::kinds::defaults::text;
use crate::server::strategy::{Meta, Strategy};

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
}

/// `stringData` is for writing only: it becomes `data` and is never stored.
fn fold_strings(secret: &mut Secret) {
    let Some(strings) = secret.string_data.take() else { return };
    let data = secret.data.get_or_insert_default();
    data.extend(strings.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
}
