//! Compares the description with the route table, and with the page generated from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::schemas::{reached, references};
use super::{apis, document};
use crate::config::env::process;
use crate::server::access::Need;
use crate::server::router::table;

/// Method and path.
type Name = (String, String);

/// The operations of the route table. `HEAD` beside `GET` is not a separate operation.
fn in_table() -> BTreeSet<Name> {
    let table = table();
    let lines = table.lines().iter().flat_map(|line| {
        let methods: Vec<&str> = line.methods.split(", ").collect();
        let has_get = methods.contains(&"GET");
        let methods = methods.into_iter();
        let methods = methods.filter(move |method| !(has_get && *method == "HEAD"));
        methods.map(|method| (method.to_owned(), line.path.to_owned()))
    });
    lines.collect()
}

#[test]
fn every_route_is_described_and_every_description_has_its_route() {
    let apis = apis();
    let routes = apis.iter().flat_map(|api| &api.routes);
    let described: Vec<Name> = routes
        .map(|route| (route.method_name().to_owned(), route.path.to_owned()))
        .collect();
    let unique: BTreeSet<Name> = described.iter().cloned().collect();
    assert_eq!(unique.len(), described.len());
    let table = in_table();
    let missing: Vec<_> = table.difference(&unique).collect();
    assert!(missing.is_empty(), "not described: {missing:?}");
    let extra: Vec<_> = unique.difference(&table).collect();
    assert!(extra.is_empty(), "no route: {extra:?}");
    assert!(table.len() > 70);
}

#[test]
fn a_name_means_one_schema() {
    let mut known = BTreeMap::new();
    for (name, schema) in apis().into_iter().flat_map(|api| api.schemas) {
        let schema = serde_json::to_value(schema).unwrap();
        let first = known.entry(name.clone()).or_insert_with(|| schema.clone());
        assert_eq!(
            *first, schema,
            "two types are called {name}: name one with `as`"
        );
    }
    assert!(known.len() > 100);
}

#[test]
fn every_reference_has_its_schema_and_every_operation_its_name() {
    let document = document();
    for name in references(&document) {
        assert!(
            document["components"]["schemas"][&name].is_object(),
            "{name}"
        );
    }
    let operations = operations(&document);
    let ids: BTreeSet<&str> = operations
        .iter()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), operations.len());
}

/// Schemas of answers whose fields all may be absent.
const MAY_BE_EMPTY: &[&str] = &["Delta", "Limits", "Metrics"];

#[test]
fn answers_say_which_fields_are_always_there() {
    let document = document();
    let mut roots = BTreeSet::new();
    let mut bodies = BTreeSet::new();
    for (_, _, operation) in operations(&document) {
        roots.extend(references(&operation["responses"]));
        bodies.extend(references(&operation["requestBody"]));
    }
    let bodies = reached(&document, bodies.into_iter().collect());
    let mut found = Vec::new();
    for name in reached(&document, roots.into_iter().collect()) {
        let schema = &document["components"]["schemas"][&name];
        let says = schema["required"].is_array() || schema["properties"].is_null();
        if !says && !bodies.contains(&name) && !MAY_BE_EMPTY.contains(&name.as_str()) {
            found.push(name);
        }
    }
    assert!(found.is_empty(), "nothing required: {found:?}");
}

#[test]
fn what_answers_always_have_is_what_is_written() {
    let document = document();
    let required = |name: &str| &document["components"]["schemas"][name]["required"];
    let has = |name: &str, field: &str| {
        let fields = required(name).as_array().unwrap();
        fields.iter().any(|known| known == field)
    };
    assert!(has("ModelDetails", "families") && !has("ModelDetails", "context_length"));
    assert!(has("openai.ErrorDetail", "param") && has("ChatChoice", "logprobs"));
    assert!(!has("ChatChoice", "stop_reason") && has("responses.Response", "usage"));
    assert!(has("OutputText", "type"));
}

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    });
    operations.collect()
}

/// The text of `docs/api.md`, made from the description.
fn page() -> String {
    let mut page = "# Routes\n\n\
        All routes of the server. `GET /openapi.json` describes them with the fields of each request and answer, in\n\
        OpenAPI's form; the names below are those of its schemas. This page is made from the same description.\n\n\
        The last column is the scope that a key needs once there are keys ([keys.md](keys.md)).\n"
        .to_owned();
    let document = document();
    for api in apis() {
        let _ = write!(
            page,
            "\n## {}\n\n{}\n\n| Route | What it does | Body | Answer | Scope |\n| --- | --- | --- | --- | --- |\n",
            api.name, api.about
        );
        for route in &api.routes {
            let path = route.plain_path();
            let method = route.method_name();
            let operation = &document["paths"][&path][method.to_lowercase()];
            let scope = match Need::of(route.path) {
                Need::Nothing => "–",
                Need::Scope(scope) => scope.as_str(),
            };
            let _ = writeln!(
                page,
                "| `{method} {path}` | {} | {} | {} | {scope} |",
                operation["summary"].as_str().unwrap(),
                contents(&operation["requestBody"]),
                answer(&operation["responses"]),
            );
        }
    }
    page
}

fn answer(responses: &Value) -> String {
    let mut responses = responses.as_object().unwrap().iter();
    let (status, response) = responses.find(|(status, _)| *status != "default").unwrap();
    let contents = contents(response);
    if status == "200" {
        contents
    } else {
        format!("{status}: {contents}")
    }
}

/// The schemas of a body, or its content types.
fn contents(body: &Value) -> String {
    let contents = body["content"].as_object().into_iter().flatten();
    let shown = contents.map(|(kind, content)| {
        let names = references(content);
        let list = if content["schema"]["type"] == "array" {
            "list of "
        } else {
            ""
        };
        match (kind.as_str(), names.is_empty()) {
            ("application/json", false) => format!("{list}`{}`", names.join("` or `")),
            ("application/json", true) => "JSON".to_owned(),
            ("application/x-ndjson", _) => format!("lines of `{}`", names.join("` or `")),
            ("text/event-stream", _) => format!("events of `{}`", names.join("` or `")),
            ("multipart/form-data", _) => format!("form `{}`", names.join("` or `")),
            (kind, _) => kind.to_owned(),
        }
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() {
        "–".to_owned()
    } else {
        shown.join("; ")
    }
}

/// `DROVER_WRITE_DOCS=1` rewrites the file.
#[test]
fn the_page_of_routes_is_made_from_the_description() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md");
    if process("DROVER_WRITE_DOCS").is_some() {
        fs_err::write(path, page()).unwrap();
    }
    let written = fs_err::read_to_string(path).unwrap();
    assert!(
        written == page(),
        "write docs/api.md anew: DROVER_WRITE_DOCS=1 cargo quick openapi"
    );
}
