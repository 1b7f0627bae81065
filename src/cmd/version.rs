//! `orch version`.

/// orch's own version.
pub const SHORT: &str = env!("CARGO_PKG_VERSION");

/// The Kubernetes version whose wire behaviour orch follows, as `/version` and nodes report it.
pub const KUBERNETES: &str = "v1.36.0";

pub fn run() -> anyhow::Result<()> {
    println!("orch {SHORT} (Kubernetes {KUBERNETES}, {}/{})", std::env::consts::OS, std::env::consts::ARCH);
    Ok(())
}
