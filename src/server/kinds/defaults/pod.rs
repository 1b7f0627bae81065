//! The defaults of pods and pod templates, as upstream's `SetDefaults_Pod`, `_PodSpec`, `_Container`, `_Probe`…

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, HTTPGetAction, Lifecycle, Pod, PodIP, PodSpec, PodStatus, PodTemplateSpec, Probe,
    ResourceRequirements,
};

use super::{absent, fill, number, quantities, quantity, text, volumes};

/// A pod of its own: what a template leaves open is decided here.
pub fn pod(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    pod_spec(spec);
    let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
    for container in containers {
        if let Some(resources) = &mut container.resources {
            fill(&mut resources.requests, resources.limits.as_ref());
        }
        if spec.host_network == Some(true) {
            container.ports.iter_mut().flatten().for_each(host_port);
        }
    }
    super::pod_level::resources(spec);
    absent(&mut spec.enable_service_links, true);
    pod.status.iter_mut().for_each(addresses);
}

/// The single address is the first of the list, and counts where they differ.
fn addresses(status: &mut PodStatus) {
    let first = status.pod_ips.iter().flatten().next().map(|address| address.ip.clone());
    match status.pod_ip.clone().filter(|single| !single.is_empty()) {
        Some(single) if first.as_ref() != Some(&single) => status.pod_ips = Some(vec![PodIP { ip: single }]),
        Some(_) => {}
        None => status.pod_ip = first,
    }
}

pub fn template(template: &mut PodTemplateSpec) {
    template.metadata.get_or_insert_default();
    pod_spec(template.spec.get_or_insert_default());
}

/// What pods and templates have in common.
pub fn pod_spec(spec: &mut PodSpec) {
    text(&mut spec.dns_policy, "ClusterFirst");
    text(&mut spec.restart_policy, "Always");
    spec.security_context.get_or_insert_default();
    absent(&mut spec.termination_grace_period_seconds, 30);
    text(&mut spec.scheduler_name, "default-scheduler");
    service_account(spec);
    quantities(&mut spec.overhead);
    resources(&mut spec.resources);
    spec.volumes.iter_mut().flatten().for_each(volumes::volume);
    spec.containers.iter_mut().for_each(container);
    spec.init_containers.iter_mut().flatten().for_each(container);
    for ephemeral in spec.ephemeral_containers.iter_mut().flatten() {
        common(
            ephemeral.image.as_deref(),
            &mut ephemeral.image_pull_policy,
            &mut ephemeral.termination_message_path,
            &mut ephemeral.termination_message_policy,
        );
        ephemeral.env.iter_mut().flatten().for_each(env);
        ephemeral.ports.iter_mut().flatten().for_each(|port| text(&mut port.protocol, "TCP"));
    }
}

/// The old field and the new one mirror each other; the new one wins.
fn service_account(spec: &mut PodSpec) {
    let set = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let name = set(&spec.service_account_name).or_else(|| set(&spec.service_account));
    if name.is_some() {
        spec.service_account_name.clone_from(&name);
        spec.service_account = name;
    }
}

fn container(container: &mut Container) {
    common(
        container.image.as_deref(),
        &mut container.image_pull_policy,
        &mut container.termination_message_path,
        &mut container.termination_message_policy,
    );
    container.ports.iter_mut().flatten().for_each(|port| text(&mut port.protocol, "TCP"));
    container.env.iter_mut().flatten().for_each(env);
    container.resources.get_or_insert_default();
    resources(&mut container.resources);
    let probes = [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    probes.into_iter().flatten().for_each(probe);
    container.lifecycle.iter_mut().for_each(lifecycle);
}

fn common(
    image: Option<&str>,
    pull_policy: &mut Option<String>,
    message_path: &mut Option<String>,
    message_policy: &mut Option<String>,
) {
    text(pull_policy, pull_policy_of(image.unwrap_or_default()));
    text(message_path, "/dev/termination-log");
    text(message_policy, "File");
}

/// `Always` for an image without a tag or with `:latest`; a digest pins it, and a template may not know it yet.
pub fn pull_policy_of(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    // A colon before the last slash belongs to the registry's port.
    let tag = name.rsplit('/').next().and_then(|name| name.split_once(':'));
    match tag {
        Some((_, "latest")) => "Always",
        None if digest.is_none() && !image.is_empty() => "Always",
        _ => "IfNotPresent",
    }
}

fn host_port(port: &mut ContainerPort) {
    number(&mut port.host_port, port.container_port);
}

pub fn env(env: &mut EnvVar) {
    let Some(source) = &mut env.value_from else { return };
    if let Some(field) = &mut source.field_ref {
        text(&mut field.api_version, "v1");
    }
    if let Some(resource) = &mut source.resource_field_ref {
        quantity(resource.divisor.get_or_insert_with(|| "0".to_owned().into_quantity()));
    }
    if let Some(file) = &mut source.file_key_ref {
        absent(&mut file.optional, false);
    }
}

/// A text as a wire quantity.
pub(super) trait IntoQuantity {
    fn into_quantity(self) -> k8s_openapi::apimachinery::pkg::api::resource::Quantity;
}
impl IntoQuantity for String {
    fn into_quantity(self) -> k8s_openapi::apimachinery::pkg::api::resource::Quantity {
        k8s_openapi::apimachinery::pkg::api::resource::Quantity(self)
    }
}

fn resources(resources: &mut Option<ResourceRequirements>) {
    if let Some(resources) = resources {
        quantities(&mut resources.limits);
        quantities(&mut resources.requests);
    }
}

fn probe(probe: &mut Probe) {
    number(&mut probe.timeout_seconds, 1);
    number(&mut probe.period_seconds, 10);
    number(&mut probe.success_threshold, 1);
    number(&mut probe.failure_threshold, 3);
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        absent(&mut grpc.service, String::new());
    }
}

