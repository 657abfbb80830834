//! Tools in the fixed types that Ollama decodes them into, which drop unknown keywords and fix the order of
//! keys. Prompts show tools in this form.

use serde_json::{Map, Value};

use super::ToolDefinition;
use crate::json::go;

/// A tool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TypedTool {
    pub kind: String,
    pub items: Option<Value>,
    pub function: TypedFunction,
}

/// Its function.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TypedFunction {
    pub name: String,
    pub description: String,
    pub parameters: TypedParameters,
}

/// The function's parameters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TypedParameters {
    pub kind: String,
    pub defs: Option<Value>,
    pub items: Option<Value>,
    pub required: Vec<String>,
    /// `None` = the key is absent.
    pub properties: Option<Properties>,
}

/// Properties by name, in the order in which they were sent.
pub type Properties = Vec<(String, TypedProperty)>;

/// One parameter, or a part of one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TypedProperty {
    pub any_of: Vec<Self>,
    /// The allowed types; empty = any.
    pub kinds: Vec<String>,
    pub items: Option<Value>,
    pub description: String,
    pub values: Vec<Value>,
    pub properties: Option<Properties>,
    pub required: Vec<String>,
}

impl From<&ToolDefinition> for TypedTool {
    fn from(tool: &ToolDefinition) -> Self {
        Self {
            kind: tool.kind.clone(),
            items: tool.items.clone().filter(|items| !items.is_null()),
            function: TypedFunction {
                name: tool.function.name.clone(),
                description: tool.function.description.clone(),
                parameters: TypedParameters::new(&tool.function.parameters),
            },
        }
    }
}

impl TypedParameters {
    fn new(schema: &Map<String, Value>) -> Self {
        Self {
            kind: text(schema, "type"),
            defs: present(schema, "$defs"),
            items: present(schema, "items"),
            required: strings(schema, "required"),
            properties: properties(schema),
        }
    }
}

impl TypedProperty {
    /// Reads a part of a JSON Schema.
    pub fn new(schema: &Map<String, Value>) -> Self {
        let kinds = match schema.get("type") {
            Some(Value::String(kind)) => vec![kind.clone()],
            _ => strings(schema, "type"),
        };
        let list = |key| schema.get(key).and_then(Value::as_array);
        let any_of = list("anyOf").into_iter().flatten();
        Self {
            any_of: any_of
                .filter_map(|part| Some(Self::new(part.as_object()?)))
                .collect(),
            kinds,
            items: present(schema, "items"),
            description: text(schema, "description"),
            values: list("enum").cloned().unwrap_or_default(),
            properties: properties(schema),
            required: strings(schema, "required"),
        }
    }

    /// Its types as Go prints them: a single one bare, several in brackets.
    pub fn kind_text(&self) -> String {
        match self.kinds.as_slice() {
            [] => String::new(),
            [kind] => kind.clone(),
            kinds => format!("[{}]", kinds.join(" ")),
        }
    }
}

fn present(schema: &Map<String, Value>, key: &str) -> Option<Value> {
    schema.get(key).filter(|value| !value.is_null()).cloned()
}

fn text(schema: &Map<String, Value>, key: &str) -> String {
    let value = schema.get(key).and_then(Value::as_str);
    value.unwrap_or_default().to_owned()
}

fn strings(schema: &Map<String, Value>, key: &str) -> Vec<String> {
    let list = schema
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn properties(schema: &Map<String, Value>) -> Option<Properties> {
    let map = schema.get("properties")?.as_object()?;
    let empty = Map::new();
    let read = |schema: &Value| TypedProperty::new(schema.as_object().unwrap_or(&empty));
    Some(
        map.iter()
            .map(|(name, schema)| (name.clone(), read(schema)))
            .collect(),
    )
}

/// How the texts of a tool are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// `<`, `>`, `&` as `\u003c` … everywhere.
    Escaped,
    /// Unescaped, except inside properties, which Ollama encodes in a separate step.
    Plain,
    /// Escaped, the outermost properties by name, a description even when it is empty: inside Go templates.
    Sorted,
}

