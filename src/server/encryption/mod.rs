//! Encryption of Secrets at rest: `orch secrets-encrypt status|enable|disable|rotate`.
//!
//! The [`Keyring`] seals what the store's disk holds; this module changes its keys in the running server and
//! brings everything on the disk under the newest. The order is always: write the key file, rewrite the disk,
//! drop the older keys. Whatever is interrupted goes on at the next start.

mod keyring;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::api::status::{Failure, Result};
use crate::server::http::endpoint::Endpoint;
use crate::store::sqlite::SqliteStore;
pub use keyring::{KeyInfo, Keyring, KeyringError};

/// Where the running server is asked.
pub const PATH: &str = "/orch/v1/secrets-encrypt";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Enable,
    Disable,
    Rotate,
}

/// The body of a request that changes something.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub action: Action,
}

/// The answer to every request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub enabled: bool,
    /// Everything on the disk is as `enabled` and the first key say.
    pub settled: bool,
    /// The key that seals comes first.
    pub keys: Vec<KeyInfo>,
    /// Values that the request wrote anew.
    #[serde(default)]
    pub rewritten: usize,
}

/// The one who changes keys.
pub struct Encryption {
    keyring: Arc<Keyring>,
    store: Arc<SqliteStore>,
    /// One change at a time.
    turn: Mutex<()>,
}

impl Encryption {
    pub fn new(keyring: Arc<Keyring>, store: Arc<SqliteStore>) -> Arc<Self> {
        Arc::new(Self { keyring, store, turn: Mutex::default() })
    }

    /// Ends what an earlier process began. Called once at the start; does nothing where nothing was begun.
    pub async fn resume(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        if !self.keyring.settled() {
            let rewritten = self.settle().await?;
            tracing::info!(rewritten, "an interrupted change of the encryption of Secrets is complete");
        }
        Ok(())
    }

    async fn act(&self, action: Action) -> Result<usize> {
        let _turn = self.turn.lock().await;
        let enabled = self.keyring.enabled();
        match (action, enabled) {
            (Action::Rotate, false) => {
                return Err(Failure::bad_request("encryption of Secrets is not enabled; enable it first"));
            }
            (Action::Rotate, true) => self.keyring.add_key(),
            (Action::Enable, false) => self.keyring.enable(),
            (Action::Disable, true) => self.keyring.disable(),
            (Action::Enable | Action::Disable, _) if self.keyring.settled() => return Ok(0),
            (Action::Enable | Action::Disable, _) => Ok(()),
        }
        .map_err(Failure::internal)?;
        self.settle().await
    }

    async fn settle(&self) -> Result<usize> {
        let rewritten = self.store.reseal().await.map_err(|error| Failure::unavailable(error.to_string()))?;
        self.keyring.settle().map_err(Failure::internal)?;
        Ok(rewritten)
    }

    fn status(&self, rewritten: usize) -> Status {
        let keyring = &self.keyring;
        Status { enabled: keyring.enabled(), settled: keyring.settled(), keys: keyring.keys(), rewritten }
    }
}

#[async_trait]
impl Endpoint for Encryption {
    async fn serve(&self, method: &Method, body: Bytes) -> Result<serde_json::Value> {
        let rewritten = match *method {
            Method::GET => 0,
            Method::POST => {
                let wanted: Wanted =
                    serde_json::from_slice(&body).map_err(|error| Failure::bad_request(error.to_string()))?;
                self.act(wanted.action).await?
            }
            _ => return Err(Failure::method_not_allowed()),
        };
        serde_json::to_value(self.status(rewritten)).map_err(Failure::internal)
    }
}
