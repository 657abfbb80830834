//! Random templates, run by real workers: whatever they contain, there is an answer in time, and a worker never ends
//! without a known reason.
//!
//! `PROPTEST_CASES=100000 cargo test --test workers` runs more cases.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside test functions"
)]

use std::sync::Arc;
use std::time::Duration;

use drover::chat::{Message, Think};
use drover::workers::{Claim, Conversation, Settings, Subject, Template, WorkError, Workers};
use proptest::prelude::*;
use proptest::sample::select;
use tokio::runtime::Runtime;
use tokio_util::task::TaskTracker;

/// Pieces of Jinja templates, including pieces that make them large, deep and long.
const JINJA: &[&str] = &[
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "{%- ",
    " -%}",
    "{# ",
    " #}",
    "\n",
    "a",
    "é",
    "\u{0}",
    "{% for m in messages %}",
    "{% for i in range(99999) %}",
    "{% for k, v in m|items recursive %}",
    "{% endfor %}",
    "{% if ",
    "{% elif ",
    "{% else %}",
    "{% endif %}",
    "{% set ns = namespace(x=[]) %}",
    "{% set ns.x = [ns.x] %}",
    "{% set ns.x = ns.x + ns.x %}",
    "{% set ns.x = ns %}",
    "{% set ns.x = ns.x ~ ns.x ~ 'abc' %}",
    "{% macro f(x, y=1) %}",
    "{% endmacro %}",
    "{% call f() %}",
    "{% endcall %}",
    "{{ caller() }}",
    "{{ f(f) }}",
    "{% block b %}",
    "{% endblock %}",
    "{{ self.b() }}",
    "{{ super() }}",
    "{% include 'chat' %}",
    "{% extends 'chat' %}",
    "{% generation %}",
    "{% endgeneration %}",
    "{% raw %}",
    "{% endraw %}",
    "{% filter upper %}",
    "{% endfilter %}",
    "{% break %}",
    "{% continue %}",
    "{{ loop(m) }}",
    "{{ loop.index }}",
    "{{ ns.x }}",
    "{{ ns.x|length }}",
    "{{ ns.x|tojson(indent=9) }}",
    "{{ ns.x == ns.x }}",
    "messages",
    "m",
    "m.content",
    "m['role']",
    "tools",
    "ns.x",
    "x",
    "1",
    "-1",
    "9999999999999999999999",
    "1e308",
    "0.1",
    "'a'",
    "\"b\"",
    "none",
    "true",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ",",
    ":",
    " + ",
    " - ",
    " * ",
    " / ",
    " // ",
    " % ",
    " ** ",
    " ~ ",
    " and ",
    " or ",
    " not ",
    " in ",
    " is ",
    " is not ",
    "defined",
    "iterable",
    "mapping",
    "string",
    " if ",
    " else ",
    " == ",
    " < ",
    "|",
    ".",
    "[0]",
    "[-1]",
    "[::-1]",
    "[1:99999999]",
    "|string",
    "|upper",
    "|trim",
    "|tojson",
    "|list",
    "|length",
    "|sort",
    "|unique",
    "|reverse",
    "|join('x' * 9999)",
    "|map('string')",
    "|select",
    "|batch(3)",
    "|batch(999999999)",
    "|slice(0)",
    "|indent(99999999)",
    "|replace('a', 'b' * 9999)",
    "|round(999)",
    "|int",
    "|float",
    "|first",
    "|last",
    "|groupby('role')",
    "|dictsort",
    "|attr('x')",
    "|format(1)",
    "|default(0)",
    "|items",
    "|sum",
    "|min",
    "|urlencode",
    "|escape",
    ".split('a')",
    ".strip()",
    ".replace('', 'a')",
    ".startswith('a')",
    ".get('a')",
    ".items()",
    ".keys()",
    ".count('')",
    ".find('')",
    ".format(1)",
    ".title()",
    ".splitlines()",
    "range(0, 99999, 0)",
    "strftime_now('%Y' * 99)",
    "strftime_now('%')",
    "raise_exception('a')",
    "namespace(a=1)",
    "dict(a=1)",
    "debug()",
    "'a' * 99999999",
];

