//! Firewalls as ufw and firewalld write them stand in the way of pods; `orch doctor` says so, and what it says to type
//! against it helps.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::on_host;

/// By iptables, which writes nftables' rules nowadays.
const UFW: &str = r#"
table ip filter {
  chain ufw-before-input {
    iifname "lo" counter accept
    ct state related,established counter accept
    ct state invalid counter drop
    ip protocol icmp icmp type echo-request counter accept
    ip protocol udp udp sport 67 udp dport 68 counter accept
  }
  chain ufw-before-forward {
    ct state related,established counter accept
    ip protocol icmp icmp type echo-request counter accept
  }
  chain ufw-user-input {
    tcp dport 22 counter accept
  }
  chain INPUT {
    type filter hook input priority filter; policy drop;
    counter jump ufw-before-input
    counter jump ufw-user-input
  }
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
    counter jump ufw-before-forward
  }
}
"#;

/// Whose chains accept by policy and refuse by their last rule.
const FIREWALLD: &str = r#"
table inet firewalld {
  chain filter_IN_public {
    tcp dport 22 ct state { new, untracked } accept
  }
  chain filter_INPUT {
    type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    jump filter_IN_public
    ct state invalid drop
    reject with icmpx type admin-prohibited
  }
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    reject with icmpx type admin-prohibited
  }
}
"#;

fn nft(rules: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{rules}");
}

/// What `orch doctor` has to say of firewalls here.
fn doctor(dir: &std::path::Path) -> Vec<Value> {
    let orch = std::env::var("ORCH_TEST_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_orch").to_owned());
    let folder = |flag: &str| format!("--{flag}={}", dir.join(flag).display());
    let mut command = Command::new(orch);
    command.args(["doctor", "--output=json", &folder("data-dir"), &folder("run-dir"), "--node-ip=192.0.2.1"]);
    let output = command.output().unwrap();
    let said: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    said.into_iter().filter(|finding| finding["check"] == "firewall").collect()
}

#[test]
fn what_the_doctor_says_against_firewalls_helps_needs_root() {
    for (rules, place) in [(UFW, "ip filter FORWARD"), (FIREWALLD, "inet firewalld filter_FORWARD")] {
        on_host(move |host| async move {
            orch::net::masquerade::allow_forwarding().unwrap();
            let (a, b) = (host.pod("a", [10, 42, 0, 2]).await, host.pod("b", [10, 42, 0, 3]).await);
            b.serve(8080, "b").await;
            let to = ([10, 42, 0, 3], 8080);
            assert!(a.ask(to).await.is_ok());
            let clear = doctor(host.path());
            assert!(clear.len() == 1 && clear[0]["level"] == "OK", "{clear:?}");

            nft(rules);
            assert!(a.ask(to).await.is_err());
            let found = doctor(host.path());
            let levels: Vec<_> = found.iter().map(|it| it["level"].as_str().unwrap()).collect();
            assert_eq!(levels.iter().filter(|level| **level == "FAIL").count(), 1, "{found:?}");
            assert_eq!(levels.iter().filter(|level| **level == "WARN").count(), 1, "{found:?}");
            assert!(found.iter().any(|it| it["message"].as_str().unwrap().contains(place)), "{found:?}");

            for finding in &found {
                let status = Command::new("sh").args(["-c", finding["fix"].as_str().unwrap()]).status().unwrap();
                assert!(status.success(), "{finding}");
            }
            assert!(a.ask(to).await.is_ok());
            let mended = doctor(host.path());
            assert!(mended.len() == 1 && mended[0]["level"] == "OK", "{mended:?}");
        });
    }
}
