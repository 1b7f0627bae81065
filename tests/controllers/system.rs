//! What a cluster and every namespace have from the start, and get back.

use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::cluster::{CA, Cluster, find, has};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_begins_with_itself() {
    let cluster = Cluster::new().await;
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        assert!(cluster.all::<Namespace>().get_opt(name).await.unwrap().is_some(), "{name} is there at once");
    }
    let classes = cluster.eventually::<PriorityClass>("the priority classes", |all| all.len() == 2).await;
    assert_eq!(find(&classes, "system-node-critical").unwrap().value, Some(2_000_001_000));
    let services = cluster.eventually::<Service>("the service", |all| has(all, "kubernetes")).await;
    let service = find(&services, "kubernetes").unwrap().spec.clone().unwrap();
    assert_eq!(service.cluster_ip.as_deref(), Some("10.43.0.1"));
    let slices = cluster.eventually::<EndpointSlice>("its slice", |all| has(all, "kubernetes")).await;
    assert_eq!(find(&slices, "kubernetes").unwrap().endpoints.as_ref().unwrap()[0].addresses, ["192.0.2.7"]);
    let endpoints = cluster.eventually::<Endpoints>("its endpoints", |all| has(all, "kubernetes")).await;
    assert_eq!(
        find(&endpoints, "kubernetes").unwrap().subsets.as_ref().unwrap()[0].ports.as_ref().unwrap()[0].port,
        6443
    );

    let api: Api<EndpointSlice> = Api::namespaced(cluster.client.clone(), "default");
    let uid = find(&slices, "kubernetes").unwrap().uid();
    api.delete("kubernetes", &DeleteParams::default()).await.unwrap();
    cluster
        .eventually::<EndpointSlice>("it comes back", |all| find(all, "kubernetes").is_some_and(|s| s.uid() != uid))
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_namespace_has_an_account_and_the_ca() {
    let cluster = Cluster::new().await;
    let complete = |accounts: &[std::sync::Arc<ServiceAccount>]| {
        accounts.iter().filter(|account| account.name_any() == "default").count() == 5
    };
    cluster.eventually::<ServiceAccount>("five default accounts", complete).await;
    cluster.test::<ServiceAccount>().delete("default", &DeleteParams::default()).await.unwrap();
    cluster.eventually::<ServiceAccount>("it comes back", complete).await;
    let published = |maps: &[std::sync::Arc<ConfigMap>]| {
        let ours = maps.iter().filter(|map| map.name_any() == "kube-root-ca.crt");
        ours.filter(|map| map.data.as_ref().is_some_and(|data| data["ca.crt"] == CA)).count() == 5
    };
    cluster.eventually::<ConfigMap>("five published certificates", published).await;
    cluster.merge(cluster.test::<ConfigMap>(), "kube-root-ca.crt", json!({"data": {"ca.crt": "forged"}})).await;
    cluster.eventually::<ConfigMap>("the forgery undone", published).await;
    cluster.stop().await;
}
