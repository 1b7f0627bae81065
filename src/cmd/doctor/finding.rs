//! One thing that was looked at: how it is, and what to do about it.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    Ok,
    Warn,
    Fail,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    pub check: &'static str,
    pub message: String,
    /// What a person types or does to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    pub fn is_failure(&self) -> bool {
        self.level == Level::Fail
    }

    /// What is wrong and what to do, in one line.
    pub fn sentence(&self) -> String {
        match &self.fix {
            Some(fix) => format!("{}; {fix}", self.message),
            None => self.message.clone(),
        }
    }

    pub fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, message: message.into(), fix: None }
    }

    pub fn warn(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warn, check, message: message.into(), fix: Some(fix.into()) }
    }

    pub fn fail(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Fail, check, message: message.into(), fix: Some(fix.into()) }
    }
}

/// In tests: `LEVEL message | fix`.
#[cfg(test)]
pub fn in_words(findings: &[Finding]) -> Vec<String> {
    let fix = |finding: &Finding| finding.fix.as_ref().map(|fix| format!(" | {fix}")).unwrap_or_default();
    findings.iter().map(|one| format!("{} {}{}", one.level.as_str(), one.message, fix(one))).collect()
}
