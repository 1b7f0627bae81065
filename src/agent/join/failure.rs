//! Why a machine does not join, in words that say what to do; and which of it is worth waiting for.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

use crate::client::pinned::ForeignAuthority;
use crate::keys::KeyError;

/// What waiting does not mend.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("this machine is no node yet: pass --token, made on the server with: orch token create")]
    NoToken,
    #[error("{0}; take the token of the cluster at this address, made there with: orch token create")]
    ForeignAuthority(String),
    #[error("the server did not show its certificate authority")]
    NoAuthority,
    #[error(
        "the server does not accept the token {0:?}: it is unknown, expired or not for authentication; make one with: orch token create"
    )]
    Token(String),
    #[error(
        "the server does not know this node's certificate; was the cluster made anew? Remove {dir} and join again with a token"
    )]
    Unknown { dir: String },
    #[error("the server refused the certificate: {0}")]
    Denied(String),
    #[error("{0}")]
    Refused(String),
    #[error("what the server says of the cluster cannot be used: {0}")]
    Cluster(String),
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Why a certificate was not obtained.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("{0}")]
    Api(#[from] kube::Error),
    #[error("the request was denied: {0}")]
    Denied(String),
    #[error("the request failed: {0}")]
    Failed(String),
    #[error("the request vanished before it was answered")]
    Vanished,
    #[error("the node's names have changed; asking for the new ones")]
    Superseded,
    #[error("a watch of the request ended: {0}")]
    Watch(String),
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl RequestError {
    /// What is to be said while waiting, where waiting may help.
    pub fn at_join(self, token_id: &str) -> Result<String, JoinError> {
        match self {
            Self::Denied(message) | Self::Failed(message) => Err(JoinError::Denied(message)),
            Self::Key(error) => Err(JoinError::Key(error)),
            Self::Api(kube::Error::Api(status)) if status.code == 401 => Err(JoinError::Token(token_id.to_owned())),
            Self::Api(kube::Error::Api(status)) if status.code == 403 => Err(JoinError::Refused(status.message)),
            Self::Api(error) => match foreign(&error) {
                Some(foreign) => Err(JoinError::ForeignAuthority(foreign)),
                None => Ok(unreached(&error)),
            },
            other => Ok(other.to_string()),
        }
    }
}

/// The first cause of a kind that `find` knows, in an error and everything below it.
fn cause<T>(error: &(dyn Error + 'static), find: &impl Fn(&(dyn Error + 'static)) -> Option<T>) -> Option<T> {
    // An io::Error hides the error that it wraps, which may be another one.
    let wrapped = || error.downcast_ref::<io::Error>()?.get_ref().and_then(|inner| cause(inner, find));
    let below = || error.source().and_then(|below| cause(below, find));
    find(error).or_else(wrapped).or_else(below)
}

fn certificate_error(error: &(dyn Error + 'static)) -> Option<CertificateError> {
    cause(error, &|error| match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(why) => Some(why.clone()),
        _ => None,
    })
}

fn foreign(error: &kube::Error) -> Option<String> {
    let CertificateError::Other(other) = certificate_error(error)? else { return None };
    other.0.downcast_ref::<ForeignAuthority>().map(ToString::to_string)
}

/// Why the server is not reached, in words for a person.
pub fn unreached(error: &kube::Error) -> String {
    let clock = || format!("this machine's clock says {}", jiff::Timestamp::now().strftime("%F %T UTC"));
    match certificate_error(error) {
        Some(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            format!("{}, which is before the server's certificate; waiting until it is set", clock())
        }
        Some(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("{}, and the server's certificate has expired by then; waiting until one of them is right", clock())
        }
        Some(why) => format!("the server's certificate is not right: {}", rustls::Error::InvalidCertificate(why)),
        None => {
            let mut last = error.to_string();
            let mut next = error.source();
            while let Some(deeper) = next {
                last = deeper.to_string();
                next = deeper.source();
            }
            last
        }
    }
}

/// Waits longer each time, and says a reason once.
pub struct Retry {
    wait: Duration,
    longest: Duration,
    said: String,
}

impl Retry {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { wait: first, longest, said: String::new() }
    }

    pub async fn wait(&mut self, why: String) {
        if self.said != why {
            tracing::warn!("not joined yet, trying again: {why}");
            self.said = why;
        }
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::OtherError;

    use super::*;

    fn service(error: rustls::Error) -> kube::Error {
        kube::Error::Service(Box::new(io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))))
    }

    fn api(code: u16, message: &str) -> RequestError {
        let status = kube::core::Status { code, message: message.to_owned(), ..Default::default() };
        RequestError::Api(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn what_is_worth_waiting_for() {
        let foreign = ForeignAuthority { shown: vec!["aa".to_owned()], wanted: "bb".to_owned() };
        let foreign = CertificateError::Other(OtherError(Arc::new(foreign)));
        let error = RequestError::Api(service(foreign.into())).at_join("abcdef").unwrap_err();
        assert!(matches!(&error, JoinError::ForeignAuthority(text) if text.contains("bb")), "{error}");
        assert!(matches!(api(401, "Unauthorized").at_join("abcdef"), Err(JoinError::Token(id)) if id == "abcdef"));
        assert!(matches!(api(403, "no").at_join("abcdef"), Err(JoinError::Refused(_))));
        assert!(matches!(RequestError::Denied("taken".to_owned()).at_join(""), Err(JoinError::Denied(_))));
        assert_eq!(api(503, "starting").at_join("").unwrap(), "starting: ");
        let early = RequestError::Api(service(CertificateError::NotValidYet.into())).at_join("").unwrap();
        assert!(early.contains("clock says"), "{early}");
        let gone = RequestError::Api(kube::Error::Service(Box::new(io::Error::other("refused"))));
        assert_eq!(gone.at_join("").unwrap(), "refused");
    }
}
