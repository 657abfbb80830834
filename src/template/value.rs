//! The values that templates work on: they have Go's kinds, and are cheap to clone and to slice.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// A value. Strings are bytes, as Go's are: a template may cut one inside a character.
#[derive(Debug, Clone)]
pub enum Value {
    /// Go's invalid value: the dot of a template that is called without an argument. Every field of it can be
    /// read.
    Absent,
    /// Nil: JSON's null, or a missing key of a map.
    Nil,
    Bool(bool),
    /// Constants of the template, lengths and indices.
    Int(i64),
    /// Every number of JSON.
    Float(f64),
    String(Arc<[u8]>),
    List(List),
    /// Sorted by key, by bytes: the order in which Go prints and iterates.
    Map(Arc<BTreeMap<String, Self>>),
    /// A value with a Go type of its own.
    Typed(Arc<Typed>),
}

/// What a Go type adds to a value: fixed fields, a text form, a JSON form.
#[derive(Debug, Clone)]
pub struct Typed {
    /// As Go's messages name it, `*template.templateMessage`.
    pub type_name: &'static str,
    pub content: Content,
    /// How it prints, if not as its content does.
    pub text: Option<String>,
    /// Its JSON, if not that of its content.
    pub json: Option<String>,
}

/// The inside of a typed value.
#[derive(Debug, Clone)]
pub enum Content {
    /// A struct: unlike in a map, an unknown field is an error.
    Fields(Vec<(&'static str, Value)>),
    /// A list or a map.
    Plain(Value),
}

/// A part of a shared list: `slice` copies nothing.
#[derive(Debug, Clone)]
pub struct List {
    items: Arc<[Value]>,
    range: Range<usize>,
}

impl List {
    pub(super) fn items(&self) -> &[Value] {
        self.items.get(self.range.clone()).unwrap_or_default()
    }

    /// How long the list may become in a `slice`: Go's lists have spare capacity, since they grow by
    /// doubling.
    pub(super) fn capacity(&self) -> usize {
        let whole = self.items.len();
        let room = if whole == 0 {
            0
        } else {
            whole.next_power_of_two()
        };
        room.saturating_sub(self.range.start)
    }

    /// Returns the items from `start` to `end` of this part; those after the last one are nil.
    pub(super) fn part(&self, start: usize, end: usize) -> Self {
        let length = self.items().len();
        if end > length {
            let mut items = self.items()[start.min(length)..].to_vec();
            items.resize(end.saturating_sub(start), Value::Nil);
            return items.into();
        }
        let offset = self.range.start;
        Self {
            items: Arc::clone(&self.items),
            range: offset.saturating_add(start)..offset.saturating_add(end),
        }
    }
}

impl From<Vec<Value>> for List {
    fn from(items: Vec<Value>) -> Self {
        Self {
            range: 0..items.len(),
            items: items.into(),
        }
    }
}

impl Value {
    /// A list of values.
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(items.into())
    }

    /// A map of values.
    pub fn map(entries: impl IntoIterator<Item = (String, Self)>) -> Self {
        Self::Map(Arc::new(entries.into_iter().collect()))
    }

    pub(super) fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::String(bytes.into())
    }

    /// The list or map inside a typed value; else the value itself.
    pub(super) fn plain(&self) -> &Self {
        match self {
            Self::Typed(typed) => match &typed.content {
                Content::Plain(value) => value.plain(),
                Content::Fields(_) => self,
            },
            other => other,
        }
    }

    /// Whether `if` takes its first branch.
    pub(super) fn is_true(&self) -> bool {
        match self.plain() {
            Self::Absent | Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::String(bytes) => !bytes.is_empty(),
            Self::List(list) => !list.items().is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Typed(_) => true,
        }
    }

    pub(super) fn is_nil(&self) -> bool {
        matches!(self, Self::Absent | Self::Nil)
    }

    /// The name of its Go type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Absent | Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::String(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Typed(typed) => typed.type_name,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::bytes(value.as_bytes())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::bytes(value.into_bytes())
    }
}

/// Decodes as Go does into `any`: every number is a float.
impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match value {
            Json::Null => Self::Nil,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::Float(number.as_f64().unwrap_or_default()),
            Json::String(text) => text.as_str().into(),
            Json::Array(items) => Self::list(items.iter().map(Self::from).collect()),
            Json::Object(map) => {
                Self::map(map.iter().map(|(key, value)| (key.clone(), value.into())))
            }
        }
    }
}
