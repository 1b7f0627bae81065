//! Why a runtime verb failed, in the words upstream's kubelet and CRI use, because people read them in
//! `kubectl describe`. Never decides about retries: the kubelet does, from [`Code`].

use std::path::PathBuf;

/// The gRPC code that a CRI runtime would give, which the kubelet prints (`rpc error: code = NotFound …`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    NotFound,
    AlreadyExists,
    InvalidArgument,
    DeadlineExceeded,
    PermissionDenied,
    FailedPrecondition,
    Unavailable,
    Unknown,
}

impl Code {
    pub fn name(self) -> &'static str {
        match self {
            Code::NotFound => "NotFound",
            Code::AlreadyExists => "AlreadyExists",
            Code::InvalidArgument => "InvalidArgument",
            Code::DeadlineExceeded => "DeadlineExceeded",
            Code::PermissionDenied => "PermissionDenied",
            Code::FailedPrecondition => "FailedPrecondition",
            Code::Unavailable => "Unavailable",
            Code::Unknown => "Unknown",
        }
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The reference is not an image name at all: the kubelet's `InvalidImageName`.
    #[error("couldn't parse image name \"{reference}\": invalid reference format{detail}")]
    InvalidImageName { reference: String, detail: String },
    /// `message` names the image and the step, as containerd's CRI words it.
    #[error("{message}")]
    Pull { code: Code, message: String },
    #[error("{}: {message}", path.display())]
    Archive { path: PathBuf, message: String },
    #[error("image \"{reference}\": not found")]
    ImageNotFound { reference: String },
    #[error("container \"{id}\": not found")]
    ContainerNotFound { id: String },
    #[error("container \"{id}\" is not running")]
    NotRunning { id: String },
    /// The container's process could not be made; runc's own words at the end.
    #[error("failed to create containerd task: {message}")]
    Start { message: String },
    /// A named user or group that the image's /etc/passwd or /etc/group does not have, and the like.
    #[error("{message}")]
    Spec { message: String },
    #[error("failed to exec in container: {message}")]
    Exec { message: String },
    #[error("timeout {timeout:?} exceeded: context deadline exceeded")]
    ExecTimeout { timeout: std::time::Duration },
    /// The runtime does not answer; it will be tried again.
    #[error("container runtime is down: {message}")]
    Unavailable { message: String },
    /// The runtime answered with an error that has no better name here.
    #[error("{operation}: {message}")]
    Runtime { code: Code, operation: &'static str, message: String },
    #[error("{}: {message}", path.display())]
    Io { path: PathBuf, message: String },
}

impl Error {
    pub fn code(&self) -> Code {
        match self {
            Error::InvalidImageName { .. } | Error::Spec { .. } => Code::InvalidArgument,
            Error::Pull { code, .. } | Error::Runtime { code, .. } => *code,
            Error::ImageNotFound { .. } | Error::ContainerNotFound { .. } => Code::NotFound,
            Error::NotRunning { .. } => Code::FailedPrecondition,
            Error::ExecTimeout { .. } => Code::DeadlineExceeded,
            Error::Unavailable { .. } => Code::Unavailable,
            Error::Archive { .. } | Error::Start { .. } | Error::Exec { .. } | Error::Io { .. } => Code::Unknown,
        }
    }

    /// The message as the kubelet prints a CRI failure: `rpc error: code = NotFound desc = …`.
    pub fn rpc(&self) -> String {
        format!("rpc error: code = {} desc = {self}", self.code().name())
    }

    pub fn io(path: impl Into<PathBuf>, error: impl std::fmt::Display) -> Self {
        Error::Io { path: path.into(), message: error.to_string() }
    }
}
