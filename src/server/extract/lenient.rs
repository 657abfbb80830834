//! Decodes JSON directly into a type, with the rules of Go's decoder: field names are case-insensitive, the last field
//! of a name wins, `null` means absent. Maps whose keys the client chooses (options, schemas, file names) keep them
//! unchanged.
//!
//! Works on text that is known to be valid JSON. Unknown fields are skipped; of an object, only the
//! positions of its fields are recorded. *Invariant:* memory that grows with the text is counted before it
//! is allocated ([`Allowance`]).

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde_json::Error;

use super::allowance::{Allowance, Refusal};
use super::fault::Fault;
use super::surrogates::mended;
use crate::json::scan::{tree_bytes, value_len};
use crate::json::{BASE64, NESTED, deep};

/// Strings up to this length are quoted in error texts.
const SHOWN: usize = 64;

type Plain<'de> = serde_json::Deserializer<serde_json::de::StrRead<'de>>;

/// Reads values from the front of a text.
#[derive(Clone, Copy)]
pub(super) struct Reader<'de, 'a> {
    rest: &'de str,
    /// The text is a single value.
    is_whole: bool,
    allowance: &'a Allowance<'a>,
    /// Records the location of an error.
    fault: &'a Fault,
    n_levels: usize,
}

impl<'de, 'a> Reader<'de, 'a> {
    pub(super) fn new(text: &'de str, allowance: &'a Allowance<'a>, fault: &'a Fault) -> Self {
        Self {
            rest: text,
            is_whole: false,
            allowance,
            fault,
            n_levels: 0,
        }
    }

    /// The first byte of the next value.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.bytes().next()
    }

    /// Skips a byte, if it is the next one.
    fn pass(&mut self, byte: char) -> bool {
        self.peek();
        let rest = self.rest.strip_prefix(byte);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// The text of the next value.
    fn take(&mut self) -> &'de str {
        if self.is_whole {
            return std::mem::take(&mut self.rest);
        }
        self.peek();
        let text = self.rest.split_at_checked(value_len(self.rest));
        let (text, rest) = text.unwrap_or((self.rest, ""));
        self.rest = rest;
        text
    }

    /// A reader of the inside of a list or an object.
    fn inside(self) -> Result<Self, Error> {
        let n_levels = self.n_levels + 1;
        if n_levels > deep::MAX_LEVELS {
            return Err(Error::custom("recursion limit exceeded"));
        }
        Ok(Self {
            n_levels,
            is_whole: false,
            ..self
        })
    }

    /// Takes the text of the next value, which must not be a string, list or object.
    fn scalar<V: Visitor<'de>>(&mut self, visitor: &V) -> Result<&'de str, Error> {
        let text = self.take();
        let kind = match text.bytes().next() {
            Some(b'"') if text.len() > SHOWN => Unexpected::Other("string"),
            Some(b'"') => {
                let shown: String = serde_json::from_str(text).map_err(plain)?;
                return Err(Error::invalid_type(Unexpected::Str(&shown), visitor));
            }
            Some(b'{') => Unexpected::Map,
            Some(b'[') => Unexpected::Seq,
            _ => return Ok(text),
        };
        Err(Error::invalid_type(kind, visitor))
    }

    /// Takes the text of the next value, which must be a string.
    fn string<V: Visitor<'de>>(&mut self, visitor: &V) -> Result<&'de str, Error> {
        let text = self.take();
        let kind = match text.bytes().next() {
            Some(b'"') => return Ok(text),
            Some(b'{') => Unexpected::Map,
            Some(b'[') => Unexpected::Seq,
            Some(b'n') => Unexpected::Unit,
            Some(b't') => Unexpected::Bool(true),
            Some(b'f') => Unexpected::Bool(false),
            _ => Unexpected::Other("number"),
        };
        Err(Error::invalid_type(kind, visitor))
    }

    fn list<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        let mut elements = Elements(self.inside()?, 0);
        elements.0.pass('[');
        let value = visitor.visit_seq(&mut elements)?;
        // A visitor may stop before the end.
        while elements.0.has_more(b']') {
            elements.0.take();
            elements.0.pass(',');
        }
        elements.0.pass(']');
        self.rest = elements.0.rest;
        Ok(value)
    }

    fn object<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        let mut entries = Entries(self.inside()?);
        entries.0.pass('{');
        let value = visitor.visit_map(&mut entries)?;
        while entries.0.has_more(b'}') {
            entries.0.take();
            entries.0.pass(':');
            entries.0.take();
            entries.0.pass(',');
        }
        entries.0.pass('}');
        self.rest = entries.0.rest;
        Ok(value)
    }

    /// Handles a value that is not a list or an object where one is expected.
    fn other<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        let text = self.scalar(&visitor)?;
        Plain::from_str(text)
            .deserialize_any(visitor)
            .map_err(plain)
    }

    /// Counts one more `T` in a growing list, whose capacity may be twice its length.
    fn grown<T>(&self) -> Result<(), Error> {
        let n_bytes = 2 * size_of::<T>();
        self.allowance.structure(n_bytes).map_err(refused)
    }

    /// Whether a list or an object has another element.
    fn has_more(&mut self, end: u8) -> bool {
        self.peek().is_some_and(|next| next != end)
    }

    /// Finds the values of an object's fields in one pass.
    fn fields(&mut self, names: &'static [&'static str]) -> Vec<(&'static str, Self)> {
        let mut found: Vec<(&'static str, Self)> = Vec::with_capacity(names.len());
        self.is_whole = false;
        self.pass('{');
        while self.peek() == Some(b'"') {
            let field = field(self.take(), names);
            self.pass(':');
            let text = self.take();
            self.pass(',');
            let Some(name) = field.filter(|_| text != "null") else {
                continue;
            };
            let value = Self {
                rest: text,
                is_whole: true,
                ..*self
            };
            match found.iter_mut().find(|(known, _)| *known == name) {
                Some(entry) => entry.1 = value,
                None => found.push((name, value)),
            }
        }
        self.pass('}');
        found
    }
}

