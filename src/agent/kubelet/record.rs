//! What the kubelet remembers of a pod on disk: the runs of its containers and its sandbox count, so that a
//! restart adopts the pod and a reboot continues its counts. One small file in the pod's directory, replaced
//! whole. Written and read by the pod's worker only.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::model::{ContainerState, PodId};

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub pod: PodId,
    pub grace: i64,
    /// The boot in which the sandbox was made; in another one it is gone.
    pub boot: String,
    pub epoch: u32,
    #[serde(default)]
    pub anew: u32,
    pub start_time: Option<Timestamp>,
    pub containers: BTreeMap<String, ContainerState>,
}

const FILE: &str = "state.json";

impl Record {
    /// Whether saving `other` instead would write the same bytes.
    pub fn same(&self, other: &Self) -> bool {
        let lasting = |record: &Self| serde_json::to_vec(record).ok();
        lasting(self) == lasting(other)
    }

    pub fn save(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let temporary = dir.join("state.json.new");
        fs::write(&temporary, serde_json::to_vec(self)?)?;
        fs::rename(temporary, dir.join(FILE))
    }

    /// `None` where there is none or a power cut spoiled it.
    pub fn load(dir: &Path) -> Option<Self> {
        let bytes = fs::read(dir.join(FILE)).ok()?;
        serde_json::from_slice(&bytes).inspect_err(|error| tracing::warn!(?dir, %error, "pod record unreadable")).ok()
    }

    /// Every record below `<data>/pods`.
    pub fn all(pods: &Path) -> Vec<Self> {
        let entries = fs::read_dir(pods).into_iter().flatten().flatten();
        entries.filter_map(|entry| Self::load(&entry.path())).collect()
    }
}

/// Identifies the current boot of the host.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::model::{Activity, CrashBackoff, Finished, Instance};
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_what_is_momentary_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let at = Timestamp::UNIX_EPOCH;
        let mut crash = CrashBackoff::default();
        crash.restarted(at);
        let finished = Some(Finished { exit_code: 1, reason: "Error".into(), message: None, at });
        let run = Instance {
            id: "i".into(),
            attempt: 3,
            epoch: 1,
            hash: "h".into(),
            image: "x".into(),
            image_id: "y".into(),
            started_at: Some(at),
            finished,
        };
        let state = ContainerState { current: Some(run), crash, activity: Activity::Starting, ..Default::default() };
        let record = Record {
            pod: PodId { namespace: "ns".into(), name: "p".into(), uid: "u".into() },
            grace: 30,
            boot: "b".into(),
            epoch: 1,
            anew: 1,
            start_time: Some(at),
            containers: [("c".to_owned(), state)].into(),
        };
        let dir = temp.path().join("u");
        record.save(&dir).unwrap();
        let mut expected = record;
        expected.containers.get_mut("c").unwrap().activity = Activity::None;
        assert_eq!(Record::all(temp.path()), [expected]);
        fs::write(dir.join(FILE), "{").unwrap();
        assert_eq!(Record::load(&dir), None);
    }
}
