//! The resourcequota controller: says in each quota's status what its namespace uses.
//!
//! Admission charges what comes; this gives back what has gone and counts anew where the limits change. Quotas are read
//! before their objects, and the status is written only if nobody was admitted meanwhile: so the numbers are exact.
//! What the garbage collector sees go is told to this too; without it only pods and claims are.

mod count;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota};
use parking_lot::Mutex;

use super::gc::Gone;
use crate::api::quota::{self, Counted};
use crate::reconcile::clock::until;
use crate::reconcile::{Action, Change, Context, Controller, Env, Error, Index, Informer, Key, Watches};

/// Until admission knows new limits, what is created is not charged: it is counted once more after this.
const SETTLED: Duration = Duration::from_secs(1);

type Add = Arc<dyn Fn(Key) + Send + Sync>;

/// Keyed by namespace.
pub struct ResourceQuotas {
    quotas: Informer<ResourceQuota>,
    by_namespace: Index<String, ResourceQuota>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    /// Present once the loop runs.
    add: Arc<Mutex<Option<Add>>>,
}

impl ResourceQuotas {
    pub fn new(env: &Env) -> Self {
        let quotas: Informer<ResourceQuota> = env.informers.get();
        let by_namespace =
            Index::new(&quotas, |quota: &ResourceQuota| quota.metadata.namespace.iter().cloned().collect());
        Self { quotas, by_namespace, pods: env.informers.get(), claims: env.informers.get(), add: Arc::default() }
    }

    /// What to call when an object of a namespace is gone.
    pub fn gone(&self) -> Gone {
        let (add, quotas) = (self.add.clone(), self.by_namespace.clone());
        Arc::new(move |namespace| {
            let concerned = !namespace.is_empty() && quotas.contains(&namespace.to_owned());
            if let Some(add) = add.lock().as_ref().filter(|_| concerned) {
                add(Key::new("", namespace));
            }
        })
    }
}

/// Whether limits or what is said of them differ from what was wanted.
fn is_unsettled(quota: &ResourceQuota) -> bool {
    let wanted = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let said = quota.status.as_ref().and_then(|status| status.hard.as_ref());
    quota::amounts(wanted) != quota::amounts(said)
}

/// The namespace in which a pod's change gives something back.
fn freed_by_pod(change: &Change<Pod>) -> Option<Key> {
    let now = jiff::Timestamp::now();
    let before = Counted::Pod(change.old.as_ref()?).usage(now);
    let after = change.new.as_ref().map(|pod| Counted::Pod(pod).usage(now)).unwrap_or_default();
    let deleting = |pod: &Option<Arc<Pod>>| pod.as_ref().is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
    let changed = before != after || deleting(&change.old) != deleting(&change.new);
    changed.then(|| Key::new("", change.object().metadata.namespace.clone().unwrap_or_default()))
}

fn freed_by_claim(change: &Change<PersistentVolumeClaim>) -> Option<Key> {
    let now = jiff::Timestamp::now();
    let before = Counted::Claim(change.old.as_ref()?).usage(now);
    let after = change.new.as_ref().map(|claim| Counted::Claim(claim).usage(now)).unwrap_or_default();
    (before != after).then(|| Key::new("", change.object().metadata.namespace.clone().unwrap_or_default()))
}

#[async_trait]
impl Controller for ResourceQuotas {
    type Key = Key;

    fn name(&self) -> &'static str {
        "resourcequota"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.quotas, |change| {
            let old = change.old.as_ref().and_then(|quota| quota.spec.as_ref());
            let quota = change.new.as_ref().filter(|quota| is_unsettled(quota) || quota.spec.as_ref() != old)?;
            Some(Key::new("", quota.metadata.namespace.clone().unwrap_or_default()))
        });
        watches.on(&self.pods, freed_by_pod);
        watches.on(&self.claims, freed_by_claim);
        *self.add.lock() = Some(Arc::new(watches.adder()));
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let namespace = &key.name;
        if !self.by_namespace.contains(namespace) {
            return Ok(Action::done());
        }
        let writer = cx.namespaced::<ResourceQuota>(namespace);
        let quotas = writer.api().list(&Default::default()).await?.items;
        let now = cx.env.clock.now();
        let usages = count::count(&cx.env.client, namespace, &quotas, now).await?;
        let mut settled = true;
        for (mut quota, used) in quotas.into_iter().zip(usages.of_each) {
            settled &= !is_unsettled(&quota);
            let status = count::status(&quota, &used);
            if count::differs(quota.status.as_ref(), &status) {
                quota.status = Some(status);
                writer.replace_status(&quota).await?;
            }
        }
        let due = usages.next_expiry.map(|at| until(now, at) + SETTLED);
        Ok(Action::maybe_after(if settled { due } else { Some(SETTLED) }))
    }
}