/// Pieces of TEMPLATEs.
const GO: &[&str] = &[
    "{{ ",
    " }}",
    "{{- ",
    " -}}",
    "{{/* c */}}",
    "\n",
    "a",
    "é",
    "{{ range .Messages }}",
    "{{ range 99999 }}",
    "{{ range $i, $m := .Messages }}",
    "{{ if .System }}",
    "{{ else if .Prompt }}",
    "{{ else }}",
    "{{ end }}",
    "{{ with .Tools }}",
    "{{ define \"r\" }}",
    "{{ template \"r\" . }}",
    "{{ block \"b\" . }}",
    "{{ break }}",
    "{{ $x := .Prompt }}",
    "{{ $x = print $x $x }}",
    "{{ .Response }}",
    "{{ .Suffix }}",
    ".Messages",
    ".Role",
    ".Content",
    ".Tools",
    "$x",
    "$",
    ".",
    "nil",
    "true",
    "1",
    "-1",
    "0.5",
    "1e308",
    "9223372036854775807",
    "'a'",
    "\"b\"",
    "`c`",
    "(",
    ")",
    " | ",
    ", ",
    ":=",
    "=",
    "print",
    "println",
    "len",
    "index",
    "slice",
    "eq",
    "ne",
    "lt",
    "and",
    "or",
    "not",
    "json",
    "html",
    "js",
    "urlquery",
    "call",
    "currentDate",
    "toTypeScriptType",
    "printf \"%999999d\" 1",
    "printf \"%.999999f\" 0.1",
    "printf \"%.999999e\" 0.1",
    "printf \"%.999999g\" 0.1",
    "printf \"%*d\" 999999 1",
    "printf \"%[9]d %#v %+q %x %U %T\" 1 . . . .",
    "printf \"%-9999s|% x|%09d|%.0s\" .Prompt .Prompt 1 .Prompt",
    " ",
];

fn text_of(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        9 => select(pieces).prop_map(str::to_owned),
        1 => (select(pieces), 1..3000_usize).prop_map(|(piece, n)| format!("{piece}\n").repeat(n)),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

struct Bench {
    runtime: Runtime,
    workers: Workers,
    subjects: Vec<Arc<Subject>>,
}

impl Bench {
    fn new() -> Self {
        let settings = Settings {
            exe: env!("CARGO_BIN_EXE_drover").into(),
            time: Duration::from_secs(5),
            n_workers: 4,
        };
        let workers = Workers::new(settings, &TaskTracker::new());
        let messages = serde_json::json!([
            {"role": "system", "content": "s"}, {"role": "user", "content": "a b", "images": ["aGk="]},
            {"role": "assistant", "content": "", "thinking": "t", "tool_calls": [{"function":
                {"name": "f", "arguments": {"x": [1, 2.5, null, {"y": "<é>"}]}}}]},
            {"role": "tool", "content": "{}", "tool_name": "f"}, {"role": "user", "content": "c"},
        ]);
        let messages: Vec<Message> = serde_json::from_value(messages).unwrap();
        let tools = serde_json::json!([{"type": "function", "function": {"name": "f", "parameters":
            {"type": "object", "required": ["x"], "properties": {"x": {"type": ["string", "null"]}}}}}]);
        let tools: Vec<_> = serde_json::from_value(tools).unwrap();
        let conversation = Conversation {
            messages: &messages,
            tools: &tools,
            think: Some(Think::On),
        };
        let subjects = vec![
            Arc::new(workers.conversation(&conversation).unwrap()),
            Arc::new(workers.parts("before", "after", None).unwrap()),
        ];
        Self {
            runtime: Runtime::new().unwrap(),
            workers,
            subjects,
        }
    }

    fn check(&self, template: Template) -> Result<(), TestCaseError> {
        let template = Arc::new(template);
        for subject in &self.subjects {
            let claim = Claim::default();
            let rendered = self.workers.render(&template, subject, &claim, 1);
            if let Err(error) = self.runtime.block_on(rendered) {
                let is_unknown = matches!(
                    error,
                    WorkError::Ended | WorkError::Start | WorkError::Stopping | WorkError::TooMany
                );
                prop_assert!(!is_unknown, "{error:?}");
            }
        }
        Ok(())
    }
}

/// The cases start real processes, so some dozens are enough unless more are requested.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let is_asked = default.cases != 256;
    ProptestConfig {
        cases: if is_asked { default.cases } else { 48 },
        max_shrink_iters: 200,
        failure_persistence: None,
        ..default
    }
}

#[test]
fn any_text_as_a_chat_template_gives_a_result() {
    let bench = Bench::new();
    proptest!(config(), |(text in prop_oneof![9 => text_of(JINJA), 1 => any::<String>()])| {
        if let Ok(template) = Template::jinja(&text, "<s>".to_owned(), "</s>".to_owned()) {
            bench.check(template)?;
        }
    });
}

#[test]
fn any_text_as_a_template_of_a_request_gives_a_result() {
    let bench = Bench::new();
    proptest!(config(), |(text in prop_oneof![9 => text_of(GO), 1 => any::<String>()])| {
        if let Ok(template) = Template::of_request(&text) {
            bench.check(template)?;
        }
    });
}
