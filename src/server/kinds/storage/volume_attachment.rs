//! VolumeAttachment: the intent to attach a volume to a node.

use k8s_openapi::api::storage::v1::{VolumeAttachment, VolumeAttachmentSource};
use serde_json::Value;

use super::rules;
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};
use crate::server::validation;

pub struct VolumeAttachments;

impl Strategy for VolumeAttachments {
    type Kind = VolumeAttachment;

    fn meta(&self) -> Meta {
        Meta {
            subresources: const { &[Subresource::status("VolumeAttachment")] },
            status_only: true,
            unconditional_update: false,
            ..Meta::cluster::<VolumeAttachment>("volumeattachments")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column {
                format: "name",
                ..Column::string(
                    "Attacher",
                    "attacher indicates the name of the volume driver that MUST handle this request. This is the name returned by GetPluginName().",
                )
            },
            Column::string("PV", "persistentVolumeName represents the name of the persistent volume to attach."),
            Column::string("Node", "nodeName represents the node that the volume should be attached to."),
            Column {
                kind: "boolean",
                ..Column::string(
                    "Attached",
                    "attached indicates the volume is successfully attached. This field must only be set by the entity completing the attach operation, i.e. the external-attacher.",
                )
            },
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &VolumeAttachment, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let attached = object.status.as_ref().is_some_and(|status| status.attached);
        Some(vec![
            cell::name(&object.metadata),
            object.spec.attacher.clone().into(),
            cell::text(&object.spec.source.persistent_volume_name),
            object.spec.node_name.clone().into(),
            attached.into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(&self, new: &VolumeAttachment, old: Option<&VolumeAttachment>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let here = path.child("attacher");
        match old {
            None => validation::driver_name(&mut errors, &here, &new.spec.attacher),
            Some(_) => validation::required(&mut errors, &here, &new.spec.attacher),
        }
        let here = path.child("source");
        source(&mut errors, &here, &new.spec.source);
        let node = new.spec.node_name.as_str();
        validation::named(&mut errors, &path.child("nodeName"), node, names::dns1123_subdomain(node));
        match (old, &new.spec.source.persistent_volume_name) {
            (Some(old), _) => validation::immutable(&mut errors, &path, &new.spec, &old.spec),
            (None, Some(name)) => {
                let here = here.child("persistentVolumeName");
                validation::named(&mut errors, &here, name, names::dns1123_subdomain(name));
            }
            (None, None) => {}
        }
        errors
    }

    fn validate_status(&self, new: &VolumeAttachment, _old: &VolumeAttachment) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("status");
        let Some(status) = &new.status else { return errors };
        if rules::size(status.attachment_metadata.as_ref()) > rules::MAP_MAX {
            errors.push(Error::too_long(&path.child("attachmentMetadata"), rules::MAP_MAX));
        }
        for (field, error) in [("attachError", &status.attach_error), ("detachError", &status.detach_error)] {
            let Some(error) = error else { continue };
            let path = path.child(field);
            if validation::text(&error.message).len() > MESSAGE_MAX {
                // The bound that upstream names is another one.
                errors.push(Error::too_long(&path.child("message"), rules::MAP_MAX));
            }
            if let Some(code) = error.error_code.filter(|code| *code < 0) {
                let detail = names::inclusive_range_error(0, i32::MAX.into());
                errors.push(Error::invalid(&path.child("errorCode"), code, detail));
            }
        }
        errors
    }
}

const MESSAGE_MAX: usize = 1024;

fn source(errors: &mut Errors, path: &Path, source: &VolumeAttachmentSource) {
    let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (&source.inline_volume_spec, &source.persistent_volume_name) {
        (None, None) => errors.push(Error::required(path, detail)),
        (Some(_), Some(_)) => errors.push(Error::forbidden(path, detail)),
        (None, Some(name)) if name.is_empty() => {
            let detail = "must specify non empty persistentVolumeName";
            errors.push(Error::required(&path.child("persistentVolumeName"), detail));
        }
        (None, Some(_)) => {}
        (Some(volume), None) => validation::storage::inline_volume(errors, &path.child("inlineVolumeSpec"), volume),
    }
}
