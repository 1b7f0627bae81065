//! Pinned namespaces and pods' cables.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;

use orch::net::netns::{self, NamespaceSpec};
use orch::net::pod_link::{self, PodLink};

use crate::support::{ask, on_host, run};

#[test]
fn pods_reach_each_other_and_the_host_reaches_them_needs_root() {
    on_host(|host| async move {
        orch::net::sysctl::set("net.ipv4.ip_forward", "1").unwrap();
        host.ip("addr add 10.42.0.1/32 dev lo");
        let a = host.pod("a", [10, 42, 0, 2]).await;
        let b = host.pod("b", [10, 42, 0, 3]).await;
        b.serve(80, "b").await;
        assert_eq!(a.ask((b.address, 80)).await.unwrap(), "b to 10.42.0.2");
        assert_eq!(b.ask((b.address, 80)).await.unwrap(), "b to 10.42.0.3");
        assert_eq!(ask(SocketAddr::from((b.address, 80))).unwrap(), "b to 10.42.0.1");
        let routes = a.run("ip", "route").await;
        assert!(routes.contains("default via 169.254.1.1 dev eth0"), "{routes}");
        assert!(a.run("ip", "link show eth0").await.contains("mtu 1400"));
    });
}

#[test]
fn attach_is_idempotent_and_heals_what_changed_needs_root() {
    on_host(|host| async move {
        host.ip("addr add 10.42.0.1/32 dev lo");
        let pod = host.pod("a", [10, 42, 0, 2]).await;
        let link = PodLink {
            netns: pod.netns.clone(),
            host_name: "veth-a".to_owned(),
            address: [10, 42, 0, 9].into(),
            mtu: 1300,
            route_loopback: false,
        };
        let before = host.ip("-o link show veth-a");
        assert!(before.contains("ee:ee:ee:ee:ee:ee"), "udev changes what we did not choose: {before}");
        pod_link::attach(&link).await.unwrap();
        pod_link::attach(&link).await.unwrap();
        let after = host.ip("-o link show veth-a");
        assert_eq!(before.split(':').next(), after.split(':').next(), "the same device");
        assert!(after.contains("mtu 1300"), "{after}");
        assert!(!pod.run("ip", "addr show eth0").await.contains("10.42.0.2/32"));
        host.ip("route del 10.42.0.9/32");
        pod.run("ip", "route del default").await;
        pod_link::attach(&link).await.unwrap();
        pod.serve(80, "healed").await;
        assert_eq!(ask(([10, 42, 0, 9], 80).into()).unwrap(), "healed to 10.42.0.1");

        // The pod was made anew under the same name: the old cable goes.
        netns::unpin(pod.netns.parent().unwrap()).unwrap();
        let again = host.pod("a", [10, 42, 0, 9]).await;
        again.serve(80, "again").await;
        assert_eq!(ask(([10, 42, 0, 9], 80).into()).unwrap(), "again to 10.42.0.1");

        pod_link::detach("veth-a").await.unwrap();
        pod_link::detach("veth-a").await.unwrap();
        assert!(!host.ip("route").contains("10.42.0.9"));
    });
}

#[test]
fn namespaces_are_configured_pinned_and_let_go_needs_root() {
    on_host(|host| async move {
        let dir = host.path().join("netns/pod");
        let spec = NamespaceSpec {
            net: true,
            ipc: true,
            uts: true,
            hostname: "web-0".to_owned(),
            sysctls: BTreeMap::from([
                ("net.core.somaxconn".to_owned(), "77".to_owned()),
                ("kernel.shm_rmid_forced".to_owned(), "1".to_owned()),
                ("net.ipv4.ip_unprivileged_port_start".to_owned(), "1000".to_owned()),
            ]),
        };
        let pinned = netns::pin(&dir, &spec).unwrap();
        assert_eq!(netns::pinned(&dir), pinned);
        let enter = |command: &str| {
            run("nsenter", &format!("--net={0}/net --ipc={0}/ipc --uts={0}/uts {command}", dir.display()))
        };
        assert_eq!(enter("hostname").trim(), "web-0");
        assert_eq!(enter("cat /proc/sys/net/core/somaxconn").trim(), "77");
        assert_eq!(enter("cat /proc/sys/kernel/shm_rmid_forced").trim(), "1");
        assert_eq!(enter("cat /proc/sys/net/ipv4/ip_unprivileged_port_start").trim(), "1000");
        assert_eq!(enter("cat /proc/sys/net/ipv4/ping_group_range").trim(), "0\t2147483647");
        assert!(enter("ip link show lo").contains("LOOPBACK,UP"));
        assert_eq!(std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").unwrap().trim(), "0");

        netns::unpin(&dir).unwrap();
        netns::unpin(&dir).unwrap();
        assert!(!dir.exists());
        assert_eq!(netns::pinned(&dir), netns::Pinned::default());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&format!("{}/", dir.display())));
    });
}

#[test]
fn a_wrong_sysctl_leaves_nothing_behind_needs_root() {
    on_host(|host| async move {
        let dir = host.path().join("netns/pod");
        let spec = NamespaceSpec {
            net: true,
            sysctls: BTreeMap::from([("net.ipv4.no_such_thing".to_owned(), "1".to_owned())]),
            ..NamespaceSpec::default()
        };
        let error = netns::pin(&dir, &spec).unwrap_err();
        assert!(error.to_string().contains("net.ipv4.no_such_thing"), "{error}");
        assert!(!dir.exists());
    });
}

#[test]
fn a_container_with_a_host_volume_does_not_keep_a_dead_pods_namespace_needs_root() {
    on_host(|host| async move {
        let pod = host.pod("a", [10, 42, 0, 2]).await;
        let volume = host.path().join("volume");
        std::fs::create_dir(&volume).unwrap();
        // As runc mounts a hostPath volume: everything is made a slave, then bound recursively.
        let script = format!(
            "mount --rbind {0} {0}/volume && cat /proc/self/mountinfo && echo; read line; cat /proc/self/mountinfo",
            host.path().display()
        );
        let mut container = std::process::Command::new("unshare")
            .args(["-m", "--propagation", "slave", "sh", "-c", &script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(container.stdout.take().unwrap()).lines().map(Result::unwrap);
        let before: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        assert!(before.iter().any(|line| line.contains("/volume/netns/a/net")), "{before:?}");
        netns::unpin(pod.netns.parent().unwrap()).unwrap();
        container.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let after: Vec<String> = lines.collect();
        assert!(after.iter().any(|line| line.contains("/volume/netns ")), "{after:?}");
        let pin = format!("{}/volume/netns/a/net", host.path().display());
        assert!(!after.iter().any(|line| line.contains(&pin)), "{after:?}");
        container.wait().unwrap();
    });
}
