//! `/scale`: an `autoscaling/v1` Scale made of any object that has `spec.replicas`,
//! `status.replicas` and `spec.selector`, and written back to it.

use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec, ScaleStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector as ApiSelector, ObjectMeta};
use serde_json::Value;

use super::decode::{Payload, decode_json};
use super::options::{FieldValidation, WriteOptions, parse_version};
use super::patch::Patch;
use super::update::{CONFLICT_TRIES, Part, Replaced};
use super::{Answer, Context, Pipeline, go_error};
use crate::api::field::{Error, Path};
use crate::api::gvk::GroupKind;
use crate::api::schema;
use crate::api::selector::LabelSelector;
use crate::api::status::{Failure, Result};
use crate::store::Item;

impl Pipeline {
    pub fn scale(&self, context: &Context) -> Result<Answer> {
        let (_, scale) = self.read_scale(context, &self.current(context)?)?;
        answer(&scale)
    }

    pub async fn update_scale(&self, context: &Context, payload: &Payload, options: &WriteOptions) -> Result<Answer> {
        let json = payload.to_json_as("autoscaling/v1", "Scale")?;
        let wanted = parse(&json)?;
        let name = wanted.metadata.name.as_deref().unwrap_or_default();
        if !name.is_empty() && name != context.name {
            return Err(Failure::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                context.name
            )));
        }
        self.write_scale(context, options, |_| Ok(wanted.clone())).await
    }

    pub async fn patch_scale(&self, context: &Context, patch: &Patch, options: &WriteOptions) -> Result<Answer> {
        self.write_scale(context, options, |scale| {
            let mut value = serde_json::to_value(scale).map_err(Failure::internal)?;
            patch.apply(&mut value, schema::for_kind("autoscaling", "v1", "Scale"))?;
            parse(value.to_string().as_bytes())
        })
        .await
    }

    async fn write_scale(
        &self,
        context: &Context,
        options: &WriteOptions,
        change: impl Fn(&Scale) -> Result<Scale>,
    ) -> Result<Answer> {
        let resource = context.kind.meta().resource();
        for _ in 0..CONFLICT_TRIES {
            let item = self.current(context)?;
            let (mut value, scale) = self.read_scale(context, &item)?;
            let wanted = change(&scale)?;
            let version = parse_version(wanted.metadata.resource_version.as_deref().unwrap_or_default())?;
            if version != 0 && version != item.revision {
                return Err(Failure::stale(resource, &context.name));
            }
            let replicas = wanted.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
            check(context, replicas)?;
            value["spec"]["replicas"] = replicas.into();
            let new = decode_json(context, value.to_string().as_bytes(), FieldValidation::Ignore)?;
            if let Replaced::Done(done) = self.replace(context, &item, new, options, Part::Main).await? {
                let value: Value = serde_json::from_slice(&done.bytes).map_err(Failure::internal)?;
                return answer(&scale_of(&value)?);
            }
        }
        Err(Failure::stale(resource, &context.name))
    }

    fn read_scale(&self, context: &Context, item: &Item) -> Result<(Value, Scale)> {
        let shown = self.present(context, &item.value)?;
        let value: Value = serde_json::from_slice(&shown).map_err(Failure::internal)?;
        let scale = scale_of(&value)?;
        Ok((value, scale))
    }
}

fn answer(scale: &Scale) -> Result<Answer> {
    Ok(Answer::other(200, serde_json::to_vec(scale).map_err(Failure::internal)?))
}

fn parse(json: &[u8]) -> Result<Scale> {
    serde_json::from_slice(json).map_err(|error| {
        let meta = crate::server::strategy::Meta::namespaced::<Scale>("scales");
        let why = go_error::words(json, &error, &meta);
        Failure::bad_request(format!("Scale in version \"v1\" cannot be handled as a Scale: {why}"))
    })
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
