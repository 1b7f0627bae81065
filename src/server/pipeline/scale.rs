//! `/scale`: an `autoscaling/v1` Scale made of any object that has `spec.replicas`,
//! `status.replicas` and `spec.selector`, and written back to it.

use bytes::Bytes;
use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec, ScaleStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector as ApiSelector, ObjectMeta};
use serde_json::Value;

use super::apply::parse as parse_config;
use super::decode::{Payload, strict_decoding_error, typed, unfit};
use super::options::{FieldValidation, WriteOptions};
use super::patch::Patch;
use super::update::{MAX_TRIES, Part, Replaced, check_name};
use super::{Answer, Context, Pipeline, go_error, managed, strict};
use crate::api::field::{Error, Path};
use crate::api::gvk::{GroupKind, GroupResource};
use crate::api::patch::apply::{ApplyError, Request, apply, scale as scale_managers, update_managed_fields};
use crate::api::schema;
use crate::api::selector::LabelSelector;
use crate::api::status::{Failure, Result};
use crate::server::strategy::Meta;
use crate::store::Item;

impl Pipeline {
    pub fn scale(&self, context: &Context) -> Result<Answer> {
        let (_, scale) = self.read_scale(context, &self.current(context)?)?;
        answer(&scale)
    }

    pub async fn update_scale(&self, context: &Context, payload: &Payload, options: &WriteOptions) -> Result<Answer> {
        let json = payload.to_json_as("autoscaling/v1", "Scale")?;
        let wanted = parse(&json).map_err(|why| unfit(&scale_meta(), &why))?;
        if options.field_validation != FieldValidation::Ignore {
            let problems = unknown(&json, &wanted);
            if options.field_validation == FieldValidation::Strict && !problems.is_empty() {
                return Err(unfit(&scale_meta(), &strict_decoding_error(&problems)));
            }
            problems.into_iter().for_each(|problem| context.warn(problem));
        }
        check_name(context, &wanted)?;
        let wanted = serde_json::to_value(wanted).map_err(Failure::internal)?;
        self.write_scale(context, options, |live, request| {
            let mut new = wanted.clone();
            update_managed_fields(Some(live), &mut new, request);
            Ok(new)
        })
        .await
    }

    pub async fn patch_scale(&self, context: &Context, patch: &Patch, options: &WriteOptions) -> Result<Answer> {
        self.write_scale(context, options, |live, request| {
            let mut value = live.clone();
            patch.apply(&mut value, schema::for_kind("autoscaling", "v1", "Scale"))?;
            let text = value.to_string();
            let scale = parse(text.as_bytes()).map_err(|why| patch.misfit(&text, &why))?;
            if options.field_validation != FieldValidation::Ignore {
                let unknown = unknown(text.as_bytes(), &scale);
                patch.check(context, &text, unknown, options.field_validation == FieldValidation::Strict)?;
            }
            check_name(context, &scale)?;
            update_managed_fields(Some(live), &mut value, request);
            Ok(value)
        })
        .await
    }

    pub async fn apply_scale(&self, context: &Context, body: &Bytes, options: &WriteOptions) -> Result<Answer> {
        let config = parse_config(context, body, options.field_validation)?;
        let force = options.force.unwrap_or(false);
        self.write_scale(context, options, |live, request| {
            let applied = apply(Some(live), &config, force, request).map_err(ApplyError::into_failure)?;
            Ok(applied.object)
        })
        .await
    }

