//! Waiting for files to change: one inotify instance for all that a part of the agent follows (logs, the host's
//! `resolv.conf`), because the kernel allows few. A directory is watched while somebody follows a file in it.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// Counts what happened in a directory.
type Counter = watch::Sender<u64>;

pub struct FileWatch {
    inotify: AsyncFd<OwnedFd>,
    directories: Mutex<HashMap<i32, Weak<Directory>>>,
}

struct Directory {
    descriptor: i32,
    happened: Counter,
    watch: Weak<FileWatch>,
}

impl Drop for Directory {
    fn drop(&mut self) {
        let Some(watch) = self.watch.upgrade() else { return };
        let mut directories = watch.directories.lock();
        // Somebody may have begun to watch it again meanwhile: the kernel gives the same descriptor.
        if directories.get(&self.descriptor).is_some_and(|directory| directory.strong_count() == 0) {
            directories.remove(&self.descriptor);
            let _ = inotify::remove_watch(watch.inotify.get_ref(), self.descriptor);
        }
    }
}

/// A watched directory.
pub struct Watched {
    seen: tokio::sync::Mutex<watch::Receiver<u64>>,
    _directory: Arc<Directory>,
}

impl Watched {
    /// Returns when something was written, made or renamed since the last return.
    pub async fn changed(&self) {
        if self.seen.lock().await.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl FileWatch {
    pub fn start() -> io::Result<Arc<Self>> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        #[expect(deprecated, reason = "tokio asks for an unsafe call for descriptors of any kind; ours is owned")]
        let inotify = AsyncFd::with_interest(inotify, Interest::READABLE)?;
        let watch = Arc::new(Self { inotify, directories: Mutex::default() });
        tokio::spawn(follow(Arc::downgrade(&watch)));
        Ok(watch)
    }

    pub fn watch(self: &Arc<Self>, dir: &Path) -> io::Result<Watched> {
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        let mut directories = self.directories.lock();
        let descriptor = inotify::add_watch(self.inotify.get_ref(), dir, flags)?;
        let known = directories.get(&descriptor).and_then(Weak::upgrade);
        let directory = known.unwrap_or_else(|| {
            let directory = Arc::new(Directory { descriptor, happened: Counter::new(0), watch: Arc::downgrade(self) });
            directories.insert(descriptor, Arc::downgrade(&directory));
            directory
        });
        let seen = tokio::sync::Mutex::new(directory.happened.subscribe());
        Ok(Watched { seen, _directory: directory })
    }

    /// Reads what the kernel has to say and tells those concerned.
    fn dispatch(&self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.inotify.get_ref(), &mut buffer);
        loop {
            let descriptor = match reader.next() {
                Ok(event) => event.wd(),
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let directory = self.directories.lock().get(&descriptor).and_then(Weak::upgrade);
            if let Some(directory) = directory {
                directory.happened.send_modify(|count| *count += 1);
            }
        }
    }
}

/// Ends with the last owner, at the latest at the next event.
async fn follow(watch: Weak<FileWatch>) {
    while let Some(watch) = watch.upgrade() {
        let Ok(mut ready) = watch.inotify.readable().await else { return };
        ready.clear_ready();
        if let Err(error) = watch.dispatch() {
            tracing::warn!(%error, "file notifications");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_wakes_every_watcher_of_its_directory_only() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let watch = FileWatch::start().unwrap();
        let first = watch.watch(one.path()).unwrap();
        let second = watch.watch(one.path()).unwrap();
        let elsewhere = watch.watch(other.path()).unwrap();
        std::fs::write(one.path().join("a"), "x").unwrap();
        tokio::join!(first.changed(), second.changed());
        drop(first);
        std::fs::write(one.path().join("b"), "x").unwrap();
        second.changed().await;
        drop(second);
        assert_eq!(watch.directories.lock().len(), 1);
        std::fs::write(other.path().join("a"), "x").unwrap();
        elsewhere.changed().await;
    }
}
