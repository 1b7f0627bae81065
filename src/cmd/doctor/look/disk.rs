//! How fast data is safe on the disk below a folder, and how much room is left there.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::observed::Disk;

/// So many small writes, each waited for, as the store makes them.
const WRITES: usize = 16;

pub fn disk(dir: &Path) -> Disk {
    let path = existing(dir);
    let room = rustix::fs::statvfs(&path).ok();
    Disk {
        sync: sync(&path).ok(),
        bytes_free: room.as_ref().map_or(0, |room| room.f_bavail * room.f_frsize),
        bytes: room.as_ref().map_or(0, |room| room.f_blocks * room.f_frsize),
        inodes_free: room.as_ref().map_or(0, |room| room.f_favail),
        inodes: room.as_ref().map_or(0, |room| room.f_files),
        swap: swap(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        path,
    }
}

/// The folder, or the nearest one above it that is there already.
fn existing(dir: &Path) -> PathBuf {
    dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn sync(dir: &Path) -> io::Result<(Duration, Duration)> {
    let path = dir.join(format!(".orch-doctor-{}", std::process::id()));
    let measured = File::create_new(&path).and_then(|mut file| {
        let mut took = Vec::new();
        for _ in 0..WRITES {
            let begun = Instant::now();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            took.push(begun.elapsed());
        }
        took.sort();
        Ok((took[WRITES / 2], took[WRITES - 1]))
    });
    // Where it could not be made there is nothing to remove.
    let _ = fs::remove_file(&path);
    measured
}

/// Bytes of swap, from /proc/meminfo.
fn swap(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("SwapTotal:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_measured_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let seen = disk(&dir.path().join("not/yet"));
        assert_eq!(seen.path, dir.path());
        let (middle, worst) = seen.sync.unwrap();
        assert!(middle <= worst && seen.bytes_free <= seen.bytes && seen.bytes > 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(swap("MemTotal: 1 kB\nSwapTotal:       2048 kB\n"), 2 << 20);
    }
}
