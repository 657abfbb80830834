//! Compares the decoder with `serde_json`'s, and tests the intended differences.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::*;
use crate::server::extract::allowance::MOST;
use crate::server::extract::{Memory, Share};
use crate::server::origin::Origin;

fn share() -> Share {
    Memory::new(Some(1 << 30)).share(Origin::LOCAL)
}

fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    let mut share = share();
    let allowance = Allowance::new(&mut share, text.len(), MOST);
    let fault = Fault::default();
    let mut reader = Reader::new(text, &allowance, &fault);
    let value = T::deserialize(&mut reader).map_err(|error| error.to_string())?;
    assert_eq!(reader.rest.trim_ascii(), "", "{text}");
    Ok(value)
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Outer {
    name: String,
    count: Option<i64>,
    inner: Inner,
    list: Vec<Inner>,
    tree: Value,
    own: Map<String, Value>,
    pair: (u8, bool),
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Inner {
    a: f64,
    b: Vec<String>,
}

#[test]
fn fields_are_found_as_go_finds_them() {
    let text = r#" { "NAME" : "x" , "Count":null,"count":3,"name":null, "inner":{"A":1.5},"other":[{"name":"y"}],
        "list":[{"b":["1"]},{"B":["2","3"],"b":["4"]}, null],"\u0074ree":{"Name":{"A":[]}},"own":{"K":1,"k":2},
        "pair":[1,true]} "#;
    let outer: Outer = read(text).unwrap();
    assert_eq!((outer.name.as_str(), outer.count), ("x", Some(3)));
    assert_eq!(outer.inner, Inner { a: 1.5, b: vec![] });
    let lists: Vec<_> = outer.list.iter().map(|inner| inner.b.join(",")).collect();
    assert_eq!(lists, ["1", "4", ""]);
    assert_eq!(outer.tree, json!({"Name": {"A": []}}));
    assert_eq!(Value::Object(outer.own), json!({"K": 1, "k": 2}));
    assert_eq!(outer.pair, (1, true));
    assert_eq!(read::<Outer>("null").unwrap(), Outer::default());
}

#[test]
fn wrong_types_are_named() {
    for (text, message) in [
        (r#"{"name":1}"#, "invalid type: number, expected a string"),
        (
            r#"{"name":["x"]}"#,
            "invalid type: sequence, expected a string",
        ),
        (
            r#"{"count":"x"}"#,
            "invalid type: string \"x\", expected i64",
        ),
        (
            r#"{"inner":[]}"#,
            "invalid type: sequence, expected an object",
        ),
        (
            r#"{"inner":"x"}"#,
            "invalid type: string, expected an object",
        ),
        (r#"{"list":{}}"#, "invalid type: map, expected a sequence"),
        (r#"{"own":[]}"#, "invalid type: sequence, expected a map"),
        (
            r#"{"pair":[300,true]}"#,
            "invalid value: integer `300`, expected u8",
        ),
        (
            r#"{"list":[{"a":true}]}"#,
            "invalid type: boolean `true`, expected f64",
        ),
    ] {
        assert_eq!(read::<Outer>(text).unwrap_err(), message);
    }
}

#[test]
fn trees_have_as_many_levels_as_a_schema_needs() {
    let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    assert!(read::<Value>(&nested(deep::MAX_LEVELS)).is_ok());
    let error = read::<Value>(&nested(deep::MAX_LEVELS + 1)).unwrap_err();
    assert_eq!(error, "recursion limit exceeded");
    let schema = format!(
        "{}{{}}{}",
        r#"{"properties":{"a":"#.repeat(150),
        "}}".repeat(150)
    );
    assert_eq!(read::<Value>(&schema).unwrap().to_string(), schema);
}

#[test]
fn numbers_beyond_all_numbers_are_the_largest_in_a_tree() {
    let read = read::<Value>(r#"{"maximum": 1.8e308, "minimum": -1e999, "a": 5}"#).unwrap();
    assert_eq!(
        read,
        json!({"maximum": f64::MAX, "minimum": f64::MIN, "a": 5})
    );
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        "[\\PC\"\\\\\n\u{0}]*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\]*", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn trees_are_those_of_serde_json(value in values()) {
        // Not compared with `value`: printing may lose the last digit of a number.
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let expected: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read::<Value>(&text).unwrap(), expected);
        }
    }

    #[test]
    fn no_json_makes_it_panic(value in values()) {
        let text = json!({"name": value, "count": value, "inner": value, "list": [value],
            "tree": value, "own": value, "pair": value});
        let _ = read::<Outer>(&text.to_string());
        let _ = read::<Outer>(&value.to_string());
    }
}
