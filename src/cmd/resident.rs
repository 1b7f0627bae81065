//! Memory that an idle process does not need, given back: after the start, and after each burst of requests.
//!
//! That is code (of an executable of some fifty megabytes an idle process uses a third), whose pages the kernel maps
//! again as they are needed, mostly from its cache of the file; and what the allocator keeps of what was freed: after
//! lists of ten thousand pods, half of what the process has.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rustix::mm::{Advice, madvise};

use crate::server::http::metrics::Burst;

/// So long after it is ready, a process has done what a start brings with it.
const SETTLED: Duration = Duration::from_secs(20);

/// Gives back when the start is over, and then when a burst is.
pub async fn settle(burst: Option<Arc<Burst>>) {
    tokio::time::sleep(SETTLED).await;
    loop {
        match tokio::task::spawn_blocking(give_back).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("code that is not needed stays in memory: {error}"),
            Err(error) => tracing::warn!("giving memory back: {error}"),
        }
        let Some(burst) = &burst else { return };
        burst.over().await;
    }
}

fn give_back() -> std::io::Result<()> {
    trim();
    for range in code(&std::fs::read_to_string("/proc/self/maps")?) {
        // SAFETY: these are whole mappings of a file, which nobody can write and no relocation touches, so their pages
        // are the file's: dropping them from the page table changes no byte that a later access reads.
        unsafe { madvise(range.start as *mut _, range.len(), Advice::LinuxDontNeed)? };
    }
    Ok(())
}

/// Free memory goes from the allocator to the kernel.
#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: takes a number, and touches only what the allocator knows to be free, under its own locks.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves.
#[cfg(not(target_env = "gnu"))]
fn trim() {}

/// The mappings that are code from a file, in the words of proc_pid_maps(5).
fn code(maps: &str) -> Vec<Range<usize>> {
    let range = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (addresses, access, _, _, inode) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (start, end) = addresses.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        (access == "r-xp" && inode != "0").then_some(address(start)?..address(end)?)
    };
    maps.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_from_files_is_given_back() {
        let maps = "\
7f065c400000-7f065d121000 r--p 00000000 fe:00 5505184                    /usr/local/bin/orch
7f065d121000-7f065fe14000 r-xp 00d20000 fe:00 5505184                    /usr/local/bin/orch (deleted)
7f065fe14000-7f065ff3f000 rw-p 03a12000 fe:00 5505184                    /usr/local/bin/orch
7f0660000000-7f0660021000 rw-p 00000000 00:00 0
7ffd2a9f1000-7ffd2a9f3000 r-xp 00000000 00:00 0                          [vdso]
";
        assert_eq!(code(maps), vec![0x7f06_5d12_1000..0x7f06_5fe1_4000]);
    }

    #[test]
    fn a_process_goes_on_without_its_code_in_memory() {
        assert!(!code(&std::fs::read_to_string("/proc/self/maps").unwrap()).is_empty());
        give_back().unwrap();
        assert!(code("").is_empty());
    }
}
