//! Recorded outputs of Ollama's parsers, and our own rule: the way in which an answer is cut into pieces does not
//! change the result.
//!
//! The data is next to the checkout (`../shared/testdata`, or `DROVER_TESTDATA`); without it the tests say so and pass.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside test functions"
)]

mod recorded;

use drover::chat::{Message, Think, ToolDefinition};
use drover::families::gptoss::{Event, FunctionNames, Header, Messages};
use drover::families::{self, BuiltinParser, typed_value};
use drover::parser::{ParseError, Parser, Piece, Start, Thinking, ToolCalls, find_arguments};
use recorded::{Verdict, run, run_folder, same};
use serde_json::{Value, json};

/// Cases in which we differ on purpose: parser, the beginning of the case's name, reason.
const SKIPPED: &[(&str, &str, &str)] = &[
    (
        "harmony",
        "own/two tool calls",
        "the original runs several calls together; each is a call",
    ),
    (
        "olmo3",
        "own/olmo3 in last chunk",
        "the original shows calls in the last piece as text; they are calls",
    ),
];

fn decoded<T: serde::de::DeserializeOwned + Default>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A parser, set up for a case.
struct Setup {
    entry: &'static BuiltinParser,
    tools: Vec<ToolDefinition>,
    last: Option<Message>,
    think: Option<Think>,
}

impl Setup {
    fn new(fixture: &Value, case: &Value) -> Result<Self, String> {
        let name = text(fixture, "parser");
        Ok(Self {
            entry: families::parser(name).ok_or_else(|| format!("no parser {name}"))?,
            tools: decoded(&case["tools"]),
            last: (!case["last_message"].is_null()).then(|| decoded(&case["last_message"])),
            think: Think::from_json(&case["think"])?,
        })
    }

    fn parser(&self) -> Box<dyn Parser> {
        (self.entry.new)(&Start {
            tools: &self.tools,
            last: self.last.as_ref(),
            think: self.think,
            in_thinking: None,
        })
    }

    fn total<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Result<Piece, ParseError> {
        let mut parser = self.parser();
        let mut all = Piece::default();
        for text in texts {
            add(&mut all, parser.push(text)?);
        }
        add(&mut all, parser.finish()?);
        Ok(all)
    }
}

/// What a length limit leaves of an answer that begins like this; `None` if the family refuses it.
fn cut(setup: &Setup, text: &str) -> Option<Piece> {
    let mut parser = setup.parser();
    let mut all = parser.push(text).ok()?;
    add(&mut all, parser.cut());
    Some(all)
}

/// An answer that is cut off anywhere shows no more than the whole one, and nothing of an incomplete call. Every call
/// that it shows is also in the whole answer.
#[test]
fn what_is_cut_off_shows_no_call() {
    run_folder("parsers", |fixture, case| -> Verdict {
        let setup = match Setup::new(fixture, case) {
            Ok(setup) => setup,
            Err(error) => return Verdict::Differs(error),
        };
        let steps = case["steps"].as_array().unwrap();
        let whole: String = steps.iter().map(|step| text(step, "input")).collect();
        match setup.total([whole.as_str()]) {
            Ok(total) if !total.tool_calls.is_empty() => {
                cut_anywhere(&setup, &whole, &total).into()
            }
            _ => Verdict::Same,
        }
    });
}

fn cut_anywhere(setup: &Setup, whole: &str, total: &Piece) -> Result<(), String> {
    let names = |piece: &Piece| {
        let calls = piece.tool_calls.iter();
        let names: Vec<_> = calls.map(|call| call.function.name.clone()).collect();
        names
    };
    for (at, _) in whole.char_indices() {
        let begun = &whole[..at];
        let Some(piece) = cut(setup, begun) else {
            continue;
        };
        let (shown, all) = (piece.content.trim(), total.content.trim());
        if !all.starts_with(shown) {
            return Err(format!("{begun:?} shows {shown:?} of {all:?}"));
        }
        if !names(total).starts_with(&names(&piece)) {
            return Err(format!("{begun:?} calls {:?}", names(&piece)));
        }
    }
    Ok(())
}

fn add(all: &mut Piece, piece: Piece) {
    all.content += &piece.content;
    all.thinking += &piece.thinking;
    all.tool_calls.extend(piece.tool_calls);
}

