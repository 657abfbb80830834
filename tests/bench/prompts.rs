//! How long it takes to render prompts and to parse answers: `cargo bench --no-default-features`.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run has nothing to say"
)]

use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use drover::chat::Message;
use drover::families;
use drover::parser::Start;
use drover::renderer::{ChatTemplate, GoTemplate, RenderInput};
use drover::workers::{Claim, Conversation, Settings, Template, Workers};
use tokio_util::task::TaskTracker;

const GO: &str = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n";
const JINJA: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";

/// SmolLM2's.
const SMOL: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Messages of 40 words.
fn history(n_messages: usize) -> Vec<Message> {
    let text = "word ".repeat(40);
    let role = |index: usize| {
        if index.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        }
    };
    (0..n_messages)
        .map(|index| Message::text(role(index), text.clone()))
        .collect()
}

fn render(criterion: &mut Criterion) {
    let messages = history(200);
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
        let entry = families::renderer(name).unwrap();
        group.bench_function(name, |bench| bench.iter(|| (entry.render)(&input).unwrap()));
    }
    group.finish();
}

/// The cost of running a template in another process that has seen it before: in the process itself, from the messages
/// to the prompt there, and again with fewer messages.
fn work(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = Settings::new(env!("CARGO_BIN_EXE_drover").into(), Duration::from_secs(60));
    let workers = Workers::new(settings, &TaskTracker::new());
    for n_messages in [1, 10, 1000] {
        let messages = history(n_messages);
        let conversation = Conversation {
            messages: &messages,
            ..Conversation::default()
        };
        let template = Template::jinja(SMOL, String::new(), String::new()).unwrap();
        let template = Arc::new(template);
        let render = async |from| {
            let subject = Arc::new(workers.conversation(&conversation).unwrap());
            workers
                .render(&template, &subject, &Claim::default(), from)
                .await
                .unwrap()
        };
        let name = format!("SmolLM2's template over {n_messages} messages");
        let mut group = criterion.benchmark_group(name);
        let parsed = ChatTemplate::parse(SMOL, "", "").unwrap();
        let input = RenderInput {
            messages: &messages,
            ..RenderInput::default()
        };
        group.bench_function("in process", |bench| {
            bench.iter(|| parsed.render(&input).unwrap());
        });
        group.bench_function("by a worker", |bench| {
            bench.iter(|| runtime.block_on(render(0)));
        });
        let subject = Arc::new(workers.conversation(&conversation).unwrap());
        group.bench_function("again by a worker", |bench| {
            let from = n_messages / 2;
            bench.iter(|| {
                runtime
                    .block_on(workers.render(&template, &subject, &Claim::default(), from))
                    .unwrap()
            });
        });
        group.finish();
    }
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
        let entry = families::parser(name).unwrap();
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

criterion_group!(benches, render, work, parse);
criterion_main!(benches);
