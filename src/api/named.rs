//! Objects whose keys the client chooses, in their order.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// An object as it was sent; duplicate names are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamedVisitor(PhantomData))
    }
}

struct NamedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for NamedVisitor<T> {
    type Value = Named<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Named<T>, A::Error> {
        entries(map).map(Named)
    }
}

/// An object, a list, or neither.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum NamedOrListed {
    #[default]
    Absent,
    Named(Vec<(String, Value)>),
    Listed(Vec<Value>),
    Other,
}

impl<'de> Deserialize<'de> for NamedOrListed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamedOrListedVisitor)
    }
}

struct NamedOrListedVisitor;

impl<'de> Visitor<'de> for NamedOrListedVisitor {
    type Value = NamedOrListed;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or a list")
    }

    fn visit_unit<E>(self) -> Result<NamedOrListed, E> {
        Ok(NamedOrListed::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<NamedOrListed, E> {
        Ok(NamedOrListed::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<NamedOrListed, E> {
        Ok(NamedOrListed::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<NamedOrListed, E> {
        Ok(NamedOrListed::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<NamedOrListed, E> {
        Ok(NamedOrListed::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<NamedOrListed, E> {
        Ok(NamedOrListed::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NamedOrListed, A::Error> {
        entries(map).map(NamedOrListed::Named)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<NamedOrListed, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(NamedOrListed::Listed(values))
    }
}

fn entries<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    mut map: A,
) -> Result<Vec<(String, T)>, A::Error> {
    let mut entries = Vec::new();
    while let Some(entry) = map.next_entry()? {
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetitions_stay() {
        let named: Named<u8> = serde_json::from_str(r#"{"b": 1, "a": 2, "b": 3}"#).unwrap();
        let names: Vec<&str> = named.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "a", "b"]);
        let text = serde_json::to_string(&named).unwrap();
        assert_eq!(text, r#"{"b":1,"a":2,"b":3}"#);
        assert!(serde_json::from_str::<Named<u8>>("[1]").is_err());
    }

    #[test]
    fn what_is_neither_an_object_nor_a_list_is_no_error_yet() {
        let read = |text| serde_json::from_str::<NamedOrListed>(text).unwrap();
        assert_eq!(read("null"), NamedOrListed::Absent);
        for other in ["1", "-1", "1.5", "true", "\"a\""] {
            assert_eq!(read(other), NamedOrListed::Other, "{other}");
        }
        assert_eq!(read("[1]"), NamedOrListed::Listed(vec![1.into()]));
        let entry = ("a".to_owned(), Value::Null);
        assert_eq!(read(r#"{"a": null}"#), NamedOrListed::Named(vec![entry]));
    }
}
