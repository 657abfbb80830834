//! Recorded decisions around a prompt: what is cut, what is kept, how long an answer may be.
//!
//! The data is next to the checkout (`../shared/testdata`, or `DROVER_TESTDATA`); without it the tests say so and pass.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside test functions"
)]

mod recorded;

use std::time::Duration;

use drover::chat::{Message, Think, ToolDefinition};
use drover::config::KeepAlive;
use drover::create::detect;
use drover::dialect::ollama::keep_alive;
use drover::families::{self, BuiltinRenderer};
use drover::inference::chat_format;
use drover::inference::truncate::{self, Search};
use drover::protocol::cut;
use drover::renderer::{GoTemplate, RenderInput, images, keep_from};
use recorded::{run, same, same_text};
use serde_json::Value;

fn decoded<T: serde::de::DeserializeOwned + Default>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

/// A number as the expected type; a number out of range becomes the nearest one, as in requests.
fn number<T: Bounded>(case: &Value, key: &str) -> T {
    let number = case[key].as_f64().unwrap();
    case[key].as_i64().map_or_else(|| T::nearest(number), T::of)
}

trait Bounded: TryFrom<i64> {
    const LEAST: Self;
    const MOST: Self;

    fn of(number: i64) -> Self {
        let nearest = if number < 0 { Self::LEAST } else { Self::MOST };
        Self::try_from(number).unwrap_or(nearest)
    }

    /// For numbers beyond 64 bits.
    fn nearest(number: f64) -> Self {
        if number < 0.0 {
            Self::LEAST
        } else {
            Self::MOST
        }
    }
}

macro_rules! bounded {
    ($($kind:ty)*) => {
        $(impl Bounded for $kind {
            const LEAST: Self = <$kind>::MIN;
            const MOST: Self = <$kind>::MAX;
        })*
    };
}

bounded!(i32 i64 u32 usize);

/// The chat format of a case.
enum ChatFormat {
    Renderer(&'static BuiltinRenderer),
    Template(GoTemplate),
}

impl ChatFormat {
    fn of(case: &Value) -> Self {
        match case["renderer"].as_str().unwrap() {
            "" => Self::Template(GoTemplate::parse(case["template"].as_str().unwrap()).unwrap()),
            name => Self::Renderer(families::renderer(name).unwrap()),
        }
    }

    fn render(&self, input: &RenderInput<'_>) -> String {
        match self {
            Self::Renderer(entry) => (entry.render)(input).unwrap(),
            Self::Template(template) => {
                let messages = images::tagged(input.messages);
                let messages = &messages;
                template
                    .render(&RenderInput { messages, ..*input })
                    .unwrap()
            }
        }
    }
}

#[test]
fn history() {
    run("prompt_truncation.json", |case| {
        let messages: Vec<Message> = decoded(&case["messages"]);
        let tools: Vec<ToolDefinition> = decoded(&case["tools"]);
        let format = ChatFormat::of(case);
        let n_ctx: usize = number(case, "num_ctx");
        let prompt = |from| {
            format.render(&RenderInput {
                messages: &keep_from(&messages, from),
                tools: &tools,
                think: Think::from_json(&case["think"]).unwrap(),
                now: None,
            })
        };
        if case["truncate"] == false {
            return same_text(&prompt(0), case["expected"].as_str().unwrap());
        }
        let mut search = Search::new(&messages);
        while let Some(from) = search.next() {
            let n_image_tokens = match case["has_projector"].as_bool() {
                Some(true) => truncate::image_tokens(&messages, from),
                _ => 0,
            };
            let n_tokens = prompt(from).split_whitespace().count() + n_image_tokens;
            search.tell(from, n_tokens <= n_ctx);
        }
        same_text(&prompt(search.found()), case["expected"].as_str().unwrap())
    });
}

#[test]
fn long_prompts() {
    run("runner_and_api/context_shift_prompt_limit.json", |case| {
        let limit = cut::prompt_limit(number(case, "num_ctx"), number(case, "num_keep"));
        same(&limit, &number(case, "expected"))
    });
}

#[test]
fn lengths_of_answers() {
    run("runner_and_api/bounded_num_predict.json", |case| {
        let n_predict: i64 = number(case, "num_predict");
        let bounded = drover::inference::bounded_n_predict(n_predict, number(case, "num_ctx"));
        let expected: i64 = number(case, "expected");
        // Negative = no limit.
        same(&bounded, &(expected >= 0).then(|| u32::of(expected)))
    });
}

#[test]
fn tokens_of_tool_tags() {
    run("runner_and_api/preserved_token_for_tool_tag.json", |case| {
        let tag = case["tool_call_tag"].as_str().unwrap();
        let wanted = case["expected"].as_array();
        let wanted: Vec<&str> = wanted
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        same(
            &chat_format::preserved_of_tag(tag).into_iter().collect(),
            &wanted,
        )
    });
}

#[test]
fn think() {
    run("runner_and_api/think_value.json", |case| {
        match (Think::from_json(&case["json"]), case["error"].as_str()) {
            (Err(error), Some(want)) => same(&error.as_str(), &want),
            (Err(error), None) => Err(error),
            (Ok(_), Some(want)) => Err(format!("no error, want {want}")),
            (Ok(think), None) => same(
                &think.is_some_and(Think::is_on),
                &case["bool"].as_bool().unwrap_or_default(),
            ),
        }
    });
}

#[test]
fn keep_alives() {
    run("runner_and_api/keep_alive.json", |case| {
        match (keep_alive(&case["json"]), case["error"].as_str()) {
            (Err(error), Some(want)) => same(&error.message.as_str(), &want),
            (Err(error), None) => Err(error.message),
            (Ok(_), Some(want)) => Err(format!("no error, want {want}")),
            (Ok(got), None) => {
                // The original's "forever" is the largest number, or one that has overflowed.
                let wanted = match number::<i64>(case, "nanoseconds") {
                    i64::MAX | ..0 => KeepAlive::Forever,
                    nanos => KeepAlive::For(Duration::from_nanos(nanos.unsigned_abs())),
                };
                same(&got, &Some(wanted))
            }
        }
    });
}

#[test]
fn known_templates() {
    for file in ["template_named.json", "template_named_jsonl.json"] {
        run(file, |case| {
            let known = detect::nearest(case["chat_template"].as_str().unwrap());
            if case["error"].is_string() {
                return same(&known.map(|known| known.name), &None);
            }
            same(&known.map(|known| known.name), &case["expected"].as_str())?;
            let stop: Vec<String> = decoded(&case["stop"]);
            same(&known.map(detect::Known::stop), &Some(stop))
        });
    }
}
