//! Keeps the flow schemas and priority levels that every cluster has, and says of each schema whether its level exists.
//!
//! The mandatory ones always are as upstream has them. The suggested ones are made where they are missing, and kept up to
//! date until a user changes one or says so by an annotation.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::ClusterResourceScope;
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaCondition, FlowSchemaStatus, PriorityLevelConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::reconcile::clock::time;
use crate::reconcile::{Action, Cached, Context, Controller, Env, Error, Informer, Watches};

const DEFAULTS: &str = include_str!("../../../../manifests/flowcontrol.yaml");
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];
/// `true`: this keeps the object's spec; `false`: its user does.
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Schema(String),
    Level(String),
}

pub struct FlowControl {
    schemas: Informer<FlowSchema>,
    levels: Informer<PriorityLevelConfiguration>,
}

impl FlowControl {
    pub fn new(env: &Env) -> Self {
        Self { schemas: env.informers.get(), levels: env.informers.get() }
    }
}

/// The objects of a kind among the defaults.
fn defaults<K: DeserializeOwned + Resource<DynamicType = ()>>() -> Vec<K> {
    let kind = format!("kind: {}\n", K::kind(&()));
    let of_kind = DEFAULTS.split("\n---\n").filter(|text| text.contains(&kind));
    of_kind.filter_map(|text| serde_yaml_ng::from_str(text).ok()).collect()
}

/// What is to be done with an object that exists.
#[derive(Debug, PartialEq, Eq)]
enum Care {
    Keep,
    /// Gets its spec back, and says who keeps it.
    Update,
}

/// Upstream's rule: who never changed the object is content with the default.
fn care(meta: &ObjectMeta, same: bool) -> Care {
    let name = meta.name.as_deref().unwrap_or_default();
    let ours = match meta.annotations.as_ref().and_then(|all| all.get(AUTO_UPDATE)).map(String::as_str) {
        _ if MANDATORY.contains(&name) => true,
        Some("true") => true,
        Some(_) => false,
        None => meta.generation.unwrap_or(0) <= 1,
    };
    if ours && !same { Care::Update } else { Care::Keep }
}

/// Makes the object or gives it its spec back.
async fn keep<K>(cx: &Context, existing: Option<&K>, wanted: K, same: fn(&K, &K) -> bool) -> Result<(), Error>
where
    K: Cached + Serialize + Resource<Scope = ClusterResourceScope>,
{
    let writer = cx.cluster::<K>();
    let mut wanted = wanted;
    let told = wanted.meta_mut().annotations.get_or_insert_default();
    told.insert(AUTO_UPDATE.to_owned(), "true".to_owned());
    let Some(existing) = existing else {
        return match writer.create(&wanted).await {
            Err(error) if error.reason() == "AlreadyExists" => Ok(()),
            other => other.map(drop),
        };
    };
    if care(existing.meta(), same(existing, &wanted)) == Care::Update {
        let mut meta = existing.meta().clone();
        meta.annotations.get_or_insert_default().extend(wanted.meta_mut().annotations.take().unwrap_or_default());
        *wanted.meta_mut() = meta;
        writer.replace(&wanted).await?;
    }
    Ok(())
}

#[async_trait]
impl Controller for FlowControl {
    type Key = Part;

