//! THE list of kinds: routing, discovery, OpenAPI, storage and RBAC names come from here.
//! Adding a kind is one file under `kinds/` and one line below.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::kinds::{
    admissionregistration, apiextensions, apiregistration, apps, authentication, authorization, autoscaling, batch,
    certificates, coordination, core, discovery, events, flowcontrol, networking, node, policy, rbac, resource,
    scheduling, storage,
};
use super::strategy::{Kind, of};

/// Every built-in kind, in upstream's discovery order of groups.
fn built_in() -> Vec<Box<dyn Kind>> {
    vec![
        of(core::binding::Bindings),
        of(core::component_status::ComponentStatuses),
        of(core::configmap::ConfigMaps),
        of(core::endpoints::EndpointsKind),
        of(core::event::Events),
        of(core::limit_range::LimitRanges),
        of(core::namespace::Namespaces),
        of(core::node::Nodes),
        of(core::persistent_volume_claim::PersistentVolumeClaims),
        of(core::persistent_volume::PersistentVolumes),
        of(core::pod::Pods),
        of(core::pod_template::PodTemplates),
        of(core::replication_controller::ReplicationControllers),
        of(core::resource_quota::ResourceQuotas),
        of(core::secret::Secrets),
        of(core::service_account::ServiceAccounts),
        of(core::service::Services),
        of(apiregistration::api_service::ApiServices),
        of(apps::controller_revision::ControllerRevisions),
        of(apps::daemon_set::DaemonSets),
        of(apps::deployment::Deployments),
        of(apps::replica_set::ReplicaSets),
        of(apps::stateful_set::StatefulSets),
        of(events::event::Events),
        of(authentication::self_subject_review::SelfSubjectReviews),
        of(authentication::token_review::TokenReviews),
        of(authorization::local_subject_access_review::LocalSubjectAccessReviews),
        of(authorization::self_subject_access_review::SelfSubjectAccessReviews),
        of(authorization::self_subject_rules_review::SelfSubjectRulesReviews),
        of(authorization::subject_access_review::SubjectAccessReviews),
        of(autoscaling::hpa_v2::HorizontalPodAutoscalersV2),
        of(autoscaling::hpa_v1::HorizontalPodAutoscalersV1),
        of(batch::cron_job::CronJobs),
        of(batch::job::Jobs),
        of(certificates::certificate_signing_request::CertificateSigningRequests),
        of(networking::ingress_class::IngressClasses),
        of(networking::ingress::Ingresses),
        of(networking::ip_address::IpAddresses),
        of(networking::network_policy::NetworkPolicies),
        of(networking::service_cidr::ServiceCidrs),
        of(policy::pod_disruption_budget::PodDisruptionBudgets),
        of(rbac::cluster_role_binding::ClusterRoleBindings),
        of(rbac::cluster_role::ClusterRoles),
        of(rbac::role_binding::RoleBindings),
        of(rbac::role::Roles),
        of(storage::csi_driver::CsiDrivers),
        of(storage::csi_node::CsiNodes),
        of(storage::csi_storage_capacity::CsiStorageCapacities),
        of(storage::storage_class::StorageClasses),
        of(storage::volume_attachment::VolumeAttachments),
        of(storage::volume_attributes_class::VolumeAttributesClasses),
        of(admissionregistration::mutating_admission_policy::MutatingAdmissionPolicies),
        of(admissionregistration::mutating_admission_policy_binding::MutatingAdmissionPolicyBindings),
        of(admissionregistration::mutating_webhook_configuration::MutatingWebhookConfigurations),
        of(admissionregistration::validating_admission_policy::ValidatingAdmissionPolicies),
        of(admissionregistration::validating_admission_policy_binding::ValidatingAdmissionPolicyBindings),
        of(admissionregistration::validating_webhook_configuration::ValidatingWebhookConfigurations),
        of(apiextensions::custom_resource_definition::CustomResourceDefinitions),
        of(scheduling::priority_class::PriorityClasses),
        of(coordination::lease::Leases),
        of(node::runtime_class::RuntimeClasses),
        of(discovery::endpoint_slice::EndpointSlices),
        of(flowcontrol::flow_schema::FlowSchemas),
        of(flowcontrol::priority_level_configuration::PriorityLevelConfigurations),
        of(resource::device_class::DeviceClasses),
        of(resource::resource_claim::ResourceClaims),
        of(resource::resource_claim_template::ResourceClaimTemplates),
        of(resource::resource_slice::ResourceSlices),
    ]
}

