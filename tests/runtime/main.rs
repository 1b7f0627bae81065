//! The runtime against the real containerd, runc and kernel. Needs root, containerd, runc and
//! busybox-static, and fails (never skips) without them. Each test has its own containerd, so that nothing is shared.

mod adopt;
mod images;
mod life;
mod streams;
mod support;
