//! Answers in `DeepSeek`'s format, with a call's arguments in a code fence.

use crate::chat::ToolCall;
use crate::families::deepseek::parser::{self, SEPARATOR, Variant};
use crate::families::shared::call::{call, object};
use crate::parser::{Parser, Start};

pub(super) const PRESERVED: &[&str] = &[
    "</think>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    SEPARATOR,
    "<｜tool▁output▁begin｜>",
    "<｜tool▁output▁end｜>",
    OUTPUTS,
    OUTPUTS_END,
];

const OUTPUTS: &str = "<｜tool▁outputs▁begin｜>";
const OUTPUTS_END: &str = "<｜tool▁outputs▁end｜>";

static COGITO: Variant = Variant {
    output: [OUTPUTS, OUTPUTS_END],
    shows_output: false,
    read,
};

pub(in crate::families) fn cogito(start: &Start<'_>) -> Box<dyn Parser> {
    parser::new(&COGITO, start, start.tools.is_empty())
}

/// `function<sep>NAME`, then the arguments in a fence.
fn read(raw: &str) -> Option<ToolCall> {
    let (_, rest) = raw.split_once(SEPARATOR)?;
    let (name, rest) = rest.split_once("\n```json\n")?;
    let (arguments, _) = rest.split_once("\n```")?;
    Some(call(name.trim(), object(arguments).ok()?))
}
