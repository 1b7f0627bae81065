//! DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or unreachable.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, Toleration};

use super::{Attributes, Operation, Plugin};
use crate::api::object::Object;
use crate::api::status::Result;

pub struct DefaultTolerationSeconds;

const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        let writes = matches!(attributes.operation, Operation::Create | Operation::Update);
        let Some(pod) = object.downcast_mut::<Pod>().filter(|_| writes && attributes.is("", "pods")) else {
            return Ok(());
        };
        let spec = pod.spec.get_or_insert_with(Default::default);
        let given = spec.tolerations.clone().unwrap_or_default();
        for taint in TAINTS.into_iter().filter(|taint| !given.iter().any(|given| covers(given, taint))) {
            spec.tolerations.get_or_insert_default().push(Toleration {
                key: Some(taint.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                toleration_seconds: Some(SECONDS),
                value: None,
            });
        }
        Ok(())
    }
}

fn covers(given: &Toleration, taint: &str) -> bool {
    let key = given.key.as_deref().unwrap_or_default();
    let effect = given.effect.as_deref().unwrap_or_default();
    (key.is_empty() || key == taint) && (effect.is_empty() || effect == "NoExecute")
}