    fn name(&self) -> &'static str {
        "priority-and-fairness"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Part>) {
        let name = |meta: &ObjectMeta| meta.name.clone().unwrap_or_default();
        watches.on(&self.schemas, move |change| [Part::Schema(name(&change.object().metadata))]);
        let this = self.clone();
        watches.on(&self.levels, move |change| {
            let changed = name(&change.object().metadata);
            let concerned = this.schemas.store().state();
            let concerned = concerned.iter().filter(|schema| level_of(schema) == changed);
            let mut parts: Vec<_> = concerned.map(|schema| Part::Schema(name(&schema.metadata))).collect();
            parts.push(Part::Level(changed));
            parts
        });
        for schema in defaults::<FlowSchema>() {
            watches.once(Part::Schema(name(&schema.metadata)));
        }
        for level in defaults::<PriorityLevelConfiguration>() {
            watches.once(Part::Level(name(&level.metadata)));
        }
    }

    async fn reconcile(&self, cx: &Context, key: &Part) -> Result<Action, Error> {
        match key {
            Part::Level(name) => {
                let existing = self.levels.get("", name);
                let wanted = defaults::<PriorityLevelConfiguration>();
                if let Some(wanted) = wanted.into_iter().find(|level| level.metadata.name.as_ref() == Some(name)) {
                    keep(cx, existing.as_deref(), wanted, |a, b| a.spec == b.spec).await?;
                }
            }
            Part::Schema(name) => {
                let existing = self.schemas.get("", name);
                let wanted = defaults::<FlowSchema>();
                if let Some(wanted) = wanted.into_iter().find(|schema| schema.metadata.name.as_ref() == Some(name)) {
                    keep(cx, existing.as_deref(), wanted, |a, b| a.spec == b.spec).await?;
                }
                if let Some(schema) = existing {
                    let level = level_of(&schema);
                    let found = self.levels.get("", &level).is_some();
                    if let Some(status) = dangling(&schema, &level, found, cx) {
                        let changed = FlowSchema { status: Some(status), ..(*schema).clone() };
                        cx.cluster::<FlowSchema>().replace_status(&changed).await?;
                    }
                }
            }
        }
        Ok(Action::done())
    }
}

fn level_of(schema: &FlowSchema) -> String {
    schema.spec.as_ref().map(|spec| spec.priority_level_configuration.name.clone()).unwrap_or_default()
}

/// The status that tells whether the level exists; `None` where it says so already.
fn dangling(schema: &FlowSchema, level: &str, found: bool, cx: &Context) -> Option<FlowSchemaStatus> {
    let (status, reason, message) = match found {
        true => (
            "False",
            "Found",
            format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists"),
        ),
        false => (
            "True",
            "NotFound",
            format!(
                "This FlowSchema references the PriorityLevelConfiguration object named {level:?} but there is no such object"
            ),
        ),
    };
    let mut conditions = schema.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let said = conditions.iter().find(|condition| condition.type_.as_deref() == Some("Dangling"));
    if said.is_some_and(|said| said.status.as_deref() == Some(status) && said.message.as_deref() == Some(&*message)) {
        return None;
    }
    conditions.retain(|condition| condition.type_.as_deref() != Some("Dangling"));
    conditions.push(FlowSchemaCondition {
        type_: Some("Dangling".to_owned()),
        status: Some(status.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(time(cx.env.clock.now())),
    });
    Some(FlowSchemaStatus { conditions: Some(conditions) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_read() {
        assert_eq!(
            defaults::<FlowSchema>().len() + defaults::<PriorityLevelConfiguration>().len(),
            DEFAULTS.matches("apiVersion:").count()
        );
        let schemas = defaults::<FlowSchema>();
        let levels: Vec<_> =
            defaults::<PriorityLevelConfiguration>().into_iter().map(|level| level.metadata.name.unwrap()).collect();
        assert!(schemas.iter().all(|schema| levels.contains(&level_of(schema))));
    }

    #[test]
    fn what_a_user_changed_stays_unless_it_is_mandatory() {
        let meta = |name: &str, generation: i64, annotation: Option<&str>| ObjectMeta {
            name: Some(name.to_owned()),
            generation: Some(generation),
            annotations: annotation.map(|value| [(AUTO_UPDATE.to_owned(), value.to_owned())].into()),
            ..ObjectMeta::default()
        };
        let cases = [
            (meta("exempt", 5, Some("false")), false, Care::Update),
            (meta("system", 1, None), false, Care::Update),
            (meta("system", 2, None), false, Care::Keep),
            (meta("system", 2, Some("true")), false, Care::Update),
            (meta("system", 1, Some("false")), false, Care::Keep),
            (meta("system", 1, None), true, Care::Keep),
        ];
        for (meta, same, wanted) in cases {
            assert_eq!(care(&meta, same), wanted, "{meta:?}");
        }
    }
}