/// Builds an object key by key.
struct Object {
    text: String,
    spelling: Spelling,
}

impl Object {
    fn new(spelling: Spelling) -> Self {
        Self {
            text: "{".to_owned(),
            spelling,
        }
    }

    fn add(&mut self, key: &str, json: &str) -> &mut Self {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        self.text += &format!("\"{key}\":{json}");
        self
    }

    fn add_value(&mut self, key: &str, value: &Value) -> &mut Self {
        let value = go::sorted_value(value);
        let json = match self.spelling {
            Spelling::Plain => go::to_string_plain(&value),
            Spelling::Escaped | Spelling::Sorted => go::to_string(&value),
        };
        self.add(key, &json)
    }

    fn add_some(&mut self, key: &str, value: Option<&Value>) -> &mut Self {
        match value {
            Some(value) => self.add_value(key, value),
            None => self,
        }
    }

    fn add_list(&mut self, key: &str, list: &[String]) -> &mut Self {
        if list.is_empty() {
            return self;
        }
        self.add_value(key, &list.into())
    }

    fn end(&mut self) -> String {
        self.text.push('}');
        std::mem::take(&mut self.text)
    }
}

impl TypedTool {
    /// Its compact JSON.
    pub fn json(&self, spelling: Spelling) -> String {
        Object::new(spelling)
            .add_value("type", &self.kind.as_str().into())
            .add_some("items", self.items.as_ref())
            .add("function", &self.function.json(spelling))
            .end()
    }
}

impl TypedFunction {
    /// Its compact JSON.
    pub fn json(&self, spelling: Spelling) -> String {
        let mut object = Object::new(spelling);
        object.add_value("name", &self.name.as_str().into());
        if !self.description.is_empty() || spelling == Spelling::Sorted {
            object.add_value("description", &self.description.as_str().into());
        }
        object
            .add("parameters", &self.parameters.json(spelling))
            .end()
    }
}

impl TypedParameters {
    /// Its compact JSON.
    pub fn json(&self, spelling: Spelling) -> String {
        let properties = match &self.properties {
            Some(properties) => properties_json(properties, spelling),
            None if spelling == Spelling::Sorted => "{}".to_owned(),
            None => "null".to_owned(),
        };
        Object::new(spelling)
            .add_value("type", &self.kind.as_str().into())
            .add_some("$defs", self.defs.as_ref())
            .add_some("items", self.items.as_ref())
            .add_list("required", &self.required)
            .add("properties", &properties)
            .end()
    }
}

/// The compact JSON of properties.
pub fn properties_json(properties: &Properties, spelling: Spelling) -> String {
    let mut list: Vec<_> = properties.iter().collect();
    if spelling == Spelling::Sorted {
        list.sort_by_key(|(name, _)| name.as_str());
    }
    let entries = list.iter().map(|(name, property)| {
        let name = go::to_string(&name.as_str().into());
        format!("{name}:{}", property.json(Spelling::Escaped))
    });
    format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
}

impl TypedProperty {
    /// Its compact JSON.
    pub fn json(&self, spelling: Spelling) -> String {
        let mut object = Object::new(spelling);
        if !self.any_of.is_empty() {
            let parts = self.any_of.iter().map(|part| part.json(spelling));
            let parts: Vec<_> = parts.collect();
            object.add("anyOf", &format!("[{}]", parts.join(",")));
        }
        match self.kinds.as_slice() {
            [] => {}
            [kind] => {
                object.add_value("type", &kind.as_str().into());
            }
            kinds => {
                object.add_list("type", kinds);
            }
        }
        object.add_some("items", self.items.as_ref());
        if !self.description.is_empty() {
            object.add_value("description", &self.description.as_str().into());
        }
        if !self.values.is_empty() {
            object.add_value("enum", &Value::Array(self.values.clone()));
        }
        if let Some(properties) = &self.properties {
            object.add("properties", &properties_json(properties, spelling));
        }
        object.add_list("required", &self.required).end()
    }
}
