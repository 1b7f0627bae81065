//! From a Pod's container to the runtime's: command, environment, mounts, identity and limits. No process is
//! touched; the only I/O is resolving sub paths. Called by `start`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, SecurityContext};

use super::env;
use super::model::{Instance, PodId};
use super::qos;
use super::resolv;
use super::volumes::{Places, SubPathError, sub_path};
use crate::agent::runtime::{ContainerSpec, ImageConfig, Mount, MountSource, Namespaces, Propagation, RunAs, Seccomp};
use crate::api::expand::expand;

/// The container cannot be configured: `CreateContainerConfigError` with these words.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Env(#[from] env::Error),
    #[error("container's runAsUser breaks non-root policy (pod: \"{pod}\", container: {container})")]
    RootUser { pod: PodId, container: String },
    #[error("container has runAsNonRoot and image will run as root (pod: \"{pod}\", container: {container})")]
    RootImage { pod: PodId, container: String },
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: \"{pod}\", container: {container})"
    )]
    NamedUser { user: String, pod: PodId, container: String },
    #[error("cannot find volume \"{volume}\" to mount into container \"{container}\"")]
    NoVolume { volume: String, container: String },
    #[error(transparent)]
    WrongSubPath(SubPathError),
    #[error("failed to prepare subPath for volumeMount \"{volume}\" of container \"{container}\": {error}")]
    SubPath { volume: String, container: String, error: io::Error },
}

/// What the container finds on this node.
pub struct Inputs<'a> {
    pub pod: &'a Pod,
    pub container: &'a Container,
    pub run: &'a Instance,
    pub env: Vec<(String, String)>,
    pub image: &'a ImageConfig,
    pub places: &'a Places,
    /// `<data>/pods/<uid>`, which holds etc-hosts and its like.
    pub pod_dir: &'a Path,
    pub log_path: PathBuf,
    pub namespaces: Namespaces,
    pub node_memory: i64,
}

/// The complete description for the runtime.
pub fn spec(input: Inputs<'_>) -> Result<ContainerSpec, Error> {
    let id = PodId::of(input.pod);
    let fallback = PodSpec::default();
    let pod_spec = input.pod.spec.as_ref().unwrap_or(&fallback);
    let container = input.container;
    let own = container.security_context.clone().unwrap_or_default();
    check_user(&id, pod_spec, container, &own, input.image)?;
    let mounts = mounts(&input, pod_spec)?;
    let capabilities = own.capabilities.clone().unwrap_or_default();
    let privileged = own.privileged == Some(true);
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    let termination = termination_path(container);
    let labels = labels(&id, container, input.run, termination);
    Ok(ContainerSpec {
        id: input.run.id.clone(),
        name: container.name.clone(),
        attempt: input.run.attempt,
        image: container.image.clone().unwrap_or_default(),
        command: env::expand_all(container.command.as_ref(), &input.env),
        args: env::expand_all(container.args.as_ref(), &input.env),
        working_dir: container.working_dir.clone(),
        run_as: run_as(pod_spec, &own),
        mounts,
        devices: Vec::new(),
        cgroup_parent: qos::cgroup_parent(pod_spec, &id.uid),
        resources: qos::container_resources(container, None),
        capabilities_add: capabilities.add.unwrap_or_default(),
        capabilities_drop: capabilities.drop.unwrap_or_default(),
        privileged,
        read_only_root: own.read_only_root_filesystem == Some(true),
        tty: container.tty == Some(true),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false) && !privileged,
        oom_score_adj: qos::oom_score_adj(pod_spec, container, input.node_memory),
        log_path: Some(input.log_path),
        termination_message_path: Some(termination.to_owned()),
        // The UTS namespace was named when it was made.
        hostname: None,
        sysctls: BTreeMap::new(),
        masked_paths: unmasked.then(Vec::new),
        readonly_paths: unmasked.then(Vec::new),
        seccomp: seccomp(pod_spec, &own, privileged),
        labels,
        namespaces: input.namespaces,
        env: input.env,
        pod_uid: id.uid,
        pod_name: id.name,
        namespace: id.namespace,
    })
}

/// Where the container writes its last words.
pub fn termination_path(container: &Container) -> &str {
    container.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/dev/termination-log")
}

/// The file on the host behind [`termination_path`].
pub fn termination_file(pod_dir: &Path, name: &str, attempt: u32) -> PathBuf {
    pod_dir.join("containers").join(name).join(attempt.to_string())
}