/// The kinds by the names requests use.
pub struct Catalog {
    kinds: Vec<Box<dyn Kind>>,
    by_resource: HashMap<(&'static str, &'static str, &'static str), usize>,
}

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let kinds = built_in();
    let names = kinds.iter().enumerate().map(|(at, kind)| {
        let meta = kind.meta();
        ((meta.group, meta.version, meta.plural), at)
    });
    let by_resource = names.collect();
    Catalog { kinds, by_resource }
});

/// The one catalog of the process.
pub fn catalog() -> &'static Catalog {
    &CATALOG
}

impl Catalog {
    pub fn kinds(&'static self) -> impl Iterator<Item = &'static dyn Kind> {
        self.kinds.iter().map(AsRef::as_ref)
    }

    /// The kind a request path names.
    pub fn find(&'static self, group: &str, version: &str, plural: &str) -> Option<&'static dyn Kind> {
        let at = self.by_resource.get(&(group, version, plural) as &(&str, &str, &str))?;
        Some(self.kinds[*at].as_ref())
    }

    /// The kind a body names.
    pub fn find_kind(&'static self, group: &str, version: &str, kind: &str) -> Option<&'static dyn Kind> {
        self.kinds().find(|k| {
            let meta = k.meta();
            meta.group == group && meta.version == version && meta.kind == kind
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::strategy::{ALL_VERBS, Meta, Subresource};

    /// A line of `catalog_facts.txt` as our own facts would write it.
    fn line(meta: &Meta) -> String {
        let mut verbs: Vec<_> = meta.verbs.iter().map(|verb| verb.as_str()).collect();
        verbs.sort_unstable();
        let verbs = if verbs.len() == ALL_VERBS.len() { "*".to_owned() } else { verbs.join(",") };
        let scope = if meta.namespaced { "namespaced" } else { "cluster" };
        let mut line = format!("{} {} {} {scope} {verbs}", meta.api_version(), meta.plural, meta.kind);
        for sub in meta.subresources {
            line.push_str(&subresource(meta, sub));
        }
        line
    }

    fn subresource(meta: &Meta, sub: &Subresource) -> String {
        // What OpenAPI calls "connect", discovery spells out as methods.
        let connects = sub.kind.ends_with("Options");
        let (group, version) = sub.group_version.unwrap_or((meta.group, meta.version));
        let owner = crate::api::gvk::api_version(group, version);
        let verbs = if connects { "connect".to_owned() } else { sub.verbs.join(",") };
        format!(" {}={owner}/{}[{verbs}]", sub.name, sub.kind)
    }

    #[test]
    fn the_catalog_is_the_published_api() {
        let facts = include_str!("catalog_facts.txt");
        let mut published: Vec<_> = facts.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        let mut ours: Vec<_> = catalog().kinds().map(|kind| line(kind.meta())).collect();
        published.sort();
        ours.sort();
        for (ours, published) in ours.iter().zip(&published) {
            assert_eq!(ours, published);
        }
        assert_eq!(ours.len(), published.len());
    }

    #[test]
    fn every_kind_reads_what_it_writes() {
        for kind in catalog().kinds() {
            let meta = kind.meta();
            let minimal = format!(
                r#"{{"apiVersion":"{}","kind":"{}","metadata":{{"name":"x"}}}}"#,
                meta.api_version(),
                meta.kind
            );
            // Kinds with required fields refuse the minimal object; that is not what is looked at here.
            let Ok(mut object) = kind.decode(minimal.as_bytes()) else { continue };
            kind.prepare_create(object.as_mut());
            kind.default(object.as_mut());
            kind.normalize(object.as_mut()).unwrap();
            let stored = kind.to_stored(object.as_ref()).unwrap_or_else(|| object.boxed_clone());
            assert_eq!(kind.to_stored(object.as_ref()).is_some(), meta.stored_as.is_some(), "{}", meta.plural);
            let back = kind.decode_stored(&stored.to_json()).unwrap();
            assert!(kind.equal(back.as_ref(), object.as_ref()), "{}: {back:?} is not {object:?}", meta.plural);
            // Defaults are idempotent: they run again after admission.
            let mut again = object.boxed_clone();
            kind.default(again.as_mut());
            assert!(kind.equal(again.as_ref(), object.as_ref()), "{}", meta.plural);
            // The cells fit the columns, and the selectable fields are those promised.
            if let Some(cells) = kind.cells(object.as_ref(), jiff::Timestamp::UNIX_EPOCH) {
                assert_eq!(cells.len(), kind.columns().len(), "{}", meta.plural);
            }
            let fields: Vec<_> = kind.fields(object.as_ref()).into_iter().map(|(name, _)| name).collect();
            assert_eq!(fields, kind.selectable(), "{}", meta.plural);
        }
    }
}
