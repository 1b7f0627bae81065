//! Values of errors whose type has no JSON names upstream: they are shown with Go's names for the fields, in the order
//! of their declaration, and what is not there is null. Pure.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, NodeAddress, NodeSelectorRequirement, NodeSelectorTerm, PodResourceClaim,
    SELinuxOptions, ScopeSelector, ScopedResourceSelectorRequirement, SeccompProfile, SecurityContext, Taint,
    VolumeNodeAffinity, WindowsSecurityContextOptions,
};
use serde::Serialize;

use super::{json, text};

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn plain<T: Serialize + ?Sized>(value: &T) -> String {
    json(&value).to_string()
}

fn optional<T>(value: Option<&T>, show: impl Fn(&T) -> String) -> String {
    value.map_or_else(|| "null".to_owned(), show)
}

fn list<T>(items: Option<&Vec<T>>, show: impl Fn(&T) -> String) -> String {
    optional(items, |items| format!("[{}]", items.iter().map(&show).collect::<Vec<_>>().join(",")))
}

/// What makes a port of a Service the same as another: the rest of it is left out of the comparison.
pub fn service_port(protocol: &str, port: i32) -> String {
    object(&[
        ("Name", plain("")),
        ("Protocol", plain(protocol)),
        ("AppProtocol", "null".to_owned()),
        ("Port", plain(&port)),
        ("TargetPort", plain(&0)),
        ("NodePort", plain(&0)),
    ])
}

pub fn taint(taint: &Taint) -> String {
    object(&[
        ("Key", plain(&taint.key)),
        ("Value", plain(text(&taint.value))),
        ("Effect", plain(&taint.effect)),
        ("TimeAdded", plain(&taint.time_added)),
    ])
}

pub fn node_address(address: &NodeAddress) -> String {
    object(&[("Type", plain(&address.type_)), ("Address", plain(&address.address))])
}

pub fn pod_claim(claim: &PodResourceClaim) -> String {
    object(&[
        ("Name", plain(&claim.name)),
        ("ResourceClaimName", plain(&claim.resource_claim_name)),
        ("ResourceClaimTemplateName", plain(&claim.resource_claim_template_name)),
    ])
}

fn node_requirement(requirement: &NodeSelectorRequirement) -> String {
    object(&[
        ("Key", plain(&requirement.key)),
        ("Operator", plain(&requirement.operator)),
        ("Values", plain(&requirement.values)),
    ])
}

pub fn node_term(term: &NodeSelectorTerm) -> String {
    object(&[
        ("MatchExpressions", list(term.match_expressions.as_ref(), node_requirement)),
        ("MatchFields", list(term.match_fields.as_ref(), node_requirement)),
    ])
}

pub fn node_terms(terms: Option<&Vec<NodeSelectorTerm>>) -> String {
    list(terms, node_term)
}

pub fn volume_affinity(affinity: Option<&VolumeNodeAffinity>) -> String {
    optional(affinity, |affinity| {
        let terms = |required: &k8s_openapi::api::core::v1::NodeSelector| {
            object(&[("NodeSelectorTerms", node_terms(Some(&required.node_selector_terms)))])
        };
        object(&[("Required", optional(affinity.required.as_ref(), terms))])
    })
}

pub fn scope_selector(selector: &ScopeSelector) -> String {
    let requirement = |requirement: &ScopedResourceSelectorRequirement| {
        object(&[
            ("ScopeName", plain(&requirement.scope_name)),
            ("Operator", plain(&requirement.operator)),
            ("Values", plain(&requirement.values)),
        ])
    };
    object(&[("MatchExpressions", list(selector.match_expressions.as_ref(), requirement))])
}

fn profile(kind: &str, file: &Option<String>) -> String {
    object(&[("Type", plain(kind)), ("LocalhostProfile", plain(file))])
}

pub fn seccomp(it: &SeccompProfile) -> String {
    profile(&it.type_, &it.localhost_profile)
}

fn app_armor(it: &AppArmorProfile) -> String {
    profile(&it.type_, &it.localhost_profile)
}

fn capabilities(capabilities: &Capabilities) -> String {
    object(&[("Add", plain(&capabilities.add)), ("Drop", plain(&capabilities.drop))])
}

fn se_linux(options: &SELinuxOptions) -> String {
    object(&[
        ("User", plain(text(&options.user))),
        ("Role", plain(text(&options.role))),
        ("Type", plain(text(&options.type_))),
        ("Level", plain(text(&options.level))),
    ])
}

fn windows(options: &WindowsSecurityContextOptions) -> String {
    object(&[
        ("GMSACredentialSpecName", plain(&options.gmsa_credential_spec_name)),
        ("GMSACredentialSpec", plain(&options.gmsa_credential_spec)),
        ("RunAsUserName", plain(&options.run_as_user_name)),
        ("HostProcess", plain(&options.host_process)),
    ])
}

pub fn security_context(context: &SecurityContext) -> String {
    object(&[
        ("Capabilities", optional(context.capabilities.as_ref(), capabilities)),
        ("Privileged", plain(&context.privileged)),
        ("SELinuxOptions", optional(context.se_linux_options.as_ref(), se_linux)),
        ("WindowsOptions", optional(context.windows_options.as_ref(), windows)),
        ("RunAsUser", plain(&context.run_as_user)),
        ("RunAsGroup", plain(&context.run_as_group)),
        ("RunAsNonRoot", plain(&context.run_as_non_root)),
        ("ReadOnlyRootFilesystem", plain(&context.read_only_root_filesystem)),
        ("AllowPrivilegeEscalation", plain(&context.allow_privilege_escalation)),
        ("ProcMount", plain(&context.proc_mount)),
        ("SeccompProfile", optional(context.seccomp_profile.as_ref(), seccomp)),
        ("AppArmorProfile", optional(context.app_armor_profile.as_ref(), app_armor)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out() {
        let context = SecurityContext {
            capabilities: Some(Capabilities { add: Some(vec!["CAP_SYS_ADMIN".to_owned()]), drop: None }),
            allow_privilege_escalation: Some(false),
            seccomp_profile: Some(SeccompProfile { type_: "Unconfined".to_owned(), localhost_profile: None }),
            ..Default::default()
        };
        let expected = concat!(
            r#"{"Capabilities":{"Add":["CAP_SYS_ADMIN"],"Drop":null},"Privileged":null,"SELinuxOptions":null,"#,
            r#""WindowsOptions":null,"RunAsUser":null,"RunAsGroup":null,"RunAsNonRoot":null,"#,
            r#""ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":false,"ProcMount":null,"#,
            r#""SeccompProfile":{"Type":"Unconfined","LocalhostProfile":null},"AppArmorProfile":null}"#,
        );
        assert_eq!(security_context(&context), expected);
        assert_eq!(volume_affinity(None), "null");
        assert_eq!(node_terms(Some(&vec![Default::default()])), r#"[{"MatchExpressions":null,"MatchFields":null}]"#);
    }
}
