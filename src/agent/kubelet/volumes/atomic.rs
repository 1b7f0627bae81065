//! Writing a set of files so that readers see the old set or the new one, never a mixture: the files live in
//! a directory named by the time, `..data` points to it, and each visible name is a link through `..data`.
//! The layout is the one that programs watching mounted ConfigMaps know.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path};

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub data: Vec<u8>,
    pub mode: u32,
    /// Where it is not root's.
    pub owner: Option<u32>,
}

/// Relative paths and their files.
pub type Payload = BTreeMap<String, File>;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `dir` show exactly `payload`; does nothing when it already does. `group` owns the files.
/// Returns whether anything was written.
pub fn write(dir: &Path, payload: &Payload, group: Option<u32>) -> io::Result<bool> {
    for path in payload.keys() {
        check(path)?;
    }
    fs::create_dir_all(dir)?;
    if current(dir, payload) {
        return Ok(false);
    }
    let old = fs::read_link(dir.join(DATA)).ok();
    let version = fresh_name(dir);
    let home = dir.join(&version);
    fill(&home, payload, group)?;
    let link = dir.join(DATA_NEW);
    let _ = fs::remove_file(&link);
    symlink(&version, &link)?;
    fs::rename(&link, dir.join(DATA))?;
    show(dir, payload)?;
    if let Some(old) = old {
        let _ = fs::remove_dir_all(dir.join(old));
    }
    Ok(true)
}

fn check(path: &str) -> io::Result<()> {
    let relative = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !relative || path.starts_with("..") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path {path:?} in a volume")));
    }
    Ok(())
}

/// The visible entries: the first component of every path.
fn roots(payload: &Payload) -> BTreeSet<&str> {
    payload.keys().map(|path| path.split('/').next().unwrap_or(path)).collect()
}

fn current(dir: &Path, payload: &Payload) -> bool {
    let Ok(version) = fs::read_link(dir.join(DATA)) else { return false };
    let home = dir.join(version);
    let same = |(path, file): (&String, &File)| {
        let path = home.join(path);
        let mode = path.metadata().map(|meta| meta.permissions().mode() & 0o777);
        mode.is_ok_and(|mode| mode == file.mode & 0o777) && fs::read(path).is_ok_and(|data| data == file.data)
    };
    let shown = visible(dir).is_ok_and(|shown| shown.iter().map(String::as_str).eq(roots(payload)));
    shown && count(&home) == payload.len() && payload.iter().all(same)
}

fn count(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

fn visible(dir: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") {
            names.insert(name);
        }
    }
    Ok(names)
}

fn fresh_name(dir: &Path) -> String {
    let now = jiff::Timestamp::now();
    let stamp = now.strftime("..%Y_%m_%d_%H_%M_%S");
    let mut name = format!("{stamp}.{:09}", now.subsec_nanosecond());
    while dir.join(&name).exists() {
        name.push('0');
    }
    name
}

fn fill(home: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    fs::create_dir(home)?;
    settle(home, 0o755, group)?;
    for (path, file) in payload {
        let full = home.join(path);
        if let Some(parent) = full.parent().filter(|parent| !parent.exists()) {
            fs::create_dir_all(parent)?;
        }
        let mut out = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&full)?;
        out.write_all(&file.data)?;
        settle(&full, file.mode, group)?;
        if file.owner.is_some() {
            chown(&full, file.owner, None)?;
        }
    }
    Ok(())
}

/// The exact mode, whatever the umask; a group may read what it owns.
fn settle(path: &Path, mode: u32, group: Option<u32>) -> io::Result<()> {
    let mode = match group {
        Some(group) => {
            chown(path, None, Some(group))?;
            mode | if path.is_dir() { 0o2550 } else { 0o440 }
        }
        None => mode,
    };
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn show(dir: &Path, payload: &Payload) -> io::Result<()> {
    let wanted = roots(payload);
    for name in visible(dir)? {
        if !wanted.contains(name.as_str()) {
            fs::remove_file(dir.join(name))?;
        }
    }
    for name in wanted {
        let link = dir.join(name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), File { data: (*text).into(), mode: 0o640, owner: None }))
            .collect()
    }

    #[test]
    fn the_set_is_replaced_as_a_whole() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        assert!(write(dir, &payload(&[("a", "1"), ("sub/b", "2")]), None).unwrap());
        assert!(!write(dir, &payload(&[("a", "1"), ("sub/b", "2")]), None).unwrap(), "nothing changed");
        assert_eq!(fs::read_link(dir.join("a")).unwrap(), Path::new("..data/a"));
        assert_eq!(fs::read_to_string(dir.join("sub/b")).unwrap(), "2");
        assert_eq!(dir.join("a").metadata().unwrap().permissions().mode() & 0o777, 0o640);
        let before = fs::read_link(dir.join(DATA)).unwrap();
        assert!(write(dir, &payload(&[("a", "3")]), None).unwrap());
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "3");
        assert!(dir.join("sub").symlink_metadata().is_err());
        assert!(!dir.join(before).exists());
    }

    #[test]
    fn a_path_cannot_leave_the_volume() {
        let temp = tempfile::tempdir().unwrap();
        for path in ["../x", "/x", "..data", "", "a/../../x"] {
            assert!(write(temp.path(), &payload(&[(path, "")]), None).is_err(), "{path}");
        }
    }
}
