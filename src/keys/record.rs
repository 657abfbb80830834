//! The record of a key: name, scopes, models, limits.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::secret::{self, Hash, Secret};

/// How many digits of the hash identify a key in the client of its requests.
const ID_DIGITS: usize = 16;

const MAX_NAME: usize = 64;
const MAX_MODELS: usize = 100;
const MAX_PATTERN: usize = 300;

/// What a key may be used for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Using models: chats, embeddings, batch jobs, and listing models.
    Inference,
    /// Changing models: pull, push, create, copy, delete.
    Models,
    /// Monitoring: `/metrics`, and what is running.
    Metrics,
    /// Keys, and everything else.
    Admin,
}

impl Scope {
    pub const ALL: [Self; 4] = [Self::Inference, Self::Models, Self::Metrics, Self::Admin];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Models => "models",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        known.ok_or_else(|| {
            format!("`{text}` is no scope; there are inference, models, metrics and admin")
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Whether it has a scope; `admin` includes the others.
    pub fn have(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut scopes: Vec<_> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|scope| scope.as_str()).collect();
        formatter.write_str(&names.join(","))
    }
}

/// The scheduling class of a key's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A person waits for the answer.
    #[default]
    Interactive,
    /// Requests yield to interactive ones, like batch jobs.
    Background,
}

impl FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "interactive" => Ok(Self::Interactive),
            "background" => Ok(Self::Background),
            _ => Err(format!(
                "`{text}` is no class; there are interactive and background"
            )),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Interactive => "interactive",
            Self::Background => "background",
        })
    }
}

/// The limits of a key; `None` = no limit of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Concurrent requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// Tokens of prompts and answers within a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u32>,
    /// Requests that may wait while the limit of concurrent requests is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
}

impl Limits {
    /// Whether there are no limits.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads `requests=4,tokens=60000,queue=20`.
impl FromStr for Limits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut limits = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let slot = match name.trim() {
                "requests" => &mut limits.requests,
                "tokens" => &mut limits.tokens,
                "queue" => &mut limits.queue,
                other => {
                    return Err(format!(
                        "`{other}` is no limit; there are requests=N (at once), tokens=N (per minute) and queue=N (waiting)"
                    ));
                }
            };
            let number = value.trim().parse();
            *slot = Some(number.map_err(|_| format!("`{part}` needs a number: {name}=10"))?);
        }
        limits.checked()
    }
}

impl Limits {
    fn checked(self) -> Result<Self, String> {
        if self.requests == Some(0) || self.tokens == Some(0) {
            return Err("a key that may do nothing is not made: revoke it".to_owned());
        }
        if self.queue.is_some() && self.requests.is_none() {
            return Err(
                "queue=N needs requests=N: without it nothing waits for the key".to_owned(),
            );
        }
        Ok(self)
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = [
            ("requests", self.requests),
            ("tokens", self.tokens),
            ("queue", self.queue),
        ];
        let values = values
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let values: Vec<_> = values
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        formatter.write_str(&values.join(","))
    }
}

/// A key as stored in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    /// SHA-256 of the key, in hexadecimal digits.
    pub hash: Hash,
    pub scopes: Scopes,
    /// Patterns of names; empty = all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    #[serde(default)]
    pub class: Class,
    pub created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl Record {
    /// Identifies the key where its name must not appear.
    pub fn id(&self) -> &str {
        self.hash.get(..ID_DIGITS).unwrap_or(&self.hash)
    }

    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Checks a record, which may have been written by hand.
    pub(super) fn check(&self) -> Result<(), String> {
        let is_hash = self.hash.len() == 64 && self.hash.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_hash || self.hash.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(format!("the hash of `{}` is no SHA-256", self.name));
        }
        check_name(&self.name)?;
        check_models(&self.models)?;
        self.limits.checked().map(drop)
    }
}

/// The properties of a key to make.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    pub name: String,
    /// Empty = inference.
    pub scopes: Scopes,
    pub models: Vec<String>,
    pub limits: Limits,
    pub class: Class,
    pub expires: Option<Timestamp>,
}

impl Wish {
    pub(super) fn into_record(self, secret: &Secret, now: Timestamp) -> Result<Record, String> {
        let scopes = if self.scopes.is_empty() {
            [Scope::Inference].into_iter().collect()
        } else {
            self.scopes
        };
        let record = Record {
            name: self.name,
            hash: secret::hash(secret.reveal()),
            scopes,
            models: self.models,
            limits: self.limits,
            class: self.class,
            created: now,
            expires: self.expires,
        };
        record.check()?;
        if record.has_expired(now) {
            return Err("the key would have expired already".to_owned());
        }
        Ok(record)
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if name.len() > MAX_NAME || !starts_well || !name.chars().all(is_plain) {
        return Err(format!(
            "a key's name has up to {MAX_NAME} letters, digits and -_.@, and begins with a letter or digit"
        ));
    }
    Ok(())
}

fn check_models(models: &[String]) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/*".contains(c);
    let is_good = |pattern: &String| {
        (1..=MAX_PATTERN).contains(&pattern.len()) && pattern.chars().all(is_plain)
    };
    if models.len() > MAX_MODELS {
        return Err(format!("a key has up to {MAX_MODELS} names of models"));
    }
    match models.iter().find(|pattern| !is_good(pattern)) {
        Some(pattern) => Err(format!(
            "`{pattern}` is no name of a model such as llama3.2, llama3.2:* or team/*"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_includes_the_rest() {
        let scopes = |scopes: &[Scope]| scopes.iter().copied().collect::<Scopes>();
        for scope in Scope::ALL {
            assert!(scopes(&[Scope::Admin]).have(scope));
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        let inference = scopes(&[Scope::Inference]);
        assert!(inference.have(Scope::Inference) && !inference.have(Scope::Models));
        assert!(!scopes(&[]).have(Scope::Inference));
        assert!("root".parse::<Scope>().is_err());
        let both = scopes(&[Scope::Models, Scope::Inference, Scope::Models]);
        assert_eq!(both.to_string(), "inference,models");
    }

    #[test]
    fn limits_are_read_as_they_are_shown() {
        let limits: Limits = "requests=4, tokens=60000,queue=20".parse().unwrap();
        assert_eq!(
            (limits.requests, limits.tokens, limits.queue),
            (Some(4), Some(60_000), Some(20))
        );
        assert_eq!(limits.to_string().parse(), Ok(limits));
        assert_eq!("".parse(), Ok(Limits::default()));
        for text in [
            "requests",
            "requests=x",
            "requests=-1",
            "requests=0",
            "tokens=0",
            "queue=1",
            "speed=1",
        ] {
            assert!(text.parse::<Limits>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_plain() {
        for name in ["a", "open-webui", "jo@example.com", "a_1.b"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "-a", "a b", "a/b", "é", &"x".repeat(65), "a\n"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_models(&["a b".to_owned()]).is_err());
        assert!(check_models(&["team/*".to_owned()]).is_ok());
    }
}
