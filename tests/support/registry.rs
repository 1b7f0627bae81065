//! A registry on loopback of a test's host, with a busybox in it.

use std::process::Stdio;

use super::{Host, Serving, require_root_and, run};

pub struct Registry;

impl Registry {
    pub const ADDRESS: &str = "127.0.0.1:5000";
    pub const IMAGE: &str = "127.0.0.1:5000/test/busybox:latest";

    /// Serves on the host until the guard is dropped.
    pub fn serve(host: &Host) -> Serving {
        require_root_and(&["docker-registry"]);
        let config = host.dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{}\"}}\n",
            host.dir.join("registry").display(),
            Self::ADDRESS
        );
        std::fs::write(&config, text).expect("a file");
        let mut command = host.command("docker-registry");
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let serving = Serving(command.spawn().expect("docker-registry runs"));
        host.http_soon(&format!("http://{}/v2/", Self::ADDRESS));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/test-images.sh");
        run(host.command(script).arg(host.dir.join("images")).arg(Self::ADDRESS));
        serving
    }
}
