//! Which Secrets a pod may name: those of its account, where the account says so by an annotation. Pure.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Pod, PodSpec, ServiceAccount};

use crate::api::references::{Kind, PodView};

const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

type Refusal = Result<(), String>;

/// Whether the account limits the Secrets of its pods. The values are those that Go takes for true.
fn enforced(account: &ServiceAccount) -> bool {
    let value = account.metadata.annotations.as_ref().and_then(|all| all.get(ENFORCE));
    value.is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// A static pod comes from a file of the node: it gets nothing of the cluster.
pub(super) fn none_in_mirror(pod: &Pod) -> Result<(), &'static str> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    if spec.service_account_name.as_deref().is_some_and(|name| !name.is_empty()) {
        return Err("a mirror pod may not reference service accounts");
    }
    if PodView::of(pod).is_ok_and(|pod| pod.names(Kind::Secret)) {
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

/// Says which Secret the account does not list.
pub(super) fn allowed(account: &ServiceAccount, spec: &PodSpec) -> Refusal {
    if !enforced(account) {
        return Ok(());
    }
    for volume in spec.volumes.iter().flatten() {
        let Some(secret) = &volume.secret else { continue };
        let name = secret.secret_name.as_deref().unwrap_or_default();
        listed(account, name, || format!("volume with secret.secretName=\"{name}\""))?;
    }
    for container in spec.init_containers.iter().flatten() {
        environment(account, "init container", &container.name, &container.env, &container.env_from)?;
    }
    for container in &spec.containers {
        environment(account, "container", &container.name, &container.env, &container.env_from)?;
    }
    pull_secrets(account, spec)
}

/// The same of what comes to a pod that is there.
pub(super) fn allowed_later(account: &ServiceAccount, spec: &PodSpec) -> Refusal {
    let mut containers = spec.ephemeral_containers.iter().flatten().filter(|_| enforced(account));
    containers.try_for_each(|own| environment(account, "ephemeral container", &own.name, &own.env, &own.env_from))
}

fn environment(
    account: &ServiceAccount,
    what: &str,
    name: &str,
    env: &Option<Vec<EnvVar>>,
    from: &Option<Vec<EnvFromSource>>,
) -> Refusal {
    for (variable, secret) in variables(env) {
        let told = || format!("{what} {name} with envVar {variable} referencing secret.secretName=\"{secret}\"");
        listed(account, secret, told)?;
    }
    for secret in sources(from) {
        listed(account, secret, || format!("{what} {name} with envFrom referencing secret.secretName=\"{secret}\""))?;
    }
    Ok(())
}

fn listed(account: &ServiceAccount, secret: &str, told: impl FnOnce() -> String) -> Refusal {
    if account.secrets.iter().flatten().any(|own| own.name.as_deref() == Some(secret)) {
        return Ok(());
    }
    let owner = owner(account);
    Err(format!("{} is not allowed because service account {owner} does not reference that secret", told()))
}

fn owner(account: &ServiceAccount) -> &str {
    account.metadata.name.as_deref().unwrap_or_default()
}

fn pull_secrets(account: &ServiceAccount, spec: &PodSpec) -> Refusal {
    for (at, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        if !account.image_pull_secrets.iter().flatten().any(|own| own.name == secret.name) {
            return Err(format!(
                "imagePullSecrets[{at}].name=\"{}\" is not allowed because service account {} does not reference that imagePullSecret",
                secret.name,
                owner(account)
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
        let mut whole = json!({"containers": [{"name": "c"}]});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let spec = serde_json::from_value(whole).unwrap();
        allowed(&account, &spec).and_then(|()| allowed_later(&account, &spec)).err().unwrap_or_default()
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
            (
                json!({"ephemeralContainers": [{"name": "e", "env": env("mine")}, {"name": "f", "env": env("other")}]}),
                format!("ephemeral container f with envVar V referencing secret.secretName=\"other\" {tail}"),
            ),
            (
                json!({"ephemeralContainers": [{"name": "e", "envFrom": [{"secretRef": {"name": "other"}}]}]}),
                format!("ephemeral container e with envFrom referencing secret.secretName=\"other\" {tail}"),
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
    fn an_account_limits_nothing_unless_it_says_so() {
        let spec = json!({"containers": [], "volumes": [{"name": "v", "secret": {"secretName": "other"}}]});
        let spec = serde_json::from_value(spec).unwrap();
        for (value, limits) in [("true", true), ("1", true), ("T", true), ("yes", false), ("false", false), ("", false)]
        {
            let account = json!({"metadata": {"name": "a", "annotations": {ENFORCE: value}}});
            let account = serde_json::from_value(account).unwrap();
            assert_eq!(allowed(&account, &spec).is_err(), limits, "{value}");
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
