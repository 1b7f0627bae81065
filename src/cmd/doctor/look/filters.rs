//! Packet filters of others: base chains that drop by default, firewalld, ufw.

use std::path::Path;

use super::super::observed::{DroppingChain, Firewalls, Hook, Wanted};
use super::run;
use crate::cmd::teardown::PREFIX;
use crate::net::nft;

pub fn firewalls(wanted: &Wanted) -> Firewalls {
    let pods = wanted.cluster_cidr.to_string();
    Firewalls { chains: chains(), firewalld: firewalld(&pods), ufw: ufw(&pods) }
}

fn chains() -> Vec<DroppingChain> {
    let ours = format!("{PREFIX}-");
    let foreign = nft::base_chains().unwrap_or_default().into_iter().filter(|it| !it.table.starts_with(&ours));
    let dropping = foreign.filter(|chain| chain.drops).filter_map(|chain| {
        let hook = match chain.hook {
            nft::HOOK_INPUT => Hook::Input,
            nft::HOOK_FORWARD => Hook::Forward,
            _ => return None,
        };
        let rules = run("nft", &["list", "chain", chain.family, &chain.table, &chain.name]).unwrap_or_default();
        Some(DroppingChain { family: chain.family, table: chain.table, chain: chain.name, hook, rules })
    });
    dropping.collect()
}

/// Whether it trusts the pods; `None` where it does not run.
fn firewalld(pods: &str) -> Option<bool> {
    run("firewall-cmd", &["--state"])?;
    Some(run("firewall-cmd", &["--zone=trusted", &format!("--query-source={pods}")]).is_some())
}

fn ufw(pods: &str) -> Option<bool> {
    const CONFIG: &str = "/etc/ufw/ufw.conf";
    let enabled = |text: String| text.lines().any(|line| line.trim() == "ENABLED=yes");
    if !Path::new(CONFIG).exists() || !std::fs::read_to_string(CONFIG).is_ok_and(enabled) {
        return None;
    }
    Some(run("ufw", &["status"]).is_some_and(|text| text.contains(pods)))
}