    /// Makes a Scale of the object, lets `change` make another of it, and writes what that says to the object.
    async fn write_scale(
        &self,
        context: &Context,
        options: &WriteOptions,
        change: impl Fn(&Value, &Request<'_>) -> Result<Value>,
    ) -> Result<Answer> {
        // Managers are recorded here, on the Scale.
        let settled = WriteOptions { applied: true, ..options.clone() };
        for _ in 0..MAX_TRIES {
            let item = self.current(context)?;
            let (mut object, scale) = self.read_scale(context, &item)?;
            let mut live = serde_json::to_value(&scale).map_err(Failure::internal)?;
            scale_managers::to_scale(&object, &mut live);
            let wanted = managed::with_scale_request(context, options, |request| change(&live, request));
            let wanted = wanted.ok_or_else(|| Failure::internal("Scale has no schema"))??;
            let typed_scale = parse(wanted.to_string().as_bytes()).map_err(|why| unfit(&scale_meta(), &why))?;
            let replicas = typed_scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
            check(context, replicas)?;
            check_uid(context, &typed_scale, &scale)?;
            scale_managers::to_object(&wanted, &mut object);
            object["spec"]["replicas"] = replicas.into();
            object["metadata"]["resourceVersion"] = typed_scale.metadata.resource_version.clone().into();
            let new = typed(context, object.to_string().as_bytes()).map_err(Failure::internal)?;
            if let Replaced::Done(done) = self.replace(context, &item, new, &settled, Part::Main).await? {
                let value: Value = serde_json::from_slice(&done.bytes).map_err(Failure::internal)?;
                return answer(&scale_of(&value)?);
            }
        }
        Err(Failure::stale(context.kind.meta().resource(), &context.name))
    }

    fn read_scale(&self, context: &Context, item: &Item) -> Result<(Value, Scale)> {
        let shown = self.present(context, &item.value)?;
        let value: Value = serde_json::from_slice(&shown).map_err(Failure::internal)?;
        let scale = scale_of(&value)?;
        Ok((value, scale))
    }
}

fn scale_meta() -> Meta {
    Meta::namespaced::<Scale>("scales")
}

/// What is wrong is in Go's words.
fn parse(json: &[u8]) -> std::result::Result<Scale, String> {
    serde_json::from_slice(json).map_err(|error| go_error::words(json, &error, &scale_meta()))
}

fn unknown(json: &[u8], scale: &Scale) -> Vec<String> {
    strict::problems(json, scale, schema::for_kind("autoscaling", "v1", "Scale"))
}

/// A Scale that says its UID means that very object.
fn check_uid(context: &Context, wanted: &Scale, found: &Scale) -> Result<()> {
    let uid = |scale: &Scale| scale.metadata.uid.clone().unwrap_or_default();
    let (wanted, found) = (uid(wanted), uid(found));
    if wanted.is_empty() || wanted == found {
        return Ok(());
    }
    let meta = context.kind.meta();
    let resource = format!("{}/scale", meta.plural);
    let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}");
    Err(Failure::conflict(GroupResource { group: meta.group, resource: &resource }, &context.name, &why))
}

fn answer(scale: &Scale) -> Result<Answer> {
    Ok(Answer::scale(serde_json::to_vec(scale).map_err(Failure::internal)?))
}

fn check(context: &Context, replicas: i32) -> Result<()> {
    if replicas >= 0 {
        return Ok(());
    }
    let why = "must be greater than or equal to 0";
    let error = Error::invalid(&Path::new("spec").child("replicas"), replicas, why);
    Err(Failure::invalid(GroupKind { group: "autoscaling", kind: "Scale" }, &context.name, &[error]))
}

fn scale_of(object: &Value) -> Result<Scale> {
    let meta: ObjectMeta = serde_json::from_value(object["metadata"].clone()).map_err(Failure::internal)?;
    let number = |value: &Value| value.as_i64().and_then(|n| i32::try_from(n).ok());
    Ok(Scale {
        metadata: ObjectMeta {
            name: meta.name,
            namespace: meta.namespace,
            uid: meta.uid,
            resource_version: meta.resource_version,
            creation_timestamp: meta.creation_timestamp,
            ..Default::default()
        },
        spec: Some(ScaleSpec { replicas: number(&object["spec"]["replicas"]) }),
        status: Some(ScaleStatus {
            replicas: number(&object["status"]["replicas"]).unwrap_or(0),
            selector: selector_text(&object["spec"]["selector"])?,
        }),
    })
}

/// The selector as a query string; a ReplicationController's is a plain map.
fn selector_text(selector: &Value) -> Result<Option<String>> {
    let Some(fields) = selector.as_object() else { return Ok(None) };
    let parsed = if fields.values().all(Value::is_string) {
        let labels = fields.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()));
        LabelSelector::from_map(&labels.collect())
    } else {
        let typed: ApiSelector = serde_json::from_value(selector.clone()).map_err(Failure::internal)?;
        LabelSelector::from_api(Some(&typed)).map_err(Failure::internal)?
    };
    Ok(Some(parsed.to_string()))
}
