//! The content of a message: a text, or blocks of several kinds.
//!
//! Each level has its own type, so that a request cannot nest blocks without end.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::chat::{Image, null_is_default};
use crate::json::BASE64;

/// The content of a message, of a block in it, or of a document.
#[derive(Debug, Clone, Default, PartialEq, ToSchema)]
#[serde(untagged)]
#[schema(as = anthropic::Content)]
pub enum Content<B> {
    #[default]
    Absent,
    Text(String),
    Blocks(Vec<B>),
}

/// A block of a message, with the fields of all kinds; each kind uses some of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = anthropic::Block)]
pub struct Block {
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    /// `text`
    #[serde(deserialize_with = "null_is_default")]
    pub text: String,
    /// `thinking`
    #[serde(deserialize_with = "null_is_default")]
    pub thinking: String,
    #[serde(deserialize_with = "null_is_default")]
    pub signature: String,
    /// `tool_use`
    #[serde(deserialize_with = "null_is_default")]
    pub id: String,
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    #[serde(deserialize_with = "null_is_default")]
    pub input: Map<String, Value>,
    /// `tool_result`
    #[serde(deserialize_with = "null_is_default")]
    pub tool_use_id: String,
    /// Also of a `search_result`.
    #[schema(default)]
    pub content: Content<Part>,
    #[serde(deserialize_with = "null_is_default")]
    pub is_error: bool,
    /// `image`, `document` and `search_result`
    #[schema(default)]
    pub source: Option<Source>,
    #[serde(deserialize_with = "null_is_default")]
    pub title: String,
    #[serde(deserialize_with = "null_is_default")]
    pub context: String,
}

/// A block in a tool's result.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = anthropic::Part)]
pub struct Part {
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    #[serde(deserialize_with = "null_is_default")]
    pub text: String,
    /// `tool_reference`
    #[serde(deserialize_with = "null_is_default")]
    pub tool_name: String,
    /// `image`, `document` and `search_result`
    #[schema(default)]
    pub source: Option<Source>,
    #[serde(deserialize_with = "null_is_default")]
    pub title: String,
    #[serde(deserialize_with = "null_is_default")]
    pub context: String,
    /// `search_result`
    #[schema(default)]
    pub content: Content<TextBlock>,
    /// `web_search_result`
    #[serde(deserialize_with = "null_is_default")]
    pub url: String,
}

/// A text in a document or a search result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(default)]
pub struct TextBlock {
    #[serde(deserialize_with = "null_is_default")]
    pub text: String,
}

/// The source of an image's or document's bytes. For a search result it is an address, as a string.
#[derive(Debug, Clone, Default, PartialEq, ToSchema)]
pub struct Source {
    /// `base64`, `text`, `content`, `url` or `file`.
    #[schema(rename = "type")]
    pub kind: String,
    #[schema(required = false)]
    pub media_type: String,
    /// `base64`: the file; `text`: the document's text.
    #[schema(value_type = Option<String>)]
    pub data: SourceData,
    /// `content`: the document's text.
    #[schema(required = false)]
    pub content: Content<TextBlock>,
    /// The address of a search result.
    #[schema(ignore)]
    pub address: String,
}

/// `data` of a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum SourceData {
    #[default]
    Absent,
    /// The text, if the source is a `text`.
    Text(String),
    File(Image),
    /// Invalid base64, with the reason.
    Bad(String),
}

impl<'de, B: Deserialize<'de>> Deserialize<'de> for Content<B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor(PhantomData))
    }
}

struct ContentVisitor<B>(PhantomData<B>);

impl<'de, B: Deserialize<'de>> Visitor<'de> for ContentVisitor<B> {
    type Value = Content<B>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text or a list of blocks")
    }

    fn visit_unit<E>(self) -> Result<Content<B>, E> {
        Ok(Content::Absent)
    }

    fn visit_str<E>(self, text: &str) -> Result<Content<B>, E> {
        Ok(Content::Text(text.to_owned()))
    }

    /// Results of Anthropic's own tools have an object here, which is ignored.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content<B>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Content::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content<B>, A::Error> {
        let mut blocks = Vec::new();
        while let Some(block) = list.next_element()? {
            blocks.push(block);
        }
        Ok(Content::Blocks(blocks))
    }
}

/// Written by hand, since only `type` tells whether `data` is base64, which is decoded without a copy.
impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

struct SourceVisitor;

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = Source;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the source of a file")
    }

    fn visit_str<E>(self, address: &str) -> Result<Source, E> {
        Ok(Source {
            address: address.to_owned(),
            ..Source::default()
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Source, A::Error> {
        let mut source = Source::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "type" => source.kind = map.next_value()?,
                "media_type" => source.media_type = map.next_value()?,
                "content" => source.content = map.next_value()?,
                "data" if source.kind == "text" => {
                    source.data = SourceData::Text(map.next_value()?);
                }
                "data" => source.data = map.next_value_seed(FileData)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(source)
    }
}

struct FileData;

impl<'de> DeserializeSeed<'de> for FileData {
    type Value = SourceData;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<SourceData, D::Error> {
        deserializer.deserialize_newtype_struct(BASE64, self)
    }
}

impl<'de> Visitor<'de> for FileData {
    type Value = SourceData;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a base64 text")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, text: D) -> Result<SourceData, D::Error> {
        text.deserialize_str(self)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SourceData, E> {
        Ok(Image::from_base64(text).map_or_else(SourceData::Bad, SourceData::File))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn block(value: Value) -> Block {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn content_is_a_text_or_blocks() {
        let read = |value: Value| serde_json::from_value::<Content<Block>>(value);
        assert_eq!(read(json!("a")).unwrap(), Content::Text("a".to_owned()));
        assert_eq!(read(json!(null)).unwrap(), Content::Absent);
        let Content::Blocks(blocks) = read(json!([
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}, "citations": null},
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "b"}]},
            {"type": "server_tool_use", "input": null, "caller": {"type": "direct"}},
        ]))
        .unwrap() else {
            panic!("blocks")
        };
        assert_eq!(blocks[0].text, "a");
        let Content::Blocks(inner) = &blocks[1].content else {
            panic!("blocks")
        };
        assert_eq!(inner[0].text, "b");
        assert!(read(json!(1)).is_err());
        assert!(read(json!(["a"])).is_err());
    }

    #[test]
    fn only_the_data_of_a_text_is_text() {
        let source = |value: Value| block(json!({"source": value})).source.unwrap().data;
        let text = source(json!({"type": "text", "media_type": "text/plain", "data": "aGk="}));
        assert_eq!(text, SourceData::Text("aGk=".to_owned()));
        let file = source(json!({"type": "base64", "media_type": "image/png", "data": "aGk="}));
        assert_eq!(file, SourceData::File(Image("hi".into())));
        let bad = source(json!({"type": "base64", "data": "?"}));
        assert!(matches!(bad, SourceData::Bad(_)));
        let url = source(json!({"type": "url", "url": "https://example.com/a.png"}));
        assert_eq!(url, SourceData::Absent);
        let found = block(json!({"type": "search_result", "source": "https://example.com"}));
        assert_eq!(found.source.unwrap().address, "https://example.com");
    }
}
