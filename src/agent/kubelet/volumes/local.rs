//! Volumes that are directories of this node: emptyDir, hostPath, the memory file system that secrets live
//! in; and how they go away again. Mounts only below the pod's own directory.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::EmptyDirVolumeSource;
use rustix::mount::{MountFlags, UnmountFlags};

use super::Cause;
use crate::api::quantity::Quantity;

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Cause {
    let path = path.to_owned();
    move |error| Cause::Io(path, error)
}

/// One directory on disk, or one tmpfs, for the whole pod.
pub fn empty_dir(
    pod_dir: &Path,
    name: &str,
    source: &EmptyDirVolumeSource,
    group: Option<u32>,
) -> Result<PathBuf, Cause> {
    let memory = source.medium.as_deref() == Some("Memory");
    let dir = pod_dir.join(if memory { "memory" } else { "empty" }).join(name);
    let new = !dir.exists();
    fs::create_dir_all(&dir).map_err(failed(&dir))?;
    if memory {
        let limit = source.size_limit.as_ref().and_then(|limit| limit.0.parse::<Quantity>().ok());
        let options = limit.map(|limit| format!("size={}", limit.value())).unwrap_or_default();
        mount_tmpfs(&dir, &options)?;
    }
    if new || memory {
        let mode = if group.is_some() { 0o2777 } else { 0o777 };
        chown(&dir, None, group).map_err(failed(&dir))?;
        fs::set_permissions(&dir, Permissions::from_mode(mode)).map_err(failed(&dir))?;
    }
    Ok(dir)
}

/// The pod's one tmpfs for what must not reach a disk; programs may be run from it.
pub fn memory(pod_dir: &Path) -> Result<PathBuf, Cause> {
    let dir = pod_dir.join("secrets");
    fs::create_dir_all(&dir).map_err(failed(&dir))?;
    mount_tmpfs(&dir, "mode=0755")?;
    Ok(dir)
}

/// The /dev/shm that the containers of a pod share.
pub fn shared_memory(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    mount_tmpfs(dir, "mode=1777,size=65536k").map_err(|cause| io::Error::other(cause.to_string()))
}

/// Mounts once; a mount that is there stays.
fn mount_tmpfs(dir: &Path, options: &str) -> Result<(), Cause> {
    if is_mount(dir).map_err(failed(dir))? {
        return Ok(());
    }
    let options = CString::new(options).map_err(|error| Cause::Io(dir.to_owned(), error.into()))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", dir, "tmpfs", flags, options.as_c_str()).map_err(|error| failed(dir)(error.into()))
}

fn is_mount(dir: &Path) -> io::Result<bool> {
    let parent = dir.parent().unwrap_or(dir);
    Ok(dir.metadata()?.dev() != parent.metadata()?.dev())
}

/// Checks or makes what `type` promises.
pub fn host_path(path: &str, kind: &str) -> Result<PathBuf, Cause> {
    let place = PathBuf::from(path);
    match kind {
        "DirectoryOrCreate" if !place.exists() => fs::create_dir_all(&place).map_err(failed(&place))?,
        "FileOrCreate" if !place.exists() => {
            fs::File::create(&place).map_err(failed(&place))?;
        }
        _ => {}
    }
    let meta = fs::metadata(&place);
    let is = |test: fn(&fs::FileType) -> bool| meta.as_ref().is_ok_and(|meta| test(&meta.file_type()));
    let (good, words) = match kind {
        "" => (true, ""),
        "Directory" | "DirectoryOrCreate" => (is(fs::FileType::is_dir), "directory"),
        "File" | "FileOrCreate" => (is(fs::FileType::is_file), "file"),
        "Socket" => (is(FileTypeExt::is_socket), "socket file"),
        "CharDevice" => (is(FileTypeExt::is_char_device), "character device"),
        "BlockDevice" => (is(FileTypeExt::is_block_device), "block device"),
        other => return Err(Cause::HostPath(format!("{other:?} is an invalid volume type"))),
    };
    if !good {
        return Err(Cause::HostPath(format!("hostPath type check failed: {path} is not a {words}")));
    }
    if kind.is_empty() && meta.is_err() {
        // The runtime would make a missing source of a bind mount; so do we, in one place.
        fs::create_dir_all(&place).map_err(failed(&place))?;
    }
    Ok(place)
}

