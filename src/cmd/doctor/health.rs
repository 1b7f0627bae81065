//! Judges time, certificates, disk, and whether the server is there. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::finding::Finding;
use super::observed::{Certificate, Clock, Disk, Reached, Server};

/// No clock that shows less is right: this program did not exist.
const WRITTEN: i64 = 1_767_225_600; // 2026-01-01

pub fn clock(clock: &Clock, certificates: &[Certificate]) -> Vec<Finding> {
    const FIX: &str = "set it with: timedatectl set-ntp true, or by hand: date -s 'YYYY-MM-DD HH:MM:SS'";
    let now = clock.now;
    let future = certificates.iter().filter(|certificate| certificate.begins > now).max_by_key(|one| one.begins);
    let written = Timestamp::from_second(WRITTEN).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut findings = vec![match future {
        Some(certificate) => {
            let message = format!(
                "the clock says {now:.0}, but the certificate {} is valid from {} on",
                certificate.name, certificate.begins
            );
            Finding::fail("clock", message, FIX)
        }
        None if now < written => {
            Finding::fail("clock", format!("the clock says {now:.0}, which is before this program was written"), FIX)
        }
        None => Finding::ok("clock", format!("the clock says {now:.0}")),
    }];
    findings.push(match clock.synchronized {
        Some(true) => Finding::ok("time", "the clock is synchronized"),
        Some(false) => Finding::warn(
            "time",
            "nobody sets the clock; certificates and leases need it right",
            "synchronize it with: timedatectl set-ntp true",
        ),
        None => Finding::ok("time", "whether the clock is synchronized is not known here (no timedatectl)"),
    });
    findings
}

pub fn certificates(certificates: &[Certificate], now: Timestamp) -> Vec<Finding> {
    const SOON: i64 = 30;
    let mut findings = Vec::new();
    for one in certificates {
        let fix = match one.name.starts_with("agent/") {
            true => "start the agent again; it asks for a new one (with a token, if this one has ended)",
            false => "make it anew with: orch certificate rotate",
        };
        let days = one.ends.duration_since(now).as_hours() / 24;
        if one.ends <= now {
            findings.push(Finding::fail("certificates", format!("{} ended on {}", one.name, one.ends), fix));
        } else if one.ends.duration_since(now) < SignedDuration::from_hours(SOON * 24) {
            findings.push(Finding::warn("certificates", format!("{} ends in {days} days", one.name), fix));
        }
    }
    if findings.is_empty() && !certificates.is_empty() {
        let (first, count) = (certificates.iter().map(|one| one.ends).min(), certificates.len());
        let until = first.map(|first| format!(", until {first} at least")).unwrap_or_default();
        findings.push(Finding::ok("certificates", format!("all {count} are valid{until}")));
    }
    findings
}

pub fn disk(disk: &Disk) -> Vec<Finding> {
    const SLOW: Duration = Duration::from_millis(20);
    const LEAST: u64 = 1 << 30;
    let path = disk.path.display();
    let percent = |free: u64, all: u64| free.saturating_mul(100).checked_div(all).unwrap_or(100);
    let mut findings = vec![match disk.sync {
        None => Finding::fail(
            "disk",
            format!("nothing can be written to {path}"),
            format!("make it writable: mount -o remount,rw \"$(findmnt -n -o TARGET --target {path})\""),
        ),
        Some((middle, worst)) if middle > SLOW => Finding::warn(
            "disk",
            format!("{path} takes {middle:.1?} until data is safe ({worst:.1?} at worst); every write waits for that"),
            "put the data on a faster disk: --data-dir DIR",
        ),
        Some((middle, worst)) => {
            Finding::ok("disk", format!("{path} takes {middle:.1?} until data is safe ({worst:.1?} at worst)"))
        }
    }];
    let free = percent(disk.bytes_free, disk.bytes);
    let mebibytes = disk.bytes_free >> 20;
    let clean =
        "remove what is not needed, such as images: orch image ls; or use another disk: --data-dir DIR".to_owned();
    findings.push(match free {
        _ if disk.bytes_free < LEAST => Finding::fail("space", format!("{path} has only {mebibytes} MiB left"), clean),
        0..15 => Finding::warn(
            "space",
            format!("{path} has {free} % left; below 15 % images are removed, below 10 % pods are evicted"),
            clean,
        ),
        _ => Finding::ok("space", format!("{path} has {mebibytes} MiB left")),
    });
    if percent(disk.inodes_free, disk.inodes) < 5 {
        let message = format!("{path} has room for only {} more files", disk.inodes_free);
        findings.push(Finding::warn("inodes", message, "remove small files, or use another disk: --data-dir DIR"));
    }
    if disk.swap > 0 {
        let message = format!("{} MiB of swap are on: memory limits and evictions act late", disk.swap >> 20);
        findings.push(Finding::warn("swap", message, "turn it off with: swapoff -a (and take it out of /etc/fstab)"));
    }
    findings
}