fn lifecycle(lifecycle: &mut Lifecycle) {
    let handlers = [&mut lifecycle.post_start, &mut lifecycle.pre_stop];
    handlers.into_iter().flatten().filter_map(|handler| handler.http_get.as_mut()).for_each(http_get);
}

fn http_get(action: &mut HTTPGetAction) {
    text(&mut action.path, "/");
    text(&mut action.scheme, "HTTP");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Applies the defaults of a pod to a spec.
    fn defaulted(spec: Value) -> Value {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec});
        let mut object: Pod = serde_json::from_value(object).unwrap();
        pod(&mut object);
        serde_json::to_value(object.spec).unwrap()
    }

    #[test]
    fn pull_policy_follows_the_tag() {
        let cases = [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.27", "IfNotPresent"),
            ("registry:5000/nginx", "Always"),
            ("registry:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:aa", "IfNotPresent"),
            ("nginx:latest@sha256:aa", "Always"),
            ("", "IfNotPresent"),
        ];
        for (image, policy) in cases {
            assert_eq!(pull_policy_of(image), policy, "{image}");
        }
    }

    #[test]
    fn the_two_fields_for_the_addresses_of_a_pod_agree() {
        let cases = [
            (json!({"podIP": "10.0.0.1"}), json!(["10.0.0.1", ["10.0.0.1"]])),
            (json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}), json!(["10.0.0.1", ["10.0.0.1", "fd00::1"]])),
            (
                json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.2"}, {"ip": "fd00::1"}]}),
                json!(["10.0.0.1", ["10.0.0.1"]]),
            ),
            (json!({}), json!([null, []])),
        ];
        for (status, expected) in cases {
            let mut status: PodStatus = serde_json::from_value(status).unwrap();
            addresses(&mut status);
            let all: Vec<_> = status.pod_ips.into_iter().flatten().map(|address| address.ip).collect();
            assert_eq!(json!([status.pod_ip, all]), expected);
        }
    }

    #[test]
    fn a_bare_pod_gets_upstreams_defaults() {
        let spec =
            defaulted(json!({"containers": [{"name": "a", "image": "nginx:1", "ports": [{"containerPort": 80}]}]}));
        let expected = json!({
            "containers": [{
                "name": "a", "image": "nginx:1", "imagePullPolicy": "IfNotPresent", "resources": {},
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"
            }],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30
        });
        assert_eq!(spec, expected);
    }

    #[test]
    fn requests_come_from_limits_and_host_ports_from_the_host_network() {
        let spec = defaulted(json!({
            "hostNetwork": true, "serviceAccount": "robot",
            "containers": [{
                "name": "a", "image": "b", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": "0.5"}},
                "readinessProbe": {"httpGet": {"port": 80}}
            }]
        }));
        let container = &spec["containers"][0];
        assert_eq!(container["ports"][0]["hostPort"], 80);
        assert_eq!(container["resources"]["limits"], json!({"cpu": "1", "memory": "1Gi"}));
        assert_eq!(container["resources"]["requests"], json!({"cpu": "500m", "memory": "1Gi"}));
        assert_eq!(spec["serviceAccountName"], "robot");
        let probe = json!({
            "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
            "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3
        });
        assert_eq!(container["readinessProbe"], probe);
    }
}