/// Why a path in a volume is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SubPathError {
    #[error("error SubPath `{0}` must not be an absolute path")]
    Absolute(String),
    #[error("unable to provision SubPath `{0}`: must not contain '..'")]
    Backward(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A path inside a volume, made where it is missing with the volume's own mode, so that who may write to the volume
/// may write there. Never leads out of the volume, whatever links say.
pub fn sub_path(volume: &Path, path: &str) -> Result<PathBuf, SubPathError> {
    if Path::new(path).is_absolute() {
        return Err(SubPathError::Absolute(path.to_owned()));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(SubPathError::Backward(path.to_owned()));
    }
    let volume = volume.canonicalize()?;
    let mode = volume.metadata()?.mode() & 0o7777;
    let mut place = volume.clone();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let next = place.join(part);
        if next.symlink_metadata().is_err() {
            fs::create_dir(&next)?;
            fs::set_permissions(&next, Permissions::from_mode(mode))?;
        }
        place = next.canonicalize()?;
        if !place.starts_with(&volume) {
            let why = format!("subPath {path:?} leads out of its volume");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
        }
    }
    Ok(place)
}

/// Takes the pod's directory away with everything mounted in it. What cannot be unmounted stays and is an error.
pub fn clear(pod_dir: &Path) -> io::Result<()> {
    empty(pod_dir)?;
    ignore_missing(fs::remove_dir_all(pod_dir))
}

/// Unmounts and removes the volumes of a pod that has ended, whose record and last words stay.
pub fn empty(pod_dir: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let root = pod_dir.canonicalize().unwrap_or_else(|_| pod_dir.to_owned());
    let ours = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    let mut ours: Vec<_> = ours.filter(|place| place.starts_with(&root)).collect();
    ours.sort();
    for place in ours.into_iter().rev() {
        rustix::mount::unmount(&place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    }
    for name in ["volumes", "empty", "memory", "secrets", "shm"] {
        ignore_missing(fs::remove_dir_all(pod_dir.join(name)))?;
    }
    Ok(())
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// mountinfo writes blanks and the like as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let text = field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
    PathBuf::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_path_stays_inside() {
        let temp = tempfile::tempdir().unwrap();
        let volume = temp.path().join("v");
        fs::create_dir(&volume).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        std::os::unix::fs::symlink("in", volume.join("link")).unwrap();
        fs::create_dir(volume.join("in")).unwrap();
        fs::set_permissions(&volume, Permissions::from_mode(0o777)).unwrap();
        assert!(sub_path(&volume, "a/b").unwrap().ends_with("v/a/b"));
        assert_eq!(volume.join("a/b").metadata().unwrap().mode() & 0o7777, 0o777);
        assert!(sub_path(&volume, "link").unwrap().ends_with("v/in"));
        for bad in ["out", "out/x", "../x", "/x", "a/../../x"] {
            assert!(sub_path(&volume, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_path_types_are_checked() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().to_str().unwrap();
        let made = format!("{dir}/made");
        assert!(host_path(dir, "Directory").is_ok());
        assert_eq!(
            host_path(dir, "File").unwrap_err().to_string(),
            format!("hostPath type check failed: {dir} is not a file")
        );
        assert!(host_path(&made, "Directory").is_err());
        assert!(host_path(&made, "DirectoryOrCreate").is_ok());
        assert!(host_path(&made, "Directory").is_ok());
        assert!(host_path(dir, "Socket").is_err() && host_path("/dev/null", "CharDevice").is_ok());
    }
}