/// Content, thinking and calls, without what is random.
fn shown(piece: &Piece) -> Value {
    let calls: Vec<Value> = piece
        .tool_calls
        .iter()
        .map(|call| {
            json!([
                call.function.index,
                call.function.name,
                call.function.arguments
            ])
        })
        .collect();
    json!({"content": piece.content, "thinking": piece.thinking, "calls": calls})
}

fn recorded_piece(value: &Value) -> Value {
    let calls = value["tool_calls"].as_array().into_iter().flatten();
    let calls: Vec<Value> = calls
        .map(|call| {
            let function = &call["function"];
            let index = function["index"].as_u64().unwrap_or_default();
            let arguments = function.get("arguments").filter(|value| !value.is_null());
            json!([
                index,
                function["name"],
                arguments.cloned().unwrap_or_else(|| json!({}))
            ])
        })
        .collect();
    json!({"content": text(value, "content"), "thinking": text(value, "thinking"), "calls": calls})
}

/// Numbers are compared by value: 1 and 1.0 are the same.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let entries = entries.into_iter();
            Value::Object(
                entries
                    .map(|(key, value)| (key.clone(), plain(value)))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}

fn same_piece(got: &Piece, want: &Value) -> Result<(), String> {
    same(
        &plain(&shown(got)).to_string(),
        &plain(&recorded_piece(want)).to_string(),
    )
}

/// Feeds the recorded steps: the sum of the outputs must be as recorded.
fn steps(setup: &Setup, case: &Value) -> Result<(), String> {
    let mut parser = setup.parser();
    let mut sum = Piece::default();
    let steps = case["steps"].as_array().unwrap();
    let fails = steps.iter().any(|step| step["error"].is_string());
    let mut run = || -> Result<(), ParseError> {
        for step in steps {
            add(&mut sum, parser.push(text(step, "input"))?);
            if step["done"].as_bool().unwrap_or_default() {
                add(&mut sum, parser.finish()?);
            }
        }
        Ok(())
    };
    match (run(), fails) {
        (Err(_), true) => Ok(()),
        (Err(error), false) => Err(error.to_string()),
        (Ok(()), true) => Err(format!("no error, {sum:?}")),
        (Ok(()), false) => same_piece(&sum, &case["total"]),
    }
}

/// Positions at which to cut a text, the same in every run.
fn cuts(text: &str, seed: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut state = seed;
    while !rest.is_empty() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let wanted = 1 + (state >> 33) % 9;
        let end = rest
            .char_indices()
            .nth(wanted)
            .map_or(rest.len(), |(at, _)| at);
        let (part, tail) = rest.split_at(end);
        parts.push(part);
        rest = tail;
    }
    parts
}

/// However the text of all steps is cut, the result is the same as in one piece, and as recorded.
fn law(setup: &Setup, case: &Value) -> Result<(), String> {
    let steps = case["steps"].as_array().unwrap();
    let whole: String = steps.iter().map(|step| text(step, "input")).collect();
    let want = setup.total([whole.as_str()]);
    let characters: Vec<String> = whole.chars().map(String::from).collect();
    let mut ways = vec![setup.total(characters.iter().map(String::as_str))];
    for seed in 1..5 {
        ways.push(setup.total(cuts(&whole, seed)));
    }
    for got in ways {
        let show = |result: &Result<Piece, ParseError>| match result {
            Ok(piece) => plain(&shown(piece)).to_string(),
            Err(_) => "an error".to_owned(),
        };
        same(&show(&got), &show(&want)).map_err(|error| format!("cut differently: {error}"))?;
    }
    let is_stable = case["split_invariant"].as_bool().unwrap_or_default();
    match (&want, case["total"].is_object()) {
        (Ok(got), true) if is_stable => same_piece(got, &case["total"]),
        _ => Ok(()),
    }
}

