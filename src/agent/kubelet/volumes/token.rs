//! Service account tokens for projected volumes: asked for with the pod as their bound object and renewed
//! when four fifths of their life or a day are over, as the kubelet documents it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection, Volume};
use kube::{Api, Client};

use super::projection;

#[derive(Debug, thiserror::Error)]
#[error("failed to fetch token: {0}")]
pub struct TokenError(#[from] kube::Error);

struct Token {
    text: String,
    renew_at: Timestamp,
}

/// The tokens of one pod, by volume and path.
pub struct Tokens {
    client: Client,
    held: BTreeMap<(String, String), Token>,
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Tokens {
    pub fn new(client: Client) -> Self {
        Self { client, held: BTreeMap::new() }
    }

    /// Makes sure that every token of the volume is there and not due for renewal. A renewal that fails keeps
    /// the old one while it lasts; without a server also the one that an earlier process wrote into `dir`, the volume.
    pub async fn ensure(&mut self, pod: &Pod, volume: &Volume, dir: &Path) -> Result<(), TokenError> {
        for wanted in projection::tokens(volume) {
            let key = (volume.name.clone(), wanted.path.clone());
            let now = Timestamp::now();
            if self.held.get(&key).is_some_and(|token| token.renew_at > now) {
                continue;
            }
            match self.request(pod, wanted, now).await {
                Ok(token) => {
                    self.held.insert(key, token);
                }
                Err(error) => {
                    let held = self.held.get(&key).map(|token| token.text.clone());
                    let Some(text) = held.or_else(|| written(dir, wanted, &error)) else { return Err(error) };
                    tracing::debug!(%error, "token not renewed, the old one stays for now");
                    self.held.insert(key, Token { text, renew_at: now + SignedDuration::from_mins(1) });
                }
            }
        }
        Ok(())
    }

    /// The texts for a volume, by path.
    pub fn shown(&self, volume: &Volume) -> BTreeMap<String, String> {
        let ours = self.held.iter().filter(|((name, _), _)| *name == volume.name);
        ours.map(|((_, path), token)| (path.clone(), token.text.clone())).collect()
    }

    pub fn next_renewal(&self) -> Option<Timestamp> {
        self.held.values().map(|token| token.renew_at).min()
    }

    async fn request(
        &self,
        pod: &Pod,
        wanted: &ServiceAccountTokenProjection,
        now: Timestamp,
    ) -> Result<Token, TokenError> {
        let spec = pod.spec.as_ref();
        let account = spec.and_then(|spec| spec.service_account_name.as_deref()).filter(|name| !name.is_empty());
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let seconds = wanted.expiration_seconds.unwrap_or(3600);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: wanted
                    .audience
                    .clone()
                    .filter(|audience| !audience.is_empty())
                    .map(|audience| vec![audience]),
                expiration_seconds: Some(seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
            }),
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let answer = accounts.create_token_request(account.unwrap_or("default"), &Default::default(), &request).await?;
        let status = answer.status.unwrap_or_default();
        let expires = status.expiration_timestamp.map_or(now + SignedDuration::from_secs(seconds), |time| time.0);
        Ok(Token { text: status.token.unwrap_or_default(), renew_at: renewal(now, expires) })
    }
}

/// The token that lies in the volume, where `error` is not the server's refusal to give another one.
fn written(dir: &Path, wanted: &ServiceAccountTokenProjection, error: &TokenError) -> Option<String> {
    if matches!(&error.0, kube::Error::Api(status) if (400..500).contains(&status.code)) {
        return None;
    }
    fs::read_to_string(dir.join(&wanted.path)).ok()
}

fn renewal(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.duration_since(now);
    now + (life * 4 / 5).min(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_at_four_fifths_or_after_a_day() {
        let now = Timestamp::UNIX_EPOCH;
        let after = |seconds| renewal(now, now + SignedDuration::from_secs(seconds)).as_second();
        assert_eq!(after(1000), 800);
        assert_eq!(after(365 * 86400), 86400);
    }

    #[test]
    fn a_token_outlives_a_server_that_is_away_but_not_its_refusal() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("token"), "old").unwrap();
        let wanted = ServiceAccountTokenProjection { path: "token".to_owned(), ..Default::default() };
        let refused = |code| {
            let status = kube::core::Status { code, ..kube::core::Status::default() };
            TokenError(kube::Error::Api(Box::new(status)))
        };
        let away = TokenError(kube::Error::LinesCodecMaxLineLengthExceeded);
        assert_eq!(written(dir.path(), &wanted, &away).as_deref(), Some("old"));
        assert_eq!(written(dir.path(), &wanted, &refused(503)).as_deref(), Some("old"));
        assert_eq!(written(dir.path(), &wanted, &refused(404)), None);
    }
}