/// The field that a key (in quotes) refers to.
fn field(key: &str, names: &'static [&'static str]) -> Option<&'static str> {
    let find = |key: &str| {
        let mut names = names.iter();
        names.find(|name| name.eq_ignore_ascii_case(key)).copied()
    };
    let bare = key.get(1..key.len().checked_sub(1)?)?;
    if !bare.contains('\\') {
        return find(bare);
    }
    // An escaped character takes six bytes.
    let longest = names
        .iter()
        .map(|name| name.len())
        .max()
        .unwrap_or_default();
    if bare.len() > 6 * longest {
        return None;
    }
    find(&serde_json::from_str::<String>(key).ok()?)
}

fn refused(_: Refusal) -> Error {
    Error::custom("the request is too large")
}

/// Removes the position from an error, since it would refer to a part of the text.
fn plain(error: Error) -> Error {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((text, _)) => Error::custom(text),
        None => error,
    }
}

macro_rules! scalars {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let text = self.scalar(&visitor)?;
            Plain::from_str(text).$method(visitor).map_err(plain)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'{') => self.object(visitor),
            Some(b'[') => self.list(visitor),
            Some(b'"') => self.deserialize_str(visitor),
            Some(b'-' | b'0'..=b'9') => {
                // In a JSON value, a number that is too large becomes the largest one.
                match deep::number(self.take()) {
                    Some(number) => number.deserialize_any(visitor),
                    None => Err(Error::custom("invalid number")),
                }
            }
            _ => Plain::from_str(self.take())
                .deserialize_any(visitor)
                .map_err(plain),
        }
    }

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_unit
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = self.string(&visitor)?;
        self.allowance.text(text.len()).map_err(refused)?;
        Plain::from_str(text)
            .deserialize_str(visitor)
            .map_err(plain)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let fields = match self.peek() {
            Some(b'{') => self.fields(fields),
            _ => {
                let kind = match self.take().bytes().next() {
                    Some(b'n') | None => None,
                    Some(b'"') => Some(Unexpected::Other("string")),
                    Some(b'[') => Some(Unexpected::Seq),
                    Some(b't') => Some(Unexpected::Bool(true)),
                    Some(b'f') => Some(Unexpected::Bool(false)),
                    Some(_) => Some(Unexpected::Other("number")),
                };
                match kind {
                    Some(kind) => return Err(Error::invalid_type(kind, &"an object")),
                    None => Vec::new(),
                }
            }
        };
        visitor.visit_map(Fields {
            owner: name,
            name: "",
            fields: fields.into_iter(),
            value: None,
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'{') => self.object(visitor),
            _ => self.other(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'[') => self.list(visitor),
            _ => self.other(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.peek() == Some(b'n') {
            self.take();
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.peek() != Some(b'"') || ![BASE64, NESTED].contains(&name) {
            return visitor.visit_newtype_struct(self);
        }
        let text = self.take();
        if name == BASE64 {
            self.allowance.file(text.len() / 4 * 3).map_err(refused)?;
            let mut plain_text = Plain::from_str(text);
            return visitor.visit_newtype_struct(&mut plain_text).map_err(plain);
        }
        self.allowance.text(text.len()).map_err(refused)?;
        let inner: String = serde_json::from_str(text).map_err(plain)?;
        // When the body was repaired, these escapes were still inside a string.
        let inner = mended(inner.into());
        self.allowance
            .structure(tree_bytes(&inner))
            .map_err(refused)?;
        visitor.visit_newtype_struct(StrDeserializer::new(&inner))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text = self.take();
        self.allowance
            .structure(tree_bytes(text))
            .map_err(refused)?;
        let mut plain_text = Plain::from_str(text);
        plain_text
            .deserialize_enum(name, variants, visitor)
            .map_err(plain)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.take();
        visitor.visit_unit()
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit_struct tuple tuple_struct identifier
    }
}

/// The fields of an object that exist in a type.
struct Fields<'de, 'a> {
    /// The type.
    owner: &'static str,
    /// The field that is being read.
    name: &'static str,
    fields: std::vec::IntoIter<(&'static str, Reader<'de, 'a>)>,
    value: Option<Reader<'de, 'a>>,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.fields.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        self.name = name;
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        match &mut self.value {
            Some(value) => {
                let (text, fault) = (value.rest, value.fault);
                let decoded = seed.deserialize(value);
                if decoded.is_err() {
                    fault.in_field(self.owner, self.name, text);
                }
                decoded
            }
            None => Err(Error::custom("a value without a key")),
        }
    }
}

/// The elements of a list, and how many were read.
struct Elements<'de, 'a>(Reader<'de, 'a>, usize);

impl<'de> SeqAccess<'de> for Elements<'de, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let reader = &mut self.0;
        if !reader.has_more(b']') {
            return Ok(None);
        }
        reader.grown::<T::Value>()?;
        let text = reader.rest;
        let value = seed
            .deserialize(&mut *reader)
            .inspect_err(|_| reader.fault.in_item(self.1, text))?;
        self.1 += 1;
        reader.pass(',');
        Ok(Some(value))
    }
}

/// The entries of an object with keys that the client chose.
struct Entries<'de, 'a>(Reader<'de, 'a>);

impl<'de> MapAccess<'de> for Entries<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let reader = &mut self.0;
        if !reader.has_more(b'}') {
            return Ok(None);
        }
        reader.grown::<(K::Value, usize)>()?;
        let key = seed.deserialize(&mut *reader)?;
        reader.pass(':');
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let reader = &mut self.0;
        reader.grown::<V::Value>()?;
        let text = reader.rest;
        let value = seed
            .deserialize(&mut *reader)
            .inspect_err(|_| reader.fault.in_entry(text))?;
        reader.pass(',');
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
