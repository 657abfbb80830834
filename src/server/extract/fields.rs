//! Struct fields found as Go's decoder finds them: in any case, the last one of a name wins,
//! `null` is as good as absent.
//!
//! Works on a value that is parsed already, so that strings are moved and not copied. Maps with
//! keys of the client's own (options, schemas, file names) keep them as they are.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor};
use serde_json::{Error, Map, Value};

/// A JSON value that is decoded leniently.
#[derive(Debug)]
pub(super) struct Lenient(pub(super) Value);

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let map = match self.0 {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            other => return Err(Error::invalid_type(kind(&other), &"an object")),
        };
        let entries = pick(map, fields)
            .into_iter()
            .map(|(name, value)| (name, Self(value)));
        visitor.visit_map(MapDeserializer::new(entries))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(map) => {
                let entries = map.into_iter().map(|(key, value)| (key, Self(value)));
                visitor.visit_map(MapDeserializer::new(entries))
            }
            other => other.deserialize_map(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Self)))
            }
            other => other.deserialize_seq(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The entries that are fields, under the fields' own names.
fn pick(map: Map<String, Value>, fields: &'static [&'static str]) -> Vec<(&'static str, Value)> {
    let mut picked: Vec<(&'static str, Value)> = Vec::with_capacity(map.len().min(fields.len()));
    for (key, value) in map {
        let field = fields
            .iter()
            .find(|field| field.eq_ignore_ascii_case(&key))
            .filter(|_| !value.is_null());
        let Some(field) = field else { continue };
        match picked.iter_mut().find(|(known, _)| known == field) {
            Some(entry) => entry.1 = value,
            None => picked.push((field, value)),
        }
    }
    picked
}

fn kind(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Bool(flag) => Unexpected::Bool(*flag),
        Value::Number(_) => Unexpected::Other("number"),
        Value::String(_) => Unexpected::Other("string"),
        Value::Array(_) => Unexpected::Seq,
        Value::Null => Unexpected::Unit,
        Value::Object(_) => Unexpected::Map,
    }
}
