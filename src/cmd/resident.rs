//! Code that only starting needed, given back: of an executable of some fifty megabytes an idle process uses a third.
//!
//! The kernel maps the pages again as they are needed, mostly from its cache of the file. Called once the process is
//! ready, by `orch server` and `orch agent`.

use std::ops::Range;
use std::time::Duration;

use rustix::mm::{Advice, madvise};

/// So long after it is ready, a process has done what a start brings with it.
const SETTLED: Duration = Duration::from_secs(20);

/// Gives the code back when the start is over.
pub async fn settle() {
    tokio::time::sleep(SETTLED).await;
    if let Err(error) = give_back() {
        tracing::debug!("the code that starting needed stays in memory: {error}");
    }
}

fn give_back() -> std::io::Result<()> {
    for range in code(&std::fs::read_to_string("/proc/self/maps")?) {
        // SAFETY: these are whole mappings of a file, which nobody can write and no relocation touches, so their pages
        // are the file's: dropping them from the page table changes no byte that a later access reads.
        unsafe { madvise(range.start as *mut _, range.len(), Advice::LinuxDontNeed)? };
    }
    Ok(())
}

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
