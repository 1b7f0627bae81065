//! Who a container runs as: the pod's numbers, or the image's `USER`, looked up in the image's own
//! /etc/passwd and /etc/group. The files are read straight from the snapshot's layers, without a mount.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use containerd_client::types::Mount;

use super::spec::Identity;
use crate::agent::runtime::{Error, RunAs};

/// More than any account file has; protects from an image made to hurt.
const MAX_FILE: u64 = 4 << 20;

/// The two files of an image; empty where the image has none.
#[derive(Debug, Clone, Default)]
pub(super) struct Accounts {
    pub passwd: String,
    pub group: String,
}

impl Accounts {
    /// Reads them from the directories that make up a snapshot, topmost first.
    pub(super) fn read(mounts: &[Mount]) -> Self {
        let layers = directories(mounts);
        Self { passwd: lookup(&layers, "etc/passwd"), group: lookup(&layers, "etc/group") }
    }

    /// # Errors
    /// A user or group given by name that the image does not know.
    pub(super) fn resolve(&self, run_as: &RunAs, image_user: &str) -> Result<Identity, Error> {
        let (image_user, image_group) = image_user.split_once(':').unwrap_or((image_user, ""));
        let user = run_as.user.map_or_else(|| image_user.to_owned(), |uid| uid.to_string());
        let account = self.account(&user)?;
        let mut gid = account.gid;
        if let Some(group) = run_as.group {
            gid = id(group)?;
        } else if run_as.user.is_none() && !image_group.is_empty() {
            gid = self.group(image_group)?;
        }
        let mut additional = vec![gid];
        let of_image = self.memberships(&account.name);
        let of_pod = run_as.supplementary_groups.iter().map(|group| id(*group)).collect::<Result<Vec<_>, _>>()?;
        for group in of_image.into_iter().chain(of_pod) {
            if !additional.contains(&group) {
                additional.push(group);
            }
        }
        Ok(Identity { uid: account.uid, gid, additional })
    }

    fn account(&self, user: &str) -> Result<Account, Error> {
        let user = if user.is_empty() { "0" } else { user };
        let number = user.parse::<u32>().ok();
        let found = self.passwd.lines().filter_map(Account::parse).find(|account| match number {
            Some(uid) => account.uid == uid,
            None => account.name == user,
        });
        match (found, number) {
            (Some(account), _) => Ok(account),
            // A number needs no entry; its group is then root's, as docker has it.
            (None, Some(uid)) => Ok(Account { name: String::new(), uid, gid: 0 }),
            (None, None) => {
                Err(Error::Spec { message: format!("unable to find user {user}: no matching entries in passwd file") })
            }
        }
    }

    fn group(&self, group: &str) -> Result<u32, Error> {
        if let Ok(gid) = group.parse() {
            return Ok(gid);
        }
        let found = self.groups().find(|(name, _, _)| *name == group).map(|(_, gid, _)| gid);
        found.ok_or_else(|| Error::Spec {
            message: format!("unable to find group {group}: no matching entries in group file"),
        })
    }

    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
            Some((name, gid, fields.next().unwrap_or_default()))
        })
    }

    fn memberships(&self, user: &str) -> Vec<u32> {
        if user.is_empty() {
            return Vec::new();
        }
        self.groups()
            .filter(|(_, _, members)| members.split(',').any(|member| member.trim() == user))
            .map(|(_, gid, _)| gid)
            .collect()
    }
}

struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        Some(Self { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    }
}

fn id(number: i64) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| Error::Spec { message: format!("id {number} is out of range") })
}

/// The directories of an overlay, topmost first; of a bind mount, its source.
fn directories(mounts: &[Mount]) -> Vec<PathBuf> {
    let Some(mount) = mounts.first() else { return Vec::new() };
    if mount.r#type != "overlay" {
        return vec![PathBuf::from(&mount.source)];
    }
    let option = |name: &str| mount.options.iter().find_map(|option| option.strip_prefix(name));
    let upper = option("upperdir=").into_iter();
    upper.chain(option("lowerdir=").unwrap_or_default().split(':')).map(PathBuf::from).collect()
}

/// A file of the union: the first layer that has it, or has it removed, decides.
fn lookup(layers: &[PathBuf], path: &str) -> String {
    for layer in layers {
        let Some(file) = inside(layer, Path::new(path)) else { continue };
        let Ok(metadata) = std::fs::symlink_metadata(&file) else { continue };
        let removed = metadata.file_type().is_char_device() && metadata.rdev() == 0;
        if removed || !metadata.is_file() || metadata.len() > MAX_FILE {
            return String::new();
        }
        return std::fs::read(&file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    }
    String::new()
}

/// The path below a layer, unless a symbolic link on the way could lead out of it.
fn inside(layer: &Path, path: &Path) -> Option<PathBuf> {
    let parent = layer.join(path.parent()?);
    let real = parent.canonicalize().ok()?;
    real.starts_with(layer.canonicalize().ok()?).then(|| real.join(path.file_name().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n".into(),
            group: "root:x:0:\nwheel:x:10:root,app\nstaff:x:50:app\nbroken\n".into(),
        }
    }

    #[test]
    fn resolves_as_docker_does() {
        let resolve = |run_as: RunAs, user: &str| accounts().resolve(&run_as, user);
        let nobody = RunAs::default;
        assert_eq!(resolve(nobody(), "").unwrap(), Identity { uid: 0, gid: 0, additional: vec![0, 10] });
        assert_eq!(
            resolve(nobody(), "app").unwrap(),
            Identity { uid: 1000, gid: 1001, additional: vec![1001, 10, 50] }
        );
        assert_eq!(resolve(nobody(), "app:staff").unwrap(), Identity { uid: 1000, gid: 50, additional: vec![50, 10] });
        assert_eq!(resolve(nobody(), "4242").unwrap(), Identity { uid: 4242, gid: 0, additional: vec![0] });
        let pod = RunAs { user: Some(1000), group: Some(7), supplementary_groups: vec![8] };
        assert_eq!(resolve(pod, "root:root").unwrap(), Identity { uid: 1000, gid: 7, additional: vec![7, 10, 50, 8] });
        assert_eq!(
            resolve(nobody(), "ghost").unwrap_err().to_string(),
            "unable to find user ghost: no matching entries in passwd file"
        );
        assert!(resolve(RunAs { user: Some(-1), ..nobody() }, "").is_err());
    }

    #[test]
    fn upper_layers_win_and_links_do_not_escape() {
        let dir = tempfile::tempdir().unwrap();
        let (upper, lower, evil) = (dir.path().join("upper"), dir.path().join("lower"), dir.path().join("evil"));
        for layer in [&upper, &lower] {
            std::fs::create_dir_all(layer.join("etc")).unwrap();
        }
        std::fs::write(lower.join("etc/passwd"), "lower").unwrap();
        std::fs::write(lower.join("etc/group"), "lower").unwrap();
        std::fs::write(upper.join("etc/passwd"), "upper").unwrap();
        std::fs::create_dir_all(&evil).unwrap();
        std::os::unix::fs::symlink("/etc", evil.join("etc")).unwrap();
        let overlay = Mount {
            r#type: "overlay".into(),
            options: vec![format!("lowerdir={}:{}:{}", evil.display(), upper.display(), lower.display())],
            ..Mount::default()
        };
        let accounts = Accounts::read(&[overlay]);
        assert_eq!((accounts.passwd.as_str(), accounts.group.as_str()), ("upper", "lower"));
    }
}
