//! `/api/create`, `/api/copy`, `/api/delete`, `/api/version`, progress and errors.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::chat::{Message, null_is_default};

/// The only error format of the native routes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ErrorBody {
    pub error: String,
}

/// Answer of `GET /api/version`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct VersionResponse {
    pub version: String,
}

/// Body of `DELETE /api/delete` (and of pull and push).
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ModelRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// Deprecated alias of `model`.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
}

/// Body of `POST /api/pull` and `POST /api/push`. The user name and password that old clients send are ignored.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TransferRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// Deprecated alias of `model`.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// Use plain HTTP.
    #[serde(deserialize_with = "null_is_default")]
    pub insecure: bool,
    /// `None` = true.
    pub stream: Option<bool>,
}

/// Body of `POST /api/copy`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CopyRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub source: String,
    #[serde(deserialize_with = "null_is_default")]
    pub destination: String,
}

/// One line of progress.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Progress {
    pub status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<u64>,
}

/// A text or a list of texts (`license`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum StringOrList {
    One(String),
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for StringOrList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = StringOrList;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text or a list of texts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<StringOrList, E> {
        Ok(StringOrList::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<StringOrList, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element()? {
            texts.push(text);
        }
        Ok(StringOrList::Many(texts))
    }
}

/// Body of `POST /api/create`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CreateRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// Deprecated alias of `model`.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub name: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub from: String,
    /// Relative path → digest of an uploaded blob.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub files: BTreeMap<String, String>,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub adapters: BTreeMap<String, String>,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub draft_files: BTreeMap<String, String>,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub template: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub system: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<StringOrList>,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Map::is_empty"
    )]
    pub parameters: Map<String, Value>,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub messages: Vec<Message>,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub quantize: String,
    /// Deprecated alias of `quantize`.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub quantization: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub draft_quantize: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub renderer: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub parser: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub requires: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Map::is_empty"
    )]
    pub info: Map<String, Value>,
    /// `None` = true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
}
