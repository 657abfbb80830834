//! The result of a check.

use serde::Serialize;

use crate::plain;

/// Its severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warning,
    Failure,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub level: Level,
    pub text: String,
    /// The command that fixes the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Ok,
            text: shown(text),
            fix: None,
        }
    }

    pub(super) fn bad(
        check: &'static str,
        level: Level,
        text: impl Into<String>,
        fix: &str,
    ) -> Self {
        Self {
            check,
            level,
            text: shown(text),
            fix: Some(fix.to_owned()),
        }
    }
}

/// Removes passwords, which settings may contain.
fn shown(text: impl Into<String>) -> String {
    plain::redacted(&text.into()).into_owned()
}
