//! Any text is a template or an error, and what it renders ends in time.
#![no_main]

use drover::chat::Message;
use drover::renderer::{GoTemplate, RenderInput};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(template) = GoTemplate::parse(text) else {
        return;
    };
    let messages = [
        Message::text("system", "s"),
        Message::text("user", "a"),
        Message::text("assistant", "b"),
        Message::text("user", "c"),
    ];
    let _ = template.render(&RenderInput {
        messages: &messages,
        ..RenderInput::default()
    });
});
