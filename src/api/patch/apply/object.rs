//! The record of field managers on decoded objects, for writes that are no apply.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use super::{Request, update_managed_fields};
use crate::api::object::Object;

/// Longest name of a manager, in bytes.
const MAX_MANAGER: usize = 128;

/// The manager of a write: the one that the request names, else the client's name in its user agent.
pub fn manager_of(field_manager: &str, user_agent: &str) -> String {
    if !field_manager.is_empty() {
        return field_manager.to_owned();
    }
    let name = user_agent.split('/').next().unwrap_or_default();
    let mut out = String::new();
    for c in name.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > MAX_MANAGER {
            break;
        }
        out.push(c);
    }
    out
}

/// Records in `new` what the write changed from `old`, as [`update_managed_fields`] does. The place for it is after
/// decoding and defaulting and before admission, on create, update and every patch but apply.
pub fn track(old: Option<&dyn Object>, new: &mut dyn Object, request: &Request<'_>) {
    let before = old.map(Object::to_value);
    let mut value = new.to_value();
    update_managed_fields(before.as_ref(), &mut value, request);
    let entries = value.pointer_mut("/metadata/managedFields").map(Value::take);
    let entries = entries.map(serde_json::from_value::<Vec<ManagedFieldsEntry>>);
    new.meta_mut().managed_fields = match entries {
        None => None,
        Some(Ok(entries)) => Some(entries),
        // Decoded before, so this does not happen; the live record is the safe one.
        Some(Err(_)) => old.and_then(|old| old.meta().managed_fields.clone()),
    };
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;
    use crate::api::schema;

    #[test]
    fn managers_by_request_or_user_agent() {
        assert_eq!(manager_of("me", "kubectl/v1.36"), "me");
        assert_eq!(manager_of("", "kubectl/v1.36 (linux/amd64)"), "kubectl");
        assert_eq!(manager_of("", &"é".repeat(100)).len(), 128);
        assert_eq!(manager_of("", "a\u{7}b"), "ab");
    }

    #[test]
    fn decoded_objects_are_tracked() {
        let request = Request {
            schema: schema::for_kind("", "v1", "ConfigMap").unwrap(),
            group: "",
            version: "v1",
            kind: "ConfigMap",
            subresource: "",
            status_is_separate: false,
            status_only: false,
            custom: false,
            manager: "me",
            now: "2026-01-02T03:04:05Z".parse().unwrap(),
        };
        let data = Some([("a".to_owned(), "1".to_owned())].into());
        let mut created = ConfigMap { data, ..ConfigMap::default() };
        track(None, &mut created, &request);
        let entries = created.metadata.managed_fields.clone().unwrap();
        assert_eq!((entries.len(), entries[0].manager.as_deref()), (1, Some("me")));
        let mut updated = created.clone();
        updated.data.as_mut().unwrap().insert("b".to_owned(), "2".to_owned());
        track(Some(&created), &mut updated, &Request { manager: "you", ..request });
        assert_eq!(updated.metadata.managed_fields.as_ref().map(Vec::len), Some(2));
        // Emptied by hand: forgotten.
        updated.metadata.managed_fields = Some(vec![]);
        track(Some(&created), &mut updated, &request);
        assert!(updated.metadata.managed_fields.is_none());
    }
}
