//! `orch token`: the tokens by which machines join. Each is a bootstrap token as kubeadm makes them, kept in the
//! cluster; run it where the server's kubeconfig is.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::config::Kubeconfig;
use sha2::{Digest as _, Sha256};

use super::config::HostArgs;
use super::kubectl;
use crate::api::bootstrap_token::{self, NAMESPACE, SECRET_TYPE, Token, TokenSecret, Usage};
use crate::api::duration;
use crate::api::hex::hex;

/// The group whose members may ask for a node's certificates (see `manifests/bootstrap-tokens.yaml`).
const NODE_GROUP: &str = "system:bootstrappers:orch:default-node-token";

#[derive(Args)]
pub struct TokenArgs {
    #[command(flatten)]
    host: HostArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a token and print it as `orch agent --token` wants it.
    Create(CreateArgs),
    /// List the tokens with their ends and uses; the secret half is shown only to those who may read Secrets.
    List,
    /// Make tokens useless, named by their ids or in full.
    Delete {
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
    },
}

#[derive(Args)]
struct CreateArgs {
    /// Use this token, `<6 letters or digits>.<16 letters or digits>`, instead of a random one.
    token: Option<String>,
    /// Let the token expire after so long, such as 30m or 24h; 0 for never.
    #[arg(long, default_value = "24h", value_name = "DURATION", value_parser = ttl)]
    ttl: Duration,
    /// What the token is good for: signing, authentication.
    #[arg(long, default_value = "signing,authentication", value_delimiter = ',', value_name = "USAGE,…", value_parser = usage)]
    usages: Vec<Usage>,
    /// Put who joins with it into these groups, which begin with system:bootstrappers:.
    #[arg(long, default_value = NODE_GROUP, value_delimiter = ',', value_name = "GROUP,…", value_parser = group)]
    groups: Vec<String>,
    /// Say for whom or what the token is.
    #[arg(long, default_value = "", value_name = "TEXT")]
    description: String,
}

fn ttl(text: &str) -> Result<Duration, String> {
    duration::parse_go(text).ok_or_else(|| "must be a duration such as 30m or 24h, or 0".to_owned())
}

fn usage(text: &str) -> Result<Usage, String> {
    let known = Usage::ALL.into_iter().find(|usage| usage.as_str() == text);
    known.ok_or_else(|| format!("{text:?} is no usage; use signing or authentication"))
}

fn group(text: &str) -> Result<String, String> {
    match bootstrap_token::is_group(text) {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("{text:?} must be system:bootstrappers: and lower-case letters, digits, colons or dashes"))
        }
    }
}

pub fn run(args: &TokenArgs) -> anyhow::Result<()> {
    // One provider for the whole process; a second call can only mean that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(act(args))
}

async fn act(args: &TokenArgs) -> anyhow::Result<()> {
    let path = &args.host.write_kubeconfig;
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {}; run this where the server runs", path.display()))?;
    let client = crate::client::from_kubeconfig(&text).await?;
    let secrets: Api<Secret> = Api::namespaced(client, NAMESPACE);
    let ca = ca_sha256(&text).with_context(|| format!("{} names no CA", path.display()))?;
    match &args.action {
        Action::Create(wanted) => {
            let token = new_secret(wanted, Timestamp::now())?;
            let created = secrets.create(&PostParams::default(), &token.to_secret()).await;
            created.map_err(|error| match error {
                kube::Error::Api(status) if status.code == 409 => {
                    anyhow!("a token with id {:?} already exists", token.token.id)
                }
                other => kubectl::worded(other),
            })?;
            println!("{}", token.token.with_ca(&ca));
        }
        Action::List => {
            let fields = ListParams::default().fields(&format!("type={SECRET_TYPE}"));
            let found = secrets.list(&fields).await.map_err(kubectl::worded)?;
            let tokens: Vec<_> = found.iter().filter_map(TokenSecret::read).collect();
            print!("{}", kubectl::align(&table(&tokens, &ca, Timestamp::now())));
        }
        Action::Delete { tokens } => {
            for token in tokens {
                let id = id_of(token)?;
                let name = bootstrap_token::secret_name(&id);
                secrets.delete(&name, &DeleteParams::default()).await.map_err(kubectl::worded)?;
                println!("bootstrap token {id:?} deleted");
            }
        }
    }
    Ok(())
}

/// The hash of the CA's certificate (DER) in a kubeconfig.
fn ca_sha256(kubeconfig: &str) -> Option<String> {
    let config = Kubeconfig::from_yaml(kubeconfig).ok()?;
    let cluster = config.clusters.into_iter().find_map(|named| named.cluster)?;
    let pem = STANDARD.decode(cluster.certificate_authority_data?).ok()?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
    Some(hex(&Sha256::digest(&pem.contents)))
}