pub fn server(server: &Server) -> Finding {
    let url = &server.url;
    match &server.outcome {
        Reached::Yes => Finding::ok("server", format!("{url} answers")),
        Reached::Tls(why) => Finding::fail(
            "server",
            format!("{url} answers, but not as the server of this cluster: {why}"),
            "check the URL, and ask the server for a new token: orch token create",
        ),
        Reached::No(why) => Finding::fail(
            "server",
            format!("{url} cannot be reached: {why}"),
            "start the server, and let its port through its firewall: orch doctor, there",
        ),
        Reached::Unknown(why) => Finding::fail(
            "server",
            format!("the name in {url} is not known: {why}"),
            "use the server's address, or add its name to /etc/hosts",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::in_words;
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn certificate(begins: &str, ends: &str) -> Certificate {
        Certificate { name: "server".into(), begins: at(begins), ends: at(ends) }
    }

    #[test]
    fn a_clock_is_wrong_when_it_contradicts_what_is_known() {
        let say = |now: &str, synchronized, certificates: &[Certificate]| {
            in_words(&clock(&Clock { now: at(now), synchronized }, certificates))
        };
        let good =
            say("2026-11-28T00:00:00Z", Some(true), &[certificate("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z")]);
        assert!(good.iter().all(|line| line.starts_with("OK ")), "{good:?}");
        let early = say("1970-01-01T00:00:09Z", None, &[]);
        assert!(early[0].starts_with("FAIL the clock says 1970-01-01T00:00:09Z, which is before"), "{early:?}");
        let future = certificate("2027-01-01T00:00:00Z", "2030-01-01T00:00:00Z");
        let late = say("2026-11-28T00:00:00Z", Some(false), &[future]);
        assert!(late[0].starts_with("FAIL") && late[0].contains("valid from 2027-01-01T00:00:00Z on"), "{late:?}");
        assert!(late[1].starts_with("WARN nobody sets the clock"), "{late:?}");
    }

    #[test]
    fn certificates_are_told_of_before_they_end() {
        let now = at("2026-11-28T00:00:00Z");
        let say = |ends: &str| in_words(&certificates(&[certificate("2020-01-01T00:00:00Z", ends)], now)).remove(0);
        assert_eq!(say("2027-11-28T00:00:00Z"), "OK all 1 are valid, until 2027-11-28T00:00:00Z at least");
        assert_eq!(
            say("2026-12-08T00:00:00Z"),
            "WARN server ends in 10 days | make it anew with: orch certificate rotate"
        );
        assert!(say("2026-11-28T00:00:00Z").starts_with("FAIL server ended on 2026-11-28T00:00:00Z"));
        assert!(certificates(&[], now).is_empty());
    }

    #[test]
    fn disks_are_judged_by_speed_and_room() {
        let fast = Some((Duration::from_millis(2), Duration::from_millis(9)));
        let gibibytes = |count: u64| count << 30;
        let good = Disk {
            path: "/d".into(),
            sync: fast,
            bytes_free: gibibytes(50),
            bytes: gibibytes(100),
            inodes_free: 50,
            inodes: 100,
            swap: 0,
        };
        let bad = |disk_: Disk| {
            let all = in_words(&disk(&disk_)).into_iter().filter(|line| !line.starts_with("OK ")).collect::<Vec<_>>();
            all.join("\n")
        };
        assert_eq!(bad(good.clone()), "");
        let slow = Some((Duration::from_millis(50), Duration::from_millis(90)));
        for (seen, wanted) in [
            (Disk { sync: None, ..good.clone() }, "FAIL nothing can be written to /d"),
            (Disk { sync: slow, ..good.clone() }, "WARN /d takes 50.0ms until data is safe (90.0ms at worst)"),
            (Disk { bytes_free: 1 << 29, ..good.clone() }, "FAIL /d has only 512 MiB left"),
            (Disk { bytes_free: gibibytes(12), ..good.clone() }, "WARN /d has 12 % left"),
            (Disk { inodes_free: 4, ..good.clone() }, "WARN /d has room for only 4 more files"),
            (Disk { swap: gibibytes(2), ..good.clone() }, "WARN 2048 MiB of swap are on"),
        ] {
            assert!(bad(seen.clone()).starts_with(wanted), "{:?}", bad(seen));
        }
        // A filesystem without such a count (btrfs) has no shortage.
        assert_eq!(bad(Disk { inodes: 0, inodes_free: 0, ..good }), "");
    }

    #[test]
    fn a_server_is_there_or_is_told_of() {
        let say = |outcome| in_words(&[server(&Server { url: "https://s:6443".into(), outcome })]).remove(0);
        assert_eq!(say(Reached::Yes), "OK https://s:6443 answers");
        assert!(
            say(Reached::No("refused".into())).starts_with("FAIL https://s:6443 cannot be reached: refused | start")
        );
        assert!(say(Reached::Tls("x".into())).contains("not as the server of this cluster: x | check the URL"));
        assert!(say(Reached::Unknown("x".into())).contains("is not known: x | use the server's address"));
    }
}
