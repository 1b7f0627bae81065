//! Which Secrets a pod may name: those of its account, where the account says so by an annotation. Pure.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Pod, PodSpec, ServiceAccount, Volume};

const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

type Refusal = Result<(), String>;

/// Whether the account limits the Secrets of its pods. The values are those that Go takes for true.
pub(super) fn enforced(account: &ServiceAccount) -> bool {
    let value = account.metadata.annotations.as_ref().and_then(|all| all.get(ENFORCE));
    value.is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// A static pod comes from a file of the node: it gets nothing of the cluster.
pub(super) fn none_in_mirror(pod: &Pod) -> Result<(), &'static str> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    if spec.service_account_name.as_deref().is_some_and(|name| !name.is_empty()) {
        return Err("a mirror pod may not reference service accounts");
    }
    if names_secret(spec) {
        return Err("a mirror pod may not reference secrets");
    }
    let projected = spec.volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref());
    for source in projected.flat_map(|projected| projected.sources.iter().flatten()) {
        if source.service_account_token.is_some() {
            return Err("a mirror pod may not use ServiceAccountToken volume projections");
        }
        if source.cluster_trust_bundle.is_some() {
            return Err("a mirror pod may not use ClusterTrustBundle volume projections");
        }
        if source.pod_certificate.is_some() {
            return Err("a mirror pod may not use PodCertificate volume projections");
        }
    }
    Ok(())
}

fn names_secret(spec: &PodSpec) -> bool {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut environments = containers.map(|container| (&container.env, &container.env_from));
    environments.any(|(env, from)| variables(env).next().is_some() || sources(from).next().is_some())
        || spec.image_pull_secrets.as_ref().is_some_and(|secrets| !secrets.is_empty())
        || spec.volumes.iter().flatten().any(holds_secret)
}

/// Every kind of volume that names a Secret.
fn holds_secret(volume: &Volume) -> bool {
    let projected = volume.projected.as_ref().and_then(|projected| projected.sources.as_ref());
    volume.secret.is_some()
        || projected.is_some_and(|sources| sources.iter().any(|source| source.secret.is_some()))
        || volume.azure_file.is_some()
        || volume.cephfs.as_ref().is_some_and(|ceph| ceph.secret_ref.is_some())
        || volume.cinder.as_ref().is_some_and(|cinder| cinder.secret_ref.is_some())
        || volume.csi.as_ref().is_some_and(|csi| csi.node_publish_secret_ref.is_some())
        || volume.flex_volume.as_ref().is_some_and(|flex| flex.secret_ref.is_some())
        || volume.iscsi.as_ref().is_some_and(|iscsi| iscsi.secret_ref.is_some())
        || volume.rbd.as_ref().is_some_and(|rbd| rbd.secret_ref.is_some())
        || volume.scale_io.is_some()
        || volume.storageos.as_ref().is_some_and(|storage| storage.secret_ref.is_some())
}

/// The variables that come from Secrets, with the Secrets' names.
fn variables(env: &Option<Vec<EnvVar>>) -> impl Iterator<Item = (&str, &str)> {
    env.iter().flatten().filter_map(|variable| {
        let secret = variable.value_from.as_ref()?.secret_key_ref.as_ref()?;
        Some((variable.name.as_str(), secret.name.as_str()))
    })
}

fn sources(from: &Option<Vec<EnvFromSource>>) -> impl Iterator<Item = &str> {
    from.iter().flatten().filter_map(|source| source.secret_ref.as_ref().map(|secret| secret.name.as_str()))
}

