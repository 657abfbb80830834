//! The content of a message: a text, or parts of several kinds.
//!
//! Decoding never fails, so that the dialect can report errors in its own words. Files are decoded from the body
//! without a copy, since they are most of it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::chat::Image;
use crate::json::BASE64;

/// Prefixes of data URLs that hold images.
const IMAGE_PREFIXES: [&str; 5] = [
    "data:image/jpeg;base64,",
    "data:image/jpg;base64,",
    "data:image/png;base64,",
    "data:image/webp;base64,",
    "data:;base64,",
];

/// The content of a message.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Content {
    #[default]
    Absent,
    Text(String),
    Parts(Vec<Part>),
    Bool,
    Number,
    Object,
}

/// A part of the content.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    Text(String),
    Image(File),
    Audio(File),
    /// A part of an unknown kind, or without a required field.
    Bad,
}

/// A file in a part.
#[derive(Debug, Clone, PartialEq)]
pub enum File {
    Data(Image),
    /// A URL of another host.
    Remote,
    /// It cannot be decoded, with the reason.
    Bad(String),
    /// The file is absent.
    Missing,
    /// The file is in the wrong field.
    Misplaced,
}

impl PartialSchema for Content {
    fn schema() -> RefOr<Schema> {
        let parts = ArrayBuilder::new().items(Ref::from_schema_name(Part::name()));
        OneOfBuilder::new()
            .description(Some("A text, or parts of several kinds"))
            .item(String::schema())
            .item(parts)
            .into()
    }
}

impl ToSchema for Content {
    fn name() -> Cow<'static, str> {
        "openai.Content".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Part::name().into_owned(), Part::schema()));
    }
}

impl PartialSchema for Part {
    fn schema() -> RefOr<Schema> {
        let file = |about: &str, fields: &[&str]| {
            let object = ObjectBuilder::new().description(Some(about));
            let with =
                |object: ObjectBuilder, name: &&str| object.property(*name, String::schema());
            fields.iter().fold(object, with)
        };
        let image = file(
            "A data address (`data:image/png;base64,…`)",
            &["url", "detail"],
        );
        ObjectBuilder::new()
            .description(Some("A text, an image or sound"))
            .property("type", kinds(["text", "image_url", "input_audio"]))
            .required("type")
            .property("text", String::schema())
            .property(
                "image_url",
                OneOfBuilder::new().item(String::schema()).item(image),
            )
            .property(
                "input_audio",
                file("A sound in base64", &["data", "format"]),
            )
            .into()
    }
}

impl ToSchema for Part {
    fn name() -> Cow<'static, str> {
        "openai.Part".into()
    }
}

fn kinds(kinds: [&str; 3]) -> ObjectBuilder {
    let object = ObjectBuilder::new().schema_type(Type::String);
    object.enum_values(Some(kinds))
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text or a list of parts")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Content, E> {
        Ok(Content::Bool)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Content, E> {
        Ok(Content::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Content, E> {
        Ok(Content::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Content, E> {
        Ok(Content::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Content::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = list.next_element()? {
            parts.push(part);
        }
        Ok(Content::Parts(parts))
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor)
    }
}

/// Skips values of other types.
macro_rules! otherwise {
    ($other:expr; $($method:ident $kind:ty),*) => {
        $(fn $method<E>(self, _: $kind) -> Result<Self::Value, E> {
            Ok($other)
        })*

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($other)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok($other)
        }
    };
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = Part;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a part of a message")
    }

    otherwise!(Part::Bad; visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64, visit_str &str);

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Part, A::Error> {
        let (mut kind, mut text) = (None, None);
        let (mut image, mut audio) = (Place::default(), Place::default());
        while let Some(key) = map.next_key::<Word>()? {
            match key.0.as_deref() {
                Some("type") => kind = map.next_value::<Word>()?.0,
                Some("text") => text = map.next_value::<Word>()?.0,
                Some("image_url") => image = map.next_value()?,
                Some("input_audio") => audio = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(match kind.as_deref() {
            Some("text") => text.map_or(Part::Bad, Part::Text),
            Some("image_url") => Part::Image(image.url.unwrap_or(File::Missing)),
            Some("input_audio") if !audio.is_object => Part::Audio(File::Misplaced),
            Some("input_audio") => Part::Audio(audio.data.unwrap_or(File::Missing)),
            _ => Part::Bad,
        })
    }
}

/// A text; `None` for other values.
struct Word(Option<String>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor).map(Self)
    }
}

struct WordVisitor;

impl<'de> Visitor<'de> for WordVisitor {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    otherwise!(None; visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64);

    fn visit_str<E>(self, text: &str) -> Result<Option<String>, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// The file of a part: a URL, or an object with a URL or with data.
#[derive(Default)]
struct Place {
    url: Option<File>,
    data: Option<File>,
    is_object: bool,
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(BASE64, PlaceVisitor)
    }
}

struct PlaceVisitor;

impl<'de> Visitor<'de> for PlaceVisitor {
    type Value = Place;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a file")
    }

    otherwise!(Place::default(); visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64);

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Place, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_str<E>(self, url: &str) -> Result<Place, E> {
        Ok(Place {
            url: Some(File::of_url(url)),
            ..Place::default()
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Place, A::Error> {
        let mut place = Place {
            is_object: true,
            ..Place::default()
        };
        while let Some(key) = map.next_key::<Word>()? {
            match key.0.as_deref() {
                Some("url") => place.url = map.next_value_seed(FileVisitor(File::of_url))?,
                Some("data") => place.data = map.next_value_seed(FileVisitor(File::of_data))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(place)
    }
}

/// Decodes a string to a file; `None` for other values.
struct FileVisitor(fn(&str) -> File);

impl<'de> DeserializeSeed<'de> for FileVisitor {
    type Value = Option<File>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<File>, D::Error> {
        deserializer.deserialize_newtype_struct(BASE64, self)
    }
}

impl<'de> Visitor<'de> for FileVisitor {
    type Value = Option<File>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    otherwise!(None; visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64);

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        inner: D,
    ) -> Result<Option<File>, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<File>, E> {
        Ok(Some((self.0)(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<File>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl File {
    /// Reads a URL.
    pub fn of_url(url: &str) -> Self {
        if url.starts_with("http://") || url.starts_with("https://") {
            return Self::Remote;
        }
        let mut prefixes = IMAGE_PREFIXES.iter();
        let data = prefixes.find_map(|prefix| url.strip_prefix(prefix));
        match data.map(Image::from_base64) {
            Some(Ok(image)) => Self::Data(image),
            Some(Err(error)) => Self::Bad(error),
            None => Self::Bad("no data address of an image".to_owned()),
        }
    }

    /// Reads base64 text.
    pub fn of_data(data: &str) -> Self {
        if data.is_empty() {
            return Self::Missing;
        }
        Image::from_base64(data).map_or_else(Self::Bad, Self::Data)
    }
}
