//! Any text is a Jinja template or an error. A text that is too deep or too large for a process ends its worker
//! (`drover::workers`), so inputs are short here and the stack is a worker's.
#![no_main]

use drover::chat::Message;
use drover::renderer::{ChatTemplate, RenderInput};
use libfuzzer_sys::fuzz_target;

const STACK_BYTES: usize = 256 << 20;

fuzz_target!(|text: &str| {
    if text.len() > 4096 {
        return;
    }
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(STACK_BYTES);
        let rendering = worker.spawn_scoped(scope, || render(text));
        rendering.unwrap().join().unwrap();
    });
});

fn render(text: &str) {
    let Ok(template) = ChatTemplate::parse(text, "<s>", "</s>") else {
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
}
