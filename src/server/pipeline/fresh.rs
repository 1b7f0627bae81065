//! Reads that must show at least some revision wait a moment for it, as upstream's do for its cache.

use std::time::Duration;

use super::Pipeline;
use super::commit::{store_failure, too_large};
use crate::api::status::Result;

/// How long upstream waits.
const PATIENCE: Duration = Duration::from_secs(3);
/// Below this lies every key.
const EVERYTHING: &str = "/registry/";

impl Pipeline {
    /// Returns once the store is at `wanted`.
    ///
    /// # Errors
    /// 504 where it does not get there soon.
    pub(super) async fn reached(&self, wanted: u64) -> Result<()> {
        let now = self.store.revision();
        if wanted <= now {
            return Ok(());
        }
        let mut watch = self.store.watch(EVERYTHING, now).await.map_err(|error| store_failure(&error))?;
        let arrival = async {
            while let Some(Ok(event)) = watch.events.recv().await {
                if event.item.revision >= wanted {
                    break;
                }
            }
            // What a watch shows, readers may see in the next moment.
            while self.store.revision() < wanted {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, arrival).await;
        in_time.map_err(|_| too_large(wanted, self.store.revision()))
    }
}
