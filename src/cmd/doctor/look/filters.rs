//! Packet filters of others: base chains that drop by default, firewalld, ufw.

use std::path::Path;

use super::super::observed::{DroppingChain, Firewalls, Hook, Tool, Wanted};
use super::{legacy, run};
use crate::cmd::teardown::PREFIX;
use crate::net::nft;

pub fn firewalls(wanted: &Wanted) -> Firewalls {
    let pods = wanted.cluster_cidr.to_string();
    let (mut chains, legacy) = (chains(), legacy::chains());
    let unread = legacy.is_none();
    chains.extend(legacy.unwrap_or_default());
    Firewalls { chains, unread, firewalld: firewalld(&pods), ufw: ufw(&pods) }
}

fn chains() -> Vec<DroppingChain> {
    let ours = format!("{PREFIX}-");
    let foreign = nft::base_chains().unwrap_or_default().into_iter().filter(|it| !it.table.starts_with(&ours));
    let dropping = foreign.filter_map(|chain| {
        let hook = match chain.hook {
            nft::HOOK_INPUT => Hook::Input,
            nft::HOOK_FORWARD => Hook::Forward,
            _ => return None,
        };
        let listed = run("nft", &["--stateless", "list", "chain", chain.family, &chain.table, &chain.name]);
        let rules = listed.unwrap_or_default();
        (chain.drops || ends_in_refusal(&rules)).then_some(DroppingChain {
            tool: Tool::Nft,
            family: chain.family,
            table: chain.table,
            chain: chain.name,
            hook,
            rules,
        })
    });
    dropping.collect()
}

/// Whether a chain's last rule drops or refuses everything, as firewalld's do instead of a policy.
fn ends_in_refusal(listed: &str) -> bool {
    let mut rules = listed.lines().map(str::trim).filter(|line| !line.is_empty() && !line.ends_with(['{', '}']));
    rules.next_back().is_some_and(|rule| {
        let words: Vec<_> = rule.split_whitespace().filter(|word| *word != "counter").collect();
        matches!(words.first(), Some(&"drop" | &"reject"))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_rule_may_be_a_policy() {
        let chain = |last: &str| {
            format!(
                "table inet f {{\n\tchain c {{\n\t\ttype filter hook input priority filter; policy accept;\n\t\t\
                 ip saddr 192.0.2.1 drop\n\t\t{last}\n\t}}\n}}\n"
            )
        };
        for (last, expected) in [
            ("reject with icmpx admin-prohibited", true),
            ("counter drop", true),
            ("ct state invalid drop", false),
            ("counter packets 1 bytes 2 accept", false),
        ] {
            assert_eq!(ends_in_refusal(&chain(last)), expected, "{last}");
        }
        assert!(!ends_in_refusal(""));
    }
}
