//! `orch secrets-encrypt`: whether Secrets lie encrypted on the server's disk, and with which key. Asks the running
//! server; reads and writes no file of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::kubectl::Session;
use crate::server::encryption::{Action, PATH, Status, Wanted};

#[derive(Args)]
pub struct SecretsEncryptArgs {
    /// The kubeconfig of an administrator [default: $KUBECONFIG, /etc/orch/orch.yaml, ~/.kube/config].
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Tell whether Secrets are encrypted, and with which key.
    Status,
    /// Encrypt every Secret on the disk, those already there too. Back up the key file that it names.
    Enable,
    /// Decrypt every Secret on the disk.
    Disable,
    /// Make a new key, encrypt every Secret with it, and drop the old one.
    Rotate,
}

pub fn run(args: &SecretsEncryptArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let session = Session::open(args.kubeconfig.as_deref(), None).await?;
        let action = match args.verb {
            Verb::Status => None,
            Verb::Enable => Some(Action::Enable),
            Verb::Disable => Some(Action::Disable),
            Verb::Rotate => Some(Action::Rotate),
        };
        let answer = match action {
            None => session.get(PATH, "application/json").await?,
            Some(action) => {
                session.send("POST", PATH, "application/json", serde_json::to_vec(&Wanted { action })?).await?
            }
        };
        print!("{}", told(&serde_json::from_value(answer)?, action.is_some()));
        Ok(())
    })
}

fn told(status: &Status, acted: bool) -> String {
    let mut text = format!("Encryption of Secrets: {}\n", if status.enabled { "enabled" } else { "disabled" });
    if !status.settled {
        text.push_str("An earlier change is not complete: run it again, or restart the server\n");
    }
    for (at, key) in status.keys.iter().enumerate() {
        let role = if at == 0 && status.enabled { "Key" } else { "Older key" };
        text.push_str(&format!("{role}: {} (made {})\n", key.name, key.created.strftime("%Y-%m-%d %H:%M UTC")));
    }
    if acted {
        text.push_str(&format!("Values written anew: {}\n", status.rewritten));
    }
    if status.enabled {
        text.push_str(
            "The keys are in server/cred/encryption.json of the data directory: back it up with the database\n",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::encryption::KeyInfo;

    #[test]
    fn a_person_is_told() {
        let key = |name: &str| KeyInfo { name: name.to_owned(), created: jiff::Timestamp::UNIX_EPOCH };
        let status = Status { enabled: true, settled: false, keys: vec![key("key-b"), key("key-a")], rewritten: 2 };
        let text = told(&status, true);
        for line in ["enabled", "not complete", "Key: key-b (made 1970-01-01 00:00 UTC)", "Older key: key-a", "anew: 2"]
        {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        let off = Status { enabled: false, settled: true, keys: Vec::new(), rewritten: 0 };
        assert_eq!(told(&off, false), "Encryption of Secrets: disabled\n");
    }
}
