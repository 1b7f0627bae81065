//! `orch certificate`: looks at the certificates of the server and of the agent on this machine, and has them made anew.
//! The server makes its own; an agent asks the server for its, so it has to run.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::config::HostArgs;
use super::{kubectl, pidfile};
use crate::server::pki::inspect::{self, Certificate};

#[derive(Args)]
pub struct CertificateArgs {
    #[command(flatten)]
    host: HostArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List every certificate with its subject, names, end and the days left.
    Check,
    /// Make all certificates but the CA's anew, at once; a running server takes them up without a restart.
    Rotate,
}

pub fn run(args: &CertificateArgs) -> anyhow::Result<()> {
    let data = &args.host.data_dir;
    let server = data.join("server/tls");
    let kept: Vec<_> = [server.clone(), data.join(super::agent::PKI)].into_iter().filter(|dir| dir.is_dir()).collect();
    if kept.is_empty() {
        bail!("nobody has kept certificates in {}; name its folder with --data-dir", data.display());
    }
    let now = Timestamp::now();
    match args.action {
        Action::Check => {
            let mut found = Vec::new();
            for dir in &kept {
                found.extend(inspect::certificates(dir)?);
            }
            print!("{}", kubectl::align(&table(&found, now)));
            let ended: Vec<_> = found.iter().filter(|one| one.expires <= now).map(|one| one.name.as_str()).collect();
            if !ended.is_empty() {
                bail!("expired: {}; make them anew with: orch certificate rotate", ended.join(", "));
            }
        }
        Action::Rotate if kept.contains(&server) => {
            let renewed = inspect::rotate(&server).context("run this as root on the server's machine")?;
            print!("{}", kubectl::align(&table(&renewed, now)));
            match pidfile::reload(&args.host.run_dir)? {
                true => println!("orch: the running server takes them up now"),
                false => println!("orch: no server runs; they count from its next start"),
            }
        }
        Action::Rotate => {
            if !pidfile::reload(&args.host.run_dir)? {
                bail!("no agent runs here that could ask the server for new certificates; start it first");
            }
            println!("orch: the agent asks the server for new certificates now; see them with: orch certificate check");
        }
    }
    Ok(())
}

fn table(found: &[Certificate], now: Timestamp) -> Vec<Vec<String>> {
    let mut lines = vec![["CERTIFICATE", "SUBJECT", "EXPIRES", "DAYS LEFT", "NAMES"].map(str::to_owned).to_vec()];
    lines.extend(found.iter().map(|one| {
        let group = one.organization.as_ref().map(|group| format!(",O={group}")).unwrap_or_default();
        let days = one.expires.duration_since(now).as_hours() / 24;
        let names = if one.names.is_empty() { "<none>".to_owned() } else { one.names.join(",") };
        let subject = format!("CN={}{group}", one.common_name);
        vec![one.name.clone(), subject, one.expires.to_string(), days.to_string(), names]
    }));
    lines
}
