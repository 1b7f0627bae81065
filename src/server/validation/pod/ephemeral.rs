//! Changes through `/ephemeralcontainers`: containers may be added, and stay as they are for ever after.

use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};

use super::super::semantic;
use super::annotations;
use crate::api::field::{Error, Errors, Path};

pub fn update(new: &Pod, old: &Pod) -> Errors {
    if annotations::is_mirror(old.metadata.annotations.as_ref()) {
        let error = Error::forbidden(&Path::root(), "static pods do not support ephemeral containers");
        return vec![error.of_object()];
    }
    let mut errors = super::metadata_and_spec(new, Some(old));
    let path = Path::new("spec").child("ephemeralContainers");
    for before in of(old) {
        let Some(after) = of(new).rev().find(|container| container.name == before.name) else {
            let detail = format!("existing ephemeral containers {:?} may not be removed\n", before.name);
            errors.push(Error::forbidden(&path, detail));
            continue;
        };
        if !semantic::same(before, after) {
            let changed = semantic::diff(before, after);
            let detail = format!("existing ephemeral containers {:?} may not be changed\n{changed}", before.name);
            errors.push(Error::forbidden(&path, detail));
        }
    }
    errors
}

fn of(pod: &Pod) -> impl DoubleEndedIterator<Item = &EphemeralContainer> {
    let list = pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_deref());
    list.unwrap_or_default().iter()
}
