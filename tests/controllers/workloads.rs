//! A Deployment behind a Service: created, scaled, updated, undone, broken.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Endpoints, Event, Pod, ReplicationController, ResourceQuota, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::cluster::{Cluster, find};

pub fn web(replicas: i32, image: &str) -> Value {
    json!({
        "metadata": {"name": "web", "annotations": {"note": "kept"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]},
            },
        },
    })
}

fn image(pod: &Pod) -> &str {
    pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap_or_default()
}

/// Sizes of the sets by revision.
fn sizes(sets: &[Arc<ReplicaSet>]) -> Vec<(String, i32)> {
    let revision = |set: &ReplicaSet| set.annotations()["deployment.kubernetes.io/revision"].clone();
    let mut sizes: Vec<_> =
        sets.iter().map(|set| (revision(set), set.spec.as_ref().unwrap().replicas.unwrap())).collect();
    sizes.sort();
    sizes
}

fn progressing(deployment: &Deployment) -> Option<&str> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Progressing")?.reason.as_deref()
}

async fn complete(cluster: &Cluster, image: &str, replicas: usize) {
    let image_wanted = image.to_owned();
    cluster
        .eventually::<Pod>("only pods of the new image", move |pods| {
            pods.len() == replicas && pods.iter().all(|pod| self::image(pod) == image_wanted)
        })
        .await;
    let wanted = Some(i32::try_from(replicas).unwrap());
    cluster
        .eventually::<Deployment>("a complete rollout", move |deployments| {
            let deployment = find(deployments, "web").unwrap();
            let status = deployment.status.clone().unwrap_or_default();
            status.available_replicas == wanted
                && status.replicas == wanted
                && status.updated_replicas == wanted
                && status.observed_generation == deployment.metadata.generation
                && progressing(deployment) == Some("NewReplicaSetAvailable")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_lives() {
    let cluster = Cluster::new().await;
    cluster.create(cluster.test::<Deployment>(), web(3, "one")).await;
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    });
    cluster.create(cluster.test::<Service>(), service).await;
    complete(&cluster, "one", 3).await;
    let made = cluster.test::<Deployment>().get("web").await.unwrap();
    assert_eq!((made.metadata.generation, &*made.annotations()["deployment.kubernetes.io/revision"]), (Some(1), "1"));
    let is_ours = |slice: &EndpointSlice| {
        slice.labels().get("kubernetes.io/service-name").map(String::as_str) == Some("web")
            && slice.labels().contains_key("endpointslice.kubernetes.io/managed-by")
    };
    let slices = cluster
        .eventually::<EndpointSlice>("three ready endpoints", |slices| {
            let ours = slices.iter().filter(|slice| is_ours(slice));
            let endpoints: Vec<_> = ours.flat_map(|slice| slice.endpoints.iter().flatten()).collect();
            endpoints.len() == 3
                && endpoints.iter().all(|endpoint| endpoint.conditions.as_ref().unwrap().ready == Some(true))
        })
        .await;
    // One, also where the Service came before its pods: the empty slice became this one.
    let ours: Vec<_> = slices.iter().filter(|slice| is_ours(slice)).collect();
    let [slice] = ours[..] else { panic!("one slice: {ours:#?}") };
    assert_eq!(slice.ports.as_ref().unwrap()[0].port, Some(8080));
    cluster
        .eventually::<Endpoints>("the same as Endpoints", |all| {
            let subsets = find(all, "web").and_then(|endpoints| endpoints.subsets.clone()).unwrap_or_default();
            subsets.iter().flat_map(|subset| subset.addresses.iter().flatten()).count() == 3
        })
        .await;

    for replicas in [6, 2, 0, 3] {
        cluster.merge(cluster.test::<Deployment>(), "web", json!({"spec": {"replicas": replicas}})).await;
        complete(&cluster, "one", replicas).await;
    }

    let container =
        |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    cluster.merge(cluster.test::<Deployment>(), "web", container("two")).await;
    complete(&cluster, "two", 3).await;
    cluster.merge(cluster.test::<Deployment>(), "web", web(3, "one")).await;
    complete(&cluster, "one", 3).await;
    let sets = cluster.eventually::<ReplicaSet>("two sets", |sets| sets.len() == 2).await;
    assert_eq!(sizes(&sets), [("2".to_owned(), 0), ("3".to_owned(), 3)]);
    assert!(sets.iter().all(|set| set.annotations()["note"] == "kept"));

    cluster
        .eventually::<Event>("the story as events", |events| {
            let about = |kind: &str, reason: &str, message: &str| {
                events.iter().any(|event| {
                    event.involved_object.kind.as_deref() == Some(kind)
                        && event.reason.as_deref() == Some(reason)
                        && event.message.as_deref().unwrap_or_default().starts_with(message)
                })
            };
            about("Deployment", "ScalingReplicaSet", "Scaled up replica set web-")
                && about("Deployment", "ScalingReplicaSet", "Scaled down replica set web-")
                && about("ReplicaSet", "SuccessfulCreate", "Created pod: web-")
                && about("ReplicaSet", "SuccessfulDelete", "Deleted pod: web-")
        })
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_image_stops_the_rollout_and_undo_mends_it() {
    let cluster = Cluster::new().await;
    cluster.create(cluster.test::<Deployment>(), web(4, "one")).await;
    complete(&cluster, "one", 4).await;
    cluster.merge(cluster.test::<Deployment>(), "web", web(4, "broken")).await;
    cluster
        .eventually::<ReplicaSet>("a rollout that waits", |sets| {
            sets.len() == 2 && sizes(sets) == [("1".to_owned(), 3), ("2".to_owned(), 2)]
        })
        .await;
    cluster.merge(cluster.test::<Deployment>(), "web", web(4, "one")).await;
    complete(&cluster, "one", 4).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replication_controller_keeps_its_pods_and_says_what_it_cannot() {
    let cluster = Cluster::new().await;
    cluster.create(cluster.test::<Pod>(), labelled("stray", "web")).await;
    let quota = json!({"metadata": {"name": "two"}, "spec": {"hard": {"pods": "2"}}});
    cluster.create(cluster.test::<ResourceQuota>(), quota).await;
    cluster
        .eventually::<ResourceQuota>("a counted quota", |quotas| {
            quotas.iter().any(|quota| quota.status.as_ref().is_some_and(|status| status.used.is_some()))
        })
        .await;
    let controller = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"app": "web"}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "one"}]},
        }},
    });
    cluster.create(cluster.test::<ReplicationController>(), controller).await;
    let failure = |all: &[Arc<ReplicationController>]| {
        let conditions = all[0].status.as_ref()?.conditions.clone()?;
        Some((conditions[0].type_.clone(), conditions[0].reason.clone()?))
    };
    let refused = Some(("ReplicaFailure".to_owned(), "FailedCreate".to_owned()));
    cluster.eventually("the quota's refusal", move |all| !all.is_empty() && failure(all) == refused).await;
    cluster.merge(cluster.test::<ReplicationController>(), "web", json!({"spec": {"replicas": 2}})).await;
    cluster
        .eventually::<ReplicationController>("no failure, and its pods", move |all| {
            let status = all[0].status.clone().unwrap_or_default();
            failure(all).is_none() && status.replicas == 2 && status.available_replicas == Some(2)
        })
        .await;
    let owned = |pod: &Pod| pod.owner_references().iter().any(|owner| owner.kind == "ReplicationController");
    cluster
        .eventually::<Pod>("the stray pod adopted", move |pods| pods.len() == 2 && pods.iter().all(|pod| owned(pod)))
        .await;
    cluster.merge(cluster.test::<Pod>(), "stray", json!({"metadata": {"labels": {"app": "other"}}})).await;
    cluster
        .eventually::<Pod>("the stray pod released", |pods| find(pods, "stray").unwrap().owner_references().is_empty())
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebodys_own_endpoints_are_mirrored() {
    let cluster = Cluster::new().await;
    let service = json!({"metadata": {"name": "db"}, "spec": {"ports": [{"port": 80}]}});
    cluster.create(cluster.test::<Service>(), service).await;
    let subsets = |ip: &str| json!([{"addresses": [{"ip": ip}], "ports": [{"port": 80}]}]);
    let endpoints = json!({"metadata": {"name": "db"}, "subsets": subsets("10.1.2.3")});
    cluster.create(cluster.test::<Endpoints>(), endpoints).await;
    let mirrored = |slices: &[Arc<EndpointSlice>]| -> Vec<String> {
        let ours = slices.iter().filter(|slice| slice.namespace().as_deref() == Some("test"));
        ours.flat_map(|slice| slice.endpoints.iter().flatten()).flat_map(|one| one.addresses.clone()).collect()
    };
    cluster.eventually("a mirror", move |slices| mirrored(slices) == ["10.1.2.3"]).await;
    cluster.merge(cluster.test::<Endpoints>(), "db", json!({"subsets": subsets("10.2.3.4")})).await;
    cluster.eventually("the change", move |slices| mirrored(slices) == ["10.2.3.4"]).await;
    cluster.merge(cluster.test::<Service>(), "db", json!({"spec": {"selector": {"app": "db"}}})).await;
    cluster.eventually("nothing to mirror", move |slices| mirrored(slices).is_empty()).await;
    cluster.stop().await;
}