fn labels(id: &PodId, container: &Container, run: &Instance, termination: &str) -> BTreeMap<String, String> {
    let pairs = [
        ("io.kubernetes.pod.name", id.name.clone()),
        ("io.kubernetes.pod.namespace", id.namespace.clone()),
        ("io.kubernetes.pod.uid", id.uid.clone()),
        ("io.kubernetes.container.name", container.name.clone()),
        ("io.kubernetes.container.restartCount", run.attempt.to_string()),
        ("io.kubernetes.container.hash", run.hash.clone()),
        ("io.kubernetes.container.terminationMessagePath", termination.to_owned()),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn run_as(spec: &PodSpec, own: &SecurityContext) -> RunAs {
    let pod = spec.security_context.as_ref();
    let mut groups: Vec<_> = pod.and_then(|pod| pod.supplemental_groups.clone()).unwrap_or_default();
    groups.extend(pod.and_then(|pod| pod.fs_group));
    RunAs {
        user: own.run_as_user.or_else(|| pod.and_then(|pod| pod.run_as_user)),
        group: own.run_as_group.or_else(|| pod.and_then(|pod| pod.run_as_group)),
        supplementary_groups: groups,
    }
}

fn seccomp(spec: &PodSpec, own: &SecurityContext, privileged: bool) -> Seccomp {
    let pod = spec.security_context.as_ref().and_then(|pod| pod.seccomp_profile.as_ref());
    match own.seccomp_profile.as_ref().or(pod) {
        Some(profile) if profile.type_ == "RuntimeDefault" && !privileged => Seccomp::RuntimeDefault,
        _ => Seccomp::Unconfined,
    }
}

fn check_user(
    pod: &PodId,
    spec: &PodSpec,
    container: &Container,
    own: &SecurityContext,
    image: &ImageConfig,
) -> Result<(), Error> {
    let pod_context = spec.security_context.as_ref();
    let required = own.run_as_non_root.or_else(|| pod_context.and_then(|context| context.run_as_non_root));
    if required != Some(true) {
        return Ok(());
    }
    let (pod, container) = (pod.clone(), container.name.clone());
    match run_as(spec, own).user {
        Some(0) => return Err(Error::RootUser { pod, container }),
        Some(_) => return Ok(()),
        None => {}
    }
    let user = image.user.split(':').next().unwrap_or_default();
    match user.parse::<i64>() {
        Ok(0) => Err(Error::RootImage { pod, container }),
        Ok(_) => Ok(()),
        Err(_) if user.is_empty() || user == "root" => Err(Error::RootImage { pod, container }),
        Err(_) => Err(Error::NamedUser { user: user.to_owned(), pod, container }),
    }
}

fn mounts(input: &Inputs<'_>, spec: &PodSpec) -> Result<Vec<Mount>, Error> {
    let mut out = Vec::new();
    for mount in input.container.volume_mounts.iter().flatten() {
        let (volume, container) = (mount.name.clone(), input.container.name.clone());
        let Some(place) = input.places.get(&mount.name) else {
            return Err(Error::NoVolume { volume, container });
        };
        let lookup = |name: &str| input.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let inside = match (&mount.sub_path_expr, &mount.sub_path) {
            (Some(expression), _) if !expression.is_empty() => expand(expression, lookup),
            (_, path) => path.clone().unwrap_or_default(),
        };
        let source = match inside.as_str() {
            "" => place.clone(),
            path => sub_path(place, path).map_err(|error| match error {
                SubPathError::Io(error) => Error::SubPath { volume, container, error },
                wrong => Error::WrongSubPath(wrong),
            })?,
        };
        out.push(Mount {
            destination: PathBuf::from(&mount.mount_path),
            source: MountSource::Bind(source),
            read_only: mount.read_only == Some(true),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::Private,
            },
        });
    }
    let dir = input.pod_dir;
    let termination = termination_file(dir, &input.container.name, input.run.attempt);
    let mut ours = vec![
        ("/etc/hosts".to_owned(), dir.join("etc-hosts")),
        ("/etc/resolv.conf".to_owned(), dir.join("resolv.conf")),
        (termination_path(input.container).to_owned(), termination),
    ];
    if spec.host_network != Some(true) {
        ours.push(("/etc/hostname".to_owned(), dir.join("hostname")));
    }
    if spec.host_ipc == Some(true) {
        ours.push(("/dev/shm".to_owned(), PathBuf::from("/dev/shm")));
    } else if spec.containers.len() + spec.init_containers.as_ref().map_or(0, Vec::len) > 1 {
        ours.push(("/dev/shm".to_owned(), dir.join("shm")));
    }
    for (destination, source) in ours {
        if !out.iter().any(|mount| mount.destination == Path::new(&destination)) {
            let source = MountSource::Bind(source);
            let destination = PathBuf::from(destination);
            out.push(Mount { destination, source, read_only: false, propagation: Propagation::Private });
        }
    }
    out.sort_by(|a, b| a.destination.cmp(&b.destination));
    Ok(out)
}

/// The files that every container of the pod gets, `(name in the pod's directory, text)`.
pub fn pod_files(pod: &Pod, ip: Option<std::net::Ipv4Addr>, dns: &resolv::DnsFacts) -> [(&'static str, String); 3] {
    let host_file = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let name = resolv::host_name(pod, &dns.cluster_domain).0;
    [
        ("etc-hosts", resolv::hosts(pod, ip, &dns.cluster_domain, &host_file)),
        ("resolv.conf", resolv::resolv_conf(pod, dns)),
        ("hostname", format!("{name}\n")),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(
        container: serde_json::Value,
        pod: serde_json::Value,
        image: &ImageConfig,
    ) -> Result<ContainerSpec, String> {
        let mut spec_json = pod;
        spec_json["containers"] = json!([container]);
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec_json}),
        )
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let run = Instance {
            id: "id".into(),
            attempt: 2,
            epoch: 1,
            hash: "h".into(),
            image: "x".into(),
            image_id: String::new(),
            started_at: None,
            finished: None,
        };
        spec(Inputs {
            pod: &pod,
            container,
            run: &run,
            env: vec![("A".into(), "1".into())],
            image,
            places: &[("v".to_owned(), PathBuf::from("/vol"))].into(),
            pod_dir: Path::new("/pods/u"),
            log_path: PathBuf::from("/log/2.log"),
            namespaces: Namespaces::default(),
            node_memory: 1 << 30,
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn fields_reach_the_runtime() {
        let spec = made(
            json!({"name": "c", "image": "x:1", "command": ["sh", "$(A)$$(A)"], "terminationMessagePath": "/tmp/end",
                "volumeMounts": [{"name": "v", "mountPath": "/etc/hosts", "readOnly": true}],
                "resources": {"limits": {"cpu": "1", "memory": "64Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsUser": 7}}),
            json!({"securityContext": {"fsGroup": 9, "runAsUser": 5, "runAsGroup": 6,
                "seccompProfile": {"type": "RuntimeDefault"}}}),
            &ImageConfig::default(),
        )
        .unwrap();
        assert_eq!(spec.command, ["sh", "1$(A)"]);
        assert_eq!(spec.run_as, RunAs { user: Some(7), group: Some(6), supplementary_groups: vec![9] });
        assert!(spec.no_new_privileges && spec.seccomp == Seccomp::RuntimeDefault);
        assert_eq!(spec.cgroup_parent, "podu");
        assert_eq!((spec.oom_score_adj, spec.resources.memory_limit), (-997, Some(64 << 20)));
        let at = |path: &str| spec.mounts.iter().find(|mount| mount.destination == Path::new(path)).cloned().unwrap();
        assert_eq!(at("/etc/hosts").source, MountSource::Bind("/vol".into()), "the pod's own mount wins");
        assert_eq!(at("/tmp/end").source, MountSource::Bind("/pods/u/containers/c/2".into()));
    }

    #[test]
    fn paths_in_volumes_are_refused_in_upstreams_words() {
        for (path, expected) in [
            ("/$(A)", "error SubPath `/1` must not be an absolute path"),
            ("$(A)/../b", "unable to provision SubPath `1/../b`: must not contain '..'"),
        ] {
            let mounts = json!([{"name": "v", "mountPath": "/m", "subPathExpr": path}]);
            let refused = made(json!({"name": "c", "volumeMounts": mounts}), json!({}), &ImageConfig::default());
            assert_eq!(refused.unwrap_err(), expected);
        }
    }

    #[test]
    fn root_is_refused_where_it_must_be() {
        let user = |user: &str| ImageConfig { user: user.into(), ..ImageConfig::default() };
        let strict = || json!({"securityContext": {"runAsNonRoot": true}});
        let simple = || json!({"name": "c"});
        assert!(made(simple(), json!({}), &user("")).is_ok());
        assert!(made(simple(), strict(), &user("1000:1000")).is_ok());
        assert_eq!(
            made(simple(), strict(), &user("")).unwrap_err(),
            "container has runAsNonRoot and image will run as root (pod: \"p_ns(u)\", container: c)"
        );
        assert!(made(simple(), strict(), &user("app")).unwrap_err().contains("non-numeric user (app)"));
        let zero = json!({"name": "c", "securityContext": {"runAsUser": 0}});
        assert!(made(zero, strict(), &user("1")).unwrap_err().contains("breaks non-root policy"));
    }
}
