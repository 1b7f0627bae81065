//! Kernel parameters below `/proc/sys`. Which network namespace they belong to is that of the calling
//! thread. Never guesses a value: callers name both sides.

use std::io;
use std::path::PathBuf;

/// The file of a parameter, for both spellings that sysctl(8) accepts: `net.ipv4.ip_forward` and
/// `net/ipv4/conf/eth0.100/forwarding` (the first separator tells which, so that a name may hold the other).
fn path(name: &str) -> PathBuf {
    let slashed = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'/');
    let relative: String = if slashed {
        name.to_owned()
    } else {
        name.chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect()
    };
    PathBuf::from("/proc/sys").join(relative)
}

/// Writes a parameter, unless it already has the value (so that an unprivileged reader's inotify and
/// read-only mounts are left alone when there is nothing to do).
///
/// # Errors
/// Those of the file system, with the parameter's name.
pub fn set(name: &str, value: &str) -> io::Result<()> {
    let path = path(name);
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("sysctl {name:?}: not a parameter's name")));
    }
    if std::fs::read_to_string(&path).is_ok_and(|now| now.split_whitespace().eq(value.split_whitespace())) {
        return Ok(());
    }
    std::fs::write(&path, value)
        .map_err(|error| io::Error::new(error.kind(), format!("sysctl {name} = {value}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_the_same_file() {
        assert_eq!(path("net.ipv4.ip_forward"), PathBuf::from("/proc/sys/net/ipv4/ip_forward"));
        assert_eq!(path("net/ipv4/ip_forward"), PathBuf::from("/proc/sys/net/ipv4/ip_forward"));
        assert_eq!(path("net.ipv4.conf.eth0/1.mtu"), PathBuf::from("/proc/sys/net/ipv4/conf/eth0.1/mtu"));
        assert_eq!(path("net/ipv4/conf/eth0.1/mtu"), PathBuf::from("/proc/sys/net/ipv4/conf/eth0.1/mtu"));
    }

    #[test]
    fn a_name_cannot_leave_proc_sys() {
        assert_eq!(set("net/../../self/comm", "x").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
