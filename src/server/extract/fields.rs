//! Struct fields found as Go's decoder finds them: in any case, the last one of a name wins,
//! `null` is as good as absent.
//!
//! A value is decoded from its text straight into its type; what no field asks for is passed over and
//! costs no memory. Maps with keys of the client's own (options, schemas, file names) keep them as they
//! are. What values become takes many times the memory of their text (`{},` can become some hundred
//! bytes), so that there is a [`Budget`] for all of a body.

use std::cell::Cell;
use std::fmt;

use serde::de::value::MapDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::Error;
use serde_json::value::RawValue;

/// What the values of one body may weigh: 125,000 objects or a million other values.
const MAX_WEIGHT: usize = 2_000_000;
/// Weight of an object, which takes some hundred bytes, and of any other value.
const OBJECT: usize = 16;
const VALUE: usize = 2;

/// How deep free values (schemas, arguments) may nest. What decodes them uses the stack.
const MAX_DEPTH: usize = 256;

/// What may still be decoded of a body.
#[derive(Debug)]
pub(super) struct Budget(Cell<usize>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Cell::new(MAX_WEIGHT))
    }

    fn take(&self, weight: usize) -> Result<(), Error> {
        let left = self.0.get().checked_sub(weight);
        let left = left.ok_or_else(|| Error::custom("the request has too many values"))?;
        self.0.set(left);
        Ok(())
    }

    /// Takes what a whole value weighs with all that is in it.
    fn take_tree(&self, raw: &str) -> Result<(), Error> {
        if !raw.starts_with(['{', '[']) {
            return self.take(VALUE);
        }
        let (weight, depth) = measure(raw);
        if depth > MAX_DEPTH {
            let message = format!("exceeded max depth of {MAX_DEPTH}");
            return Err(Error::custom(message));
        }
        self.take(weight)
    }
}

/// Weight and depth of a valid JSON text.
fn measure(raw: &str) -> (usize, usize) {
    let (mut weight, mut depth, mut deepest) = (VALUE, 0_usize, 0);
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in raw.bytes() {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b',' | b':' => weight += VALUE,
            b'{' | b'[' => {
                weight += if byte == b'{' { OBJECT } else { VALUE };
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    (weight, deepest)
}

/// The text of one JSON value, which is decoded leniently.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lenient<'de, 'b> {
    raw: &'de str,
    budget: &'b Budget,
}

impl<'de, 'b> Lenient<'de, 'b> {
    pub(super) fn new(raw: &'de RawValue, budget: &'b Budget) -> Self {
        let raw = raw.get();
        Self { raw, budget }
    }

    /// `serde_json`'s own decoder. The caller has taken the value's weight, and with it seen its depth.
    fn json(self) -> serde_json::Deserializer<serde_json::de::StrRead<'de>> {
        let mut json = serde_json::Deserializer::from_str(self.raw);
        json.disable_recursion_limit();
        json
    }

    fn is_null(self) -> bool {
        self.raw == "null"
    }
}

impl<'de> Deserializer<'de> for Lenient<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.budget.take_tree(self.raw)?;
        self.json().deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.budget.take(OBJECT)?;
        let found = if self.is_null() {
            Vec::new()
        } else {
            self.json().deserialize_map(Pick(fields))?
        };
        let entries = found.into_iter().map(|(name, raw)| {
            let value = Self::new(raw, self.budget);
            (name, Field { name, value })
        });
        visitor.visit_map(MapDeserializer::new(entries))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.budget.take(OBJECT)?;
        let budget = self.budget;
        self.json().deserialize_map(Inside { visitor, budget })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.budget.take(VALUE)?;
        let budget = self.budget;
        self.json().deserialize_seq(Inside { visitor, budget })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() {
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
        self.budget.take_tree(self.raw)?;
        self.json().deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple tuple_struct identifier
    }
}

impl<'de> IntoDeserializer<'de, Error> for Lenient<'de, '_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A field's value; errors in it name the field.
struct Field<'de, 'b> {
    name: &'static str,
    value: Lenient<'de, 'b>,
}

impl<'de> IntoDeserializer<'de, Error> for Field<'de, '_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// One of serde's methods for a field: the value's own, with errors that name the field.
macro_rules! in_field {
    ($($method:ident($($argument:ident: $kind:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $kind,)* visitor: V) -> Result<V::Value, Error> {
            let name = self.name;
            self.value.$method($($argument,)* visitor).map_err(|error| within(name, &error))
        }
    )*};
}

impl<'de> Deserializer<'de> for Field<'de, '_> {
    type Error = Error;

    in_field! {
        deserialize_any()
        deserialize_map()
        deserialize_seq()
        deserialize_option()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_newtype_struct(name: &'static str)
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_ignored_any()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple tuple_struct identifier
    }
}

/// Stands between the place of an error and its words until the whole place is known.
const PLACE_END: char = '\u{1}';

/// Errors about a value's type say where it stands. Others are the types' own words, which clients may
/// know.
fn within(name: &str, error: &Error) -> Error {
    let text = words(error);
    match text.split_once(PLACE_END) {
        Some((place, words)) => Error::custom(format!("{name}.{place}{PLACE_END}{words}")),
        None if text.starts_with("invalid ") || text.starts_with("missing field") => {
            Error::custom(format!("{name}{PLACE_END}{text}"))
        }
        None => Error::custom(text),
    }
}

/// An error's words, without the line and column of the piece that was decoded.
fn words(error: &Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) if error.line() > 0 => text[..end].to_owned(),
        _ => text,
    }
}

/// What a client is told.
pub(super) fn explain(error: &Error) -> String {
    words(error).replacen(PLACE_END, ": ", 1)
}

/// Finds the values of fields, under the fields' own names.
struct Pick(&'static [&'static str]);

impl<'de> Visitor<'de> for Pick {
    type Value = Vec<(&'static str, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found: Self::Value = Vec::new();
        while let Some(field) = map.next_key_seed(Name(self.0))? {
            let Some(field) = field else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value: &RawValue = map.next_value()?;
            if value.get() == "null" {
                continue;
            }
            match found.iter_mut().find(|(known, _)| *known == field) {
                Some(entry) => entry.1 = value,
                None => found.push((field, value)),
            }
        }
        Ok(found)
    }
}

/// Reads a key as one of the fields, without keeping it.
struct Name(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        let mut fields = self.0.iter().copied();
        Ok(fields.find(|field| field.eq_ignore_ascii_case(key)))
    }
}

/// Hands the values of a map or a list on to be decoded leniently.
struct Inside<'b, T> {
    visitor: T,
    budget: &'b Budget,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Inside<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let budget = self.budget;
        let map = Inside {
            visitor: map,
            budget,
        };
        self.visitor.visit_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        let budget = self.budget;
        let list = Inside {
            visitor: list,
            budget,
        };
        self.visitor.visit_seq(list)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Inside<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        self.visitor.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let raw: &RawValue = self.visitor.next_value()?;
        // A map keeps its keys.
        self.budget.take(OBJECT).map_err(A::Error::custom)?;
        let value = seed.deserialize(Lenient::new(raw, self.budget));
        value.map_err(|error| A::Error::custom(words(&error)))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Inside<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let Some(raw) = self.visitor.next_element::<&RawValue>()? else {
            return Ok(None);
        };
        let value = seed.deserialize(Lenient::new(raw, self.budget));
        let value = value.map_err(|error| A::Error::custom(words(&error)));
        value.map(Some)
    }
}