#[test]
fn families() {
    run_folder("parsers", |fixture, case| -> Verdict {
        let (parser, name) = (text(fixture, "parser"), text(case, "name"));
        if let Some((_, _, reason)) = SKIPPED
            .iter()
            .find(|(of, start, _)| *of == parser && name.starts_with(start))
        {
            return Verdict::Skipped(reason);
        }
        let setup = match Setup::new(fixture, case) {
            Ok(setup) => setup,
            Err(error) => return Verdict::Differs(error),
        };
        let lawful = law(&setup, case);
        let is_stable = case["split_invariant"].as_bool().unwrap_or_default()
            || case["separate_done_invariant"]
                .as_bool()
                .unwrap_or_default();
        match (steps(&setup, case), lawful) {
            (_, Err(reason)) => Verdict::Differs(reason),
            (Err(_), Ok(())) if !is_stable => {
                Verdict::Skipped("the original's result depends on how the text was cut")
            }
            (result, Ok(())) => result.into(),
        }
    });
}

#[test]
fn table() {
    let Some(fixture) = recorded::fixture("registry.json") else {
        return;
    };
    for row in fixture["parsers"].as_array().unwrap() {
        let entry = families::parser(text(row, "parser")).unwrap_or_else(|| panic!("{row}"));
        let preserved: Vec<String> = decoded(&row["preserved_tokens"]);
        assert_eq!(entry.preserved, preserved, "{}", entry.name);
        assert_eq!(
            !entry.calls.is_empty(),
            row["has_tool_support"],
            "{}",
            entry.name
        );
        assert_eq!(
            entry.thinking.is_some(),
            row["has_thinking_support"],
            "{}",
            entry.name
        );
    }
}

#[test]
fn typed_values() {
    run("parsers_typed_value.json", |case| {
        let types: Vec<String> = decoded(&case["types"]);
        let types: Vec<&str> = types.iter().map(String::as_str).collect();
        let got = typed_value(text(case, "raw"), &types);
        same(&plain(&got), &plain(&case["expected"]))
    });
}

#[test]
fn thinking() {
    run("thinking_stream.json", |case| {
        let mut parser = Thinking::new(text(case, "open"), text(case, "close"), false);
        for step in case["steps"].as_array().unwrap() {
            let piece = parser.push(text(step, "input")).unwrap();
            same_piece(&piece, step)?;
        }
        Ok(())
    });
}

#[test]
fn generic_calls() {
    run("tools_stream.json", |case| {
        let tools: Vec<ToolDefinition> = decoded(&case["tools"]);
        let mut parser = ToolCalls::new(text(case, "tag"), &tools);
        for (number, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let piece = parser.push(text(step, "input")).unwrap();
            same_piece(&piece, step).map_err(|error| format!("step {number}: {error}"))?;
        }
        let rest = parser.finish().unwrap();
        same(
            &rest.content.as_str(),
            &text(case, "remaining_content_at_end"),
        )
    });
}

#[test]
fn arguments_of_generic_calls() {
    run("tools_find_arguments.json", |case| {
        let found = find_arguments(text(case, "tool"), text(case, "buffer"));
        let got = found.map_or(Value::Null, |(arguments, _)| Value::Object(arguments));
        same(&plain(&got), &plain(&case["expected"]))
    });
}

#[test]
fn harmony_headers() {
    run("harmony_header.json", |case| {
        let want = |key| text(case, key).to_owned();
        let header = Header {
            role: want("role"),
            channel: want("channel"),
            recipient: want("recipient"),
        };
        same(&Header::parse(text(case, "input")), &header)
    });
}

#[test]
fn harmony_events() {
    run("harmony_events.json", |case| {
        let implicit = case["implicit_start"].as_bool().unwrap_or_default();
        let mut messages = Messages::new(if implicit { "<|start|>assistant" } else { "" });
        for step in case["steps"].as_array().unwrap() {
            let want: Vec<Event> = step["events"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|event| match text(event, "type") {
                    "message_start" => Event::Start,
                    "header" => Event::Header(Header {
                        role: text(event, "role").to_owned(),
                        channel: text(event, "channel").to_owned(),
                        recipient: text(event, "recipient").to_owned(),
                    }),
                    "content" => Event::Body(text(event, "content").to_owned()),
                    _ => Event::End,
                })
                .collect();
            same(&messages.push(text(step, "input")), &want)?;
        }
        Ok(())
    });
}

#[test]
fn harmony_function_names() {
    run("harmony_function_names.json", |case| {
        let mut names = FunctionNames::default();
        let inputs: Vec<String> = decoded(&case["inputs"]);
        let got: Vec<String> = inputs
            .iter()
            .map(|name| names.add(name).to_owned())
            .collect();
        same(&got, &decoded(&case["expected"]))
    });
}