fn labelled(name: &str, app: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": "one"}]}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replicaset_adopts_releases_and_replaces() {
    let cluster = Cluster::new().await;
    cluster.create(cluster.test::<Pod>(), labelled("stray", "web")).await;
    let set = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "one"}]},
        }},
    });
    cluster.create(cluster.test::<ReplicaSet>(), set).await;
    cluster
        .eventually::<Pod>("the stray pod adopted", |pods| {
            pods.len() == 2 && pods.iter().all(|pod| pod.owner_references().iter().any(|owner| owner.name == "web"))
        })
        .await;
    cluster.merge(cluster.test::<Pod>(), "stray", json!({"metadata": {"labels": {"app": "other"}}})).await;
    cluster
        .eventually::<Pod>("the stray pod released and replaced", |pods| {
            pods.len() == 3 && find(pods, "stray").unwrap().owner_references().is_empty()
        })
        .await;
    cluster
        .test::<Pod>()
        .delete_collection(&kube::api::DeleteParams::default(), &kube::api::ListParams::default().labels("app=web"))
        .await
        .unwrap();
    cluster
        .eventually::<ReplicaSet>("a full set again", |sets| {
            let status = sets[0].status.clone().unwrap_or_default();
            status.available_replicas == Some(2) && status.terminating_replicas == Some(0)
        })
        .await;
    cluster.stop().await;
}
