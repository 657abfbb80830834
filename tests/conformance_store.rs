//! Recorded answers of Ollama's own code: Modelfiles, options, durations.
//!
//! The data is next to the checkout (`../shared/testdata`, or `DROVER_TESTDATA`); without it the tests say so and pass.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside test functions"
)]

mod recorded;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drover::model::modelfile::Modelfile;
use drover::model::options::{OptionPatch, Options};
use drover::units::parse_go_duration;
use recorded::{run, same};
use serde_json::{Value, json};

#[test]
fn modelfiles() {
    run("modelfile.json", |case| {
        let parsed = match case["input_base64"].as_str() {
            Some(text) => Modelfile::decode(&STANDARD.decode(text).unwrap()),
            None => Modelfile::parse(case["input"].as_str().unwrap_or_default()),
        };
        let file = match (parsed, case["error"].as_str()) {
            (Err(error), Some(want)) => return same(&error.to_string().as_str(), &want),
            (Err(error), None) => return Err(error.to_string()),
            (Ok(_), Some(want)) => return Err(format!("no error, want {want}")),
            (Ok(file), None) => file,
        };
        let commands: Vec<Value> = file
            .commands
            .iter()
            .map(|command| match command.name.as_str() {
                "from" => json!({"name": "model", "args": command.value}),
                "parameter" => json!({"name": command.key, "args": command.value}),
                "message" => json!({"name": "message", "args": format!("{}: {}", command.key, command.value)}),
                name => json!({"name": name, "args": command.value}),
            })
            .collect();
        same(&Value::from(commands), &case["commands"])?;
        same(
            &file.to_string().as_str(),
            &case["string"].as_str().unwrap_or_default(),
        )
    });
}

#[test]
fn options() {
    run("runner_and_api/options_from_map.json", |case| {
        let layer = case["options"].as_object().unwrap();
        match (OptionPatch::parse(layer), case["error"].as_str()) {
            (Err(error), Some(want)) => same(&error.as_str(), &want),
            (Err(error), None) => Err(error),
            (Ok(_), Some(want)) => Err(format!("no error, want {want}")),
            (Ok(patch), None) => {
                let got = as_recorded(&Options::merge(&[&patch]));
                let want = case["expected"].as_object().unwrap();
                want.iter()
                    .try_for_each(|(key, want)| same(&comparable(&got[key]), &comparable(want)))
            }
        }
    });
}

/// Ollama has no "unset" for some options, so its defaults are filled in.
fn as_recorded(options: &Options) -> Value {
    json!({
        "draft_num_predict": options.draft_num_predict.unwrap_or(4),
        "frequency_penalty": options.frequency_penalty,
        "main_gpu": options.main_gpu,
        "min_p": options.min_p,
        "num_batch": options.num_batch.unwrap_or(512),
        "num_ctx": options.num_ctx.unwrap_or(4096),
        "num_gpu": options.num_gpu,
        "num_keep": options.num_keep,
        "num_predict": options.num_predict,
        "num_thread": options.num_thread,
        "presence_penalty": options.presence_penalty,
        "repeat_last_n": options.repeat_last_n,
        "repeat_penalty": options.repeat_penalty,
        "seed": options.seed,
        "stop": options.stop,
        "temperature": options.temperature,
        "top_k": options.top_k,
        "top_p": options.top_p,
        "typical_p": options.typical_p,
        "use_mmap": options.use_mmap,
    })
}

/// Numbers by value in single precision; `null` lists as empty ones.
fn comparable(value: &Value) -> String {
    match value {
        Value::Null => "[]".to_owned(),
        Value::Number(number) => format!("{:.4}", number.as_f64().unwrap()),
        other => other.to_string().replace("null", "[]"),
    }
}

#[test]
fn durations() {
    run("runner_and_api/keep_alive.json", |case| {
        let Some(text) = case["json"].as_str() else {
            return Ok(());
        };
        match (parse_go_duration(text), case["error"].as_str()) {
            (Ok(nanos), None) => same(&Some(nanos), &case["nanoseconds"].as_i64()),
            (Err(error), Some(want)) => same(&error.as_str(), &want),
            (got, want) => Err(format!("got {got:?}, want {want:?}")),
        }
    });
}
