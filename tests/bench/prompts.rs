//! How long prompts take to make and answers to read: `cargo bench --no-default-features`.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run has nothing to say"
)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use drover::chat::Message;
use drover::parser::{Start, family};
use drover::renderer::{ChatTemplate, GoTemplate, RenderInput, builtin};

const GO: &str = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n";
const JINJA: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";

/// 200 messages of 40 words.
fn history() -> Vec<Message> {
    let text = "word ".repeat(40);
    let role = |index: usize| {
        if index.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        }
    };
    (0..200)
        .map(|index| Message::text(role(index), text.clone()))
        .collect()
}

fn render(criterion: &mut Criterion) {
    let messages = history();
    let input = RenderInput {
        messages: &messages,
        ..RenderInput::default()
    };
    let mut group = criterion.benchmark_group("render 200 messages");
    let go = GoTemplate::parse(GO).unwrap();
    group.bench_function("TEMPLATE", |bench| {
        bench.iter(|| go.render(&input).unwrap());
    });
    let jinja = ChatTemplate::parse(JINJA, "", "").unwrap();
    group.bench_function("Jinja", |bench| {
        bench.iter(|| jinja.render(&input).unwrap());
    });
    for name in ["qwen3.5", "gemma4-large"] {
        let entry = builtin::find(name).unwrap();
        group.bench_function(name, |bench| bench.iter(|| (entry.render)(&input).unwrap()));
    }
    group.finish();
}

fn parse(criterion: &mut Criterion) {
    let mut tokens = vec!["<|channel|>", "analysis", "<|message|>"];
    tokens.extend(["think", " about", " it", ".\n"].repeat(125));
    tokens.extend([
        "<|end|>",
        "<|start|>",
        "assistant",
        "<|channel|>",
        "final",
        "<|message|>",
    ]);
    tokens.extend(["Here", " you", " are", ".\n"].repeat(125));
    let mut group = criterion.benchmark_group("parse a token");
    group.throughput(Throughput::Elements(tokens.len() as u64));
    for name in ["harmony", "qwen3.5", "gemma4"] {
        let entry = family::find(name).unwrap();
        group.bench_function(name, |bench| {
            bench.iter_batched(
                || (entry.new)(&Start::default()),
                |mut parser| {
                    for token in &tokens {
                        parser.push(token).unwrap();
                    }
                    parser.finish().unwrap()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, render, parse);
criterion_main!(benches);
