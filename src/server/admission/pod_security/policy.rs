//! What a namespace's labels ask for: a level and a version for each of enforce, audit and warn. Pure.

use std::collections::BTreeMap;
use std::fmt;

use crate::api::field::{Error, Errors, Path};

/// From the least strict to the strictest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    Privileged,
    Baseline,
    Restricted,
}

/// A minor version of Kubernetes 1; the newest is greater than all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Minor(u32),
    Latest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standard {
    pub level: Level,
    pub version: Version,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub enforce: Standard,
    pub audit: Standard,
    pub warn: Standard,
}

impl Default for Standard {
    fn default() -> Self {
        Self { level: Level::Privileged, version: Version::Latest }
    }
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.level.as_str())?;
        match self.version {
            Version::Latest => f.write_str(":latest"),
            Version::Minor(minor) => write!(f, ":v1.{minor}"),
        }
    }
}

fn level(text: &str) -> Option<Level> {
    match text {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    }
}

fn version(text: &str) -> Option<Version> {
    if text == "latest" {
        return Some(Version::Latest);
    }
    let minor = text.strip_prefix("v1.")?;
    let plain = minor.bytes().all(|byte| byte.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0'));
    minor.parse().ok().filter(|_| plain).map(Version::Minor)
}

impl Policy {
    pub fn is_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|standard| standard.level == Level::Privileged)
    }

    /// A policy always comes out: labels that cannot be read are the strictest for enforcing and let
    /// everything pass for the rest.
    pub fn of(labels: Option<&BTreeMap<String, String>>) -> (Self, Errors) {
        let mut policy = Self::default();
        let mut errors = Errors::new();
        let modes = [
            ("enforce", &mut policy.enforce, Level::Restricted),
            ("audit", &mut policy.audit, Level::Privileged),
            ("warn", &mut policy.warn, Level::Privileged),
        ];
        for (mode, standard, otherwise) in modes {
            let read = |suffix: &str| {
                let key = format!("pod-security.kubernetes.io/{mode}{suffix}");
                labels.and_then(|labels| labels.get(&key)).map(|value| (key, value.as_str()))
            };
            if let Some((key, value)) = read("") {
                standard.level = level(value).unwrap_or_else(|| {
                    let path = Path::new("metadata").child("labels").key(&key);
                    errors.push(Error::invalid(&path, value, "must be one of privileged, baseline, restricted"));
                    otherwise
                });
            }
            if let Some((key, value)) = read("-version") {
                standard.version = version(value).unwrap_or_else(|| {
                    let path = Path::new("metadata").child("labels").key(&key);
                    errors.push(Error::invalid(&path, value, "must be \"latest\" or \"v1.x\""));
                    Version::Latest
                });
            }
        }
        policy.warn_as_enforced(labels);
        (policy, errors)
    }

    /// Who is only told what to enforce is warned of that too, unless told how to warn.
    fn warn_as_enforced(&mut self, labels: Option<&BTreeMap<String, String>>) {
        let label = |name: &str| labels.and_then(|labels| labels.get(&format!("pod-security.kubernetes.io/{name}")));
        let has = |name: &str| label(name).is_some();
        let told = label("enforce").is_some_and(|value| level(value).is_some());
        if told && !has("warn") && self.enforce.level > self.warn.level {
            self.warn.level = self.enforce.level;
            if !has("warn-version") {
                self.warn.version = self.enforce.version;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[(&str, &str)]) -> (String, Vec<String>) {
        let key = |name: &str| format!("pod-security.kubernetes.io/{name}");
        let labels = labels.iter().map(|(name, value)| (key(name), (*value).to_owned())).collect();
        let (policy, errors) = Policy::of(Some(&labels));
        let shown = format!("{} {} {}", policy.enforce, policy.audit, policy.warn);
        (shown, errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn labels_are_read() {
        assert!(Policy::of(None).0.is_privileged());
        let (shown, errors) = of(&[("enforce", "baseline"), ("enforce-version", "v1.30"), ("warn", "restricted")]);
        assert_eq!((shown.as_str(), errors.len()), ("baseline:v1.30 privileged:latest restricted:latest", 0));
        let (shown, _) = of(&[("enforce", "baseline"), ("enforce-version", "v1.30")]);
        assert_eq!(shown, "baseline:v1.30 privileged:latest baseline:v1.30");
        let (shown, errors) = of(&[("enforce", "x"), ("audit", "x"), ("warn-version", "v1.01")]);
        assert_eq!(shown, "restricted:latest privileged:latest privileged:latest");
        assert_eq!(
            errors[0],
            "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"x\": must be one of privileged, baseline, restricted"
        );
        assert_eq!(
            errors[2],
            "metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"v1.01\": must be \"latest\" or \"v1.x\""
        );
    }
}
