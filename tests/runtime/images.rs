//! Images from archives and from a registry.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orch::agent::runtime::{Code, Credentials, Error, Runtime, no_progress};

use crate::support::{BUSYBOX, Node, Options, archives, exited, make_images};

#[tokio::test(flavor = "multi_thread")]
async fn oci_archive_is_imported_listed_run_and_removed_needs_root() {
    let node = Node::new().await;
    let seen = Arc::new(AtomicU64::new(0));
    let told = seen.clone();
    let progress = Arc::new(move |done, total| {
        assert!(done <= total);
        told.store(done, Ordering::Relaxed);
    });
    let names = node.runtime.import(&archives().join("busybox-oci.tar"), progress).await.unwrap();
    assert_eq!(names, ["localhost/test/oci:v1"]);
    assert!(seen.load(Ordering::Relaxed) > 1 << 19);
    let image = node.runtime.image("localhost/test/oci:v1").await.unwrap().unwrap();
    assert_eq!(image.config.entrypoint, ["/bin/sh", "-c"]);
    assert_eq!((image.config.user.as_str(), image.config.stop_signal.as_deref()), ("app", Some("SIGINT")));
    assert!(image.pinned && image.digests[0].starts_with("localhost/test/oci@sha256:"));
    assert_eq!(node.runtime.image(&image.id).await.unwrap().unwrap().id, image.id);
    // Again: everything is there already.
    node.runtime.import(&archives().join("busybox-oci.tar"), no_progress()).await.unwrap();
    assert_eq!(node.runtime.images().await.unwrap().len(), 1);
    let mut spec = node.spec("c", "");
    spec.image.clone_from(&image.digests[0]);
    spec.command.clear();
    spec.args = vec!["cat /etc/layer; pwd; id -G; ls /home | wc -l".into()];
    node.complete(&spec).await;
    // Both layers count, the second one's whiteout too; user and directory come from the image.
    assert_eq!(node.log("c"), ["stdout F second", "stdout F /tmp", "stdout F 1000 50", "stdout F 0"]);
    node.runtime.remove_image(&image.id).await.unwrap();
    assert!(node.runtime.images().await.unwrap().is_empty());
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builtin_image_runs_the_executable_needs_root() {
    let mut node = Node::with(Options { builtin: true, ..Options::default() }).await;
    // Waits for the import that goes on in the background.
    let image = node.runtime.pull("orch.local/whoami", None).await.unwrap();
    assert_eq!(
        (image.config.entrypoint.clone(), image.config.cmd.clone()),
        (vec!["/orch".into()], vec!["whoami".into()])
    );
    assert!(image.pinned);
    let mut spec = node.spec("c", "");
    spec.image = "orch.local/whoami:latest".into();
    // busybox goes by the name it is called: as "busybox" it takes an applet.
    spec.command = vec!["/bin/orch".into()];
    spec.args = vec!["--help".into()];
    node.complete(&spec).await;
    let log = node.log("c").join("\n");
    assert!(log.contains("orch: applet not found"), "{log}");
    node.restart_orch().await;
    assert_eq!(node.runtime.pull("localhost/orch:builtin", None).await.unwrap().id, image.id);
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_archives_are_refused_needs_root() {
    let node = Node::new().await;
    let path = node.dir.path().join("bad.tar");
    std::fs::File::create(&path).unwrap().write_all(b"not a tar at all").unwrap();
    let error = node.runtime.import(&path, no_progress()).await.unwrap_err();
    assert!(matches!(&error, Error::Archive { path: named, .. } if *named == path), "{error}");
    assert!(node.runtime.import("/no/such/file".as_ref(), no_progress()).await.is_err());
    // A layer whose bytes are not what the manifest says.
    let good = std::fs::read(archives().join("busybox-docker.tar")).unwrap();
    let mut broken = good.clone();
    broken[1 << 20] ^= 0xff;
    std::fs::write(&path, broken).unwrap();
    assert!(node.runtime.import(&path, no_progress()).await.is_err());
    assert!(node.runtime.images().await.unwrap().is_empty());
    // The same archive unharmed is fine afterwards, compressed as a whole too.
    let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
    gzip.write_all(&good).unwrap();
    gzip.finish().unwrap();
    assert_eq!(node.runtime.import(&path, no_progress()).await.unwrap(), [BUSYBOX]);
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_from_a_registry_and_words_failures_as_containerd_does_needs_root() {
    let registry = Registry::start(false).await;
    let host = registry.host.clone();
    let node = Node::with(Options { insecure_registries: vec![host.clone()], ..Options::default() }).await;
    make_images(&node.dir.path().join("images"), &[&host]);
    let name = format!("{host}/test/busybox:latest");
    let image = node.runtime.pull(&name, None).await.unwrap();
    assert_eq!(image.tags, std::slice::from_ref(&name));
    assert!(!image.pinned);
    let mut spec = node.spec("c", "echo pulled");
    spec.image = name.clone();
    let mut events = node.runtime.events();
    node.run(&spec).await;
    assert_eq!(exited(&mut events, "c").await, 0);
    // By digest, and again.
    let digest = image.digests[0].clone();
    assert_eq!(node.runtime.pull(&digest, None).await.unwrap().id, image.id);
    assert_eq!(node.runtime.pull(&name, None).await.unwrap().id, image.id);

    let missing = format!("{host}/test/none:v9");
    let error = node.runtime.pull(&missing, None).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert_eq!(
        error.rpc(),
        format!(
            "rpc error: code = NotFound desc = failed to pull and unpack image \"{missing}\": failed to resolve reference \"{missing}\": {missing}: not found"
        )
    );
    let closed = "127.0.0.1:1/none:latest";
    let error = node.runtime.pull(closed, None).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "failed to pull and unpack image \"{closed}\": failed to resolve reference \"{closed}\": failed to do request: \
             Head \"https://127.0.0.1:1/v2/none/manifests/latest\": dial tcp 127.0.0.1:1: connect: connection refused"
        )
    );
    assert!(matches!(node.runtime.pull("Not A Name", None).await, Err(Error::InvalidImageName { .. })));
    node.finish().await;
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_registry_wants_credentials_needs_root() {
    let registry = Registry::start(true).await;
    let host = registry.host.clone();
    let node = Node::with(Options { insecure_registries: vec![host.clone()], ..Options::default() }).await;
    make_images(&node.dir.path().join("images"), &[&format!("tester:secret@{host}")]);
    let name = format!("{host}/test/busybox:latest");
    let error = node.runtime.pull(&name, None).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": pull access denied, \
             repository does not exist or may require authorization: authorization failed: no basic auth credentials"
        )
    );
    let login = |password: &str| Credentials::Basic { username: "tester".into(), password: password.into() };
    let error = node.runtime.pull(&name, Some(&login("wrong"))).await.unwrap_err().to_string();
    assert!(error.contains("pull access denied"), "{error}");
    assert_eq!(node.runtime.pull(&name, Some(&login("secret"))).await.unwrap().tags, [name]);
    node.finish().await;
    registry.stop().await;
}

/// "tester" with the password "secret".
const HTPASSWD: &str = "tester:$2b$04$1Ur84LDHxOJhBSX3R7EzmOXkx6GRniA8ZU7RxhXPUesw7hCM2XiKS\n";

/// Debian's docker-registry on a free loopback port, with its data in a temporary directory.
struct Registry {
    host: String,
    child: tokio::process::Child,
    _dir: tempfile::TempDir,
}

impl Registry {
    async fn start(private: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let config = dir.path().join("config.yml");
        let data = dir.path().join("data");
        let mut text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\n",
            data.display()
        );
        if private {
            let passwords = dir.path().join("htpasswd");
            std::fs::write(&passwords, HTPASSWD).unwrap();
            text += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", passwords.display());
        }
        std::fs::write(&config, text).unwrap();
        let child = tokio::process::Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("docker-registry (Debian package of that name)");
        let listening = async {
            while tokio::net::TcpStream::connect(&host).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), listening).await.expect("docker-registry listens");
        Self { host, child, _dir: dir }
    }

    async fn stop(mut self) {
        self.child.kill().await.unwrap();
    }
}