/// Says which Secret the account does not list. `ephemeral`: the other containers were looked at when the pod came.
pub(super) fn allowed(account: &ServiceAccount, spec: &PodSpec, ephemeral: bool) -> Refusal {
    let owner = account.metadata.name.as_deref().unwrap_or_default();
    let listed = |name: &str| {
        let mut secrets = account.secrets.iter().flatten();
        secrets.any(|secret| secret.name.as_deref() == Some(name))
    };
    let environment = |what: &str, name: &str, env: &Option<Vec<EnvVar>>, from: &Option<Vec<EnvFromSource>>| {
        let rule = format!("is not allowed because service account {owner} does not reference that secret");
        if let Some((variable, secret)) = variables(env).find(|(_, secret)| !listed(secret)) {
            return Err(format!(
                "{what} {name} with envVar {variable} referencing secret.secretName=\"{secret}\" {rule}"
            ));
        }
        match sources(from).find(|secret| !listed(secret)) {
            Some(secret) => {
                Err(format!("{what} {name} with envFrom referencing secret.secretName=\"{secret}\" {rule}"))
            }
            None => Ok(()),
        }
    };
    if ephemeral {
        return spec
            .ephemeral_containers
            .iter()
            .flatten()
            .try_for_each(|container| environment("container", &container.name, &container.env, &container.env_from));
    }
    for volume in spec.volumes.iter().flatten() {
        let name = volume.secret.as_ref().map(|secret| secret.secret_name.as_deref().unwrap_or_default());
        if let Some(name) = name.filter(|name| !listed(name)) {
            return Err(format!(
                "volume with secret.secretName=\"{name}\" is not allowed because service account {owner} does not reference that secret"
            ));
        }
    }
    for container in spec.init_containers.iter().flatten() {
        environment("init container", &container.name, &container.env, &container.env_from)?;
    }
    for container in &spec.containers {
        environment("container", &container.name, &container.env, &container.env_from)?;
    }
    pull_secrets(account, spec, owner)
}

fn pull_secrets(account: &ServiceAccount, spec: &PodSpec, owner: &str) -> Refusal {
    for (at, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        if !account.image_pull_secrets.iter().flatten().any(|own| own.name == secret.name) {
            return Err(format!(
                "imagePullSecrets[{at}].name=\"{}\" is not allowed because service account {owner} does not reference that imagePullSecret",
                secret.name
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refused(spec: Value) -> String {
        let account = json!({
            "metadata": {"name": "a", "annotations": {ENFORCE: "true"}},
            "secrets": [{"name": "mine"}], "imagePullSecrets": [{"name": "pull"}],
        });
        let account = serde_json::from_value(account).unwrap();
        assert!(enforced(&account));
        let mut whole = json!({"containers": [{"name": "c"}]});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        allowed(&account, &serde_json::from_value(whole).unwrap(), false).err().unwrap_or_default()
    }

    #[test]
    fn only_the_accounts_secrets_may_be_named() {
        let env = |secret: &str| json!([{"name": "V", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]);
        let tail = "is not allowed because service account a does not reference that secret";
        let cases = [
            (json!({"volumes": [{"name": "v", "secret": {"secretName": "mine"}}]}), String::new()),
            (
                json!({"volumes": [{"name": "v", "secret": {"secretName": "other"}}]}),
                format!("volume with secret.secretName=\"other\" {tail}"),
            ),
            (
                json!({"containers": [{"name": "c", "env": env("other")}]}),
                format!("container c with envVar V referencing secret.secretName=\"other\" {tail}"),
            ),
            (
                json!({"initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "other"}}]}]}),
                format!("init container i with envFrom referencing secret.secretName=\"other\" {tail}"),
            ),
            (json!({"containers": [{"name": "c", "env": env("mine")}], "imagePullSecrets": [{"name": "pull"}]}), String::new()),
            (
                json!({"imagePullSecrets": [{"name": "pull"}, {"name": "x"}]}),
                "imagePullSecrets[1].name=\"x\" is not allowed because service account a does not reference that imagePullSecret".to_owned(),
            ),
        ];
        for (spec, why) in cases {
            assert_eq!(refused(spec), why);
        }
    }

    #[test]
    fn mirror_pods_name_nothing_of_the_cluster() {
        let mirror = |spec: Value| none_in_mirror(&serde_json::from_value(json!({"spec": spec})).unwrap()).err();
        assert_eq!(mirror(json!({"containers": []})), None);
        let cases = [
            (json!({"containers": [], "serviceAccountName": "x"}), "a mirror pod may not reference service accounts"),
            (
                json!({"containers": [], "volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
                "a mirror pod may not reference secrets",
            ),
            (
                json!({"containers": [], "volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
                "a mirror pod may not use ServiceAccountToken volume projections",
            ),
            (
                json!({"containers": [], "volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "t"}}]}}]}),
                "a mirror pod may not use ClusterTrustBundle volume projections",
            ),
        ];
        for (spec, why) in cases {
            assert_eq!(mirror(spec), Some(why));
        }
    }
}