fn new_secret(wanted: &CreateArgs, now: Timestamp) -> anyhow::Result<TokenSecret> {
    let token = match &wanted.token {
        Some(text) => Token::parse(text).with_context(|| {
            format!("the bootstrap token {text:?} was not of the form [a-z0-9]{{6}}.[a-z0-9]{{16}}")
        })?,
        None => Token { id: random_word(6)?, secret: random_word(16)? },
    };
    if !wanted.usages.contains(&Usage::Authentication) && wanted.groups != [NODE_GROUP] {
        bail!("token groups cannot be specified unless --usages includes \"authentication\"");
    }
    let expiration = match wanted.ttl.is_zero() {
        true => String::new(),
        false => {
            let end = now.checked_add(jiff::SignedDuration::try_from(wanted.ttl)?).context("--ttl is too long")?;
            Timestamp::from_second(end.as_second())?.to_string()
        }
    };
    let authenticates = wanted.usages.contains(&Usage::Authentication);
    Ok(TokenSecret {
        token,
        description: wanted.description.clone(),
        expiration,
        usages: wanted.usages.clone(),
        groups: if authenticates { wanted.groups.join(",") } else { String::new() },
    })
}

/// Letters and digits in kubeadm's alphabet, every one as likely as the others.
fn random_word(length: usize) -> anyhow::Result<String> {
    const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut word = String::with_capacity(length);
    while word.len() < length {
        let mut random = [0u8; 32];
        getrandom::fill(&mut random).map_err(|error| anyhow!("the kernel gives no random bytes: {error}"))?;
        // 252 is the last multiple of 36 that a byte holds.
        let fair = random.iter().filter(|byte| **byte < 252).take(length - word.len());
        word.extend(fair.map(|byte| char::from(ALPHABET[usize::from(byte % 36)])));
    }
    Ok(word)
}

fn id_of(text: &str) -> anyhow::Result<String> {
    let bare = text.rsplit_once("::").map_or(text, |(_, token)| token);
    match Token::parse(bare) {
        Some(token) => Ok(token.id),
        None if bootstrap_token::is_id(bare) => Ok(bare.to_owned()),
        None => bail!("given token {text:?} does not match the id or the form of a token"),
    }
}

fn table(tokens: &[TokenSecret], ca: &str, now: Timestamp) -> Vec<Vec<String>> {
    let or_none = |text: &str| if text.is_empty() { "<none>".to_owned() } else { text.to_owned() };
    let mut lines =
        vec![["TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"].map(str::to_owned).to_vec()];
    lines.extend(tokens.iter().map(|kept| {
        let (ttl, expires) = match kept.expires() {
            None => ("<forever>".to_owned(), "<never>".to_owned()),
            Some(at) if kept.is_expired(now) && at == Timestamp::MIN => {
                ("<invalid>".to_owned(), kept.expiration.clone())
            }
            Some(_) if kept.is_expired(now) => ("<expired>".to_owned(), kept.expiration.clone()),
            Some(at) => {
                let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
                (duration::human(left), kept.expiration.clone())
            }
        };
        let usages: Vec<_> = kept.usages.iter().map(|usage| usage.as_str()).collect();
        let (usages, groups) = (or_none(&usages.join(",")), or_none(&kept.groups));
        vec![kept.token.with_ca(ca), ttl, expires, usages, or_none(&kept.description), groups]
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create() -> CreateArgs {
        CreateArgs {
            token: None,
            ttl: Duration::from_secs(3600),
            usages: Usage::ALL.to_vec(),
            groups: vec![NODE_GROUP.to_owned()],
            description: "for tests".to_owned(),
        }
    }

    #[test]
    fn tokens_are_made_as_asked() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let made = new_secret(&create(), now).unwrap();
        assert_eq!(made.expiration, "2026-01-01T01:00:00Z");
        assert_eq!(Token::parse(&made.token.to_string()), Some(made.token.clone()));
        assert_ne!(made.token, new_secret(&create(), now).unwrap().token);
        let forever = new_secret(&CreateArgs { ttl: Duration::ZERO, ..create() }, now).unwrap();
        assert_eq!(forever.expires(), None);
        let named = CreateArgs { token: Some("abcdef.0123456789abcdef".to_owned()), ..create() };
        assert_eq!(new_secret(&named, now).unwrap().token.id, "abcdef");
        assert!(new_secret(&CreateArgs { token: Some("short".to_owned()), ..create() }, now).is_err());
        let signing = CreateArgs { usages: vec![Usage::Signing], ..create() };
        assert_eq!(new_secret(&signing, now).unwrap().groups, "");
        let grouped = CreateArgs { groups: vec!["system:bootstrappers:x".to_owned()], ..signing };
        assert!(new_secret(&grouped, now).is_err());
    }

    #[test]
    fn tokens_are_shown_and_named() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut made = new_secret(&CreateArgs { token: Some("abcdef.0123456789abcdef".to_owned()), ..create() }, now);
        let made = made.as_mut().unwrap();
        let line = table(std::slice::from_ref(made), "ff", now).remove(1);
        assert_eq!(
            line[..4],
            ["K10ff::abcdef.0123456789abcdef", "60m", "2026-01-01T01:00:00Z", "authentication,signing"]
        );
        for text in ["abcdef", "abcdef.0123456789abcdef", &line[0]] {
            assert_eq!(id_of(text).unwrap(), "abcdef");
        }
        assert!(id_of("nonsense").is_err());
        made.expiration = String::new();
        assert_eq!(table(std::slice::from_ref(made), "ff", now)[1][1], "<forever>");
    }
}
