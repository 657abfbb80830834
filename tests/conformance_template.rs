//! Recorded answers of Go's template language with Ollama's functions.
//!
//! The data is next to the checkout (`../shared/testdata`, or `DROVER_TESTDATA`); without it the test says so and
//! passes.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside test functions"
)]

mod recorded;

use drover::chat::typed::{Spelling, TypedProperty, TypedTool};
use drover::chat::{Message, Think, ToolDefinition};
use drover::config::values::tri_state;
use drover::families;
use drover::families::capabilities::{Sources, detect};
use drover::model::gguf::{self, Metadata};
use drover::renderer::RenderInput;
use drover::renderer::go::{GoTemplate, PromptParts, collate};
use drover::renderer::select::{Offer, Path, jinja_round_trip, round_trip};
use drover::template::Template;
use recorded::{Verdict, run, run_folder, same, same_text};
use serde_json::{Value, json};

/// The result of a case: a text, or the stage and the message of a failure.
fn outcome(case: &Value) -> Result<String, (&'static str, String)> {
    let text = case["template"].as_str().unwrap_or_default();
    let template = Template::parse(text).map_err(|error| ("parse", error.to_string()))?;
    template
        .render(&(&case["data"]).into())
        .map_err(|error| ("execute", error.to_string()))
}

#[test]
fn the_language() {
    run("gotemplate_conformance.json", |case| {
        let got = outcome(case);
        let want = match case["error"].as_str() {
            Some(error) => Err((case["stage"].as_str().unwrap(), error.to_owned())),
            None => Ok(case["expected"].as_str().unwrap_or_default().to_owned()),
        };
        if got == want {
            Ok(())
        } else {
            Err(format!("got {got:?}, want {want:?}"))
        }
    });
}

fn decoded<T: serde::de::DeserializeOwned + Default>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

/// The `think` of a case, from its three fields.
fn think(case: &Value) -> Option<Think> {
    if !case["is_think_set"].as_bool().unwrap_or_default() {
        return None;
    }
    let value = match case["think_level"].as_str().unwrap_or_default() {
        "" => case["think"].clone(),
        level => level.into(),
    };
    Think::from_json(&value).unwrap()
}

fn execute(template: &str, case: &Value) -> Result<String, String> {
    let mut template = GoTemplate::parse(template).map_err(|error| error.to_string())?;
    if case["force_legacy"].as_bool().unwrap_or_default() {
        template.set_legacy();
    }
    let messages: Vec<Message> = decoded(&case["messages"]);
    let tools: Vec<ToolDefinition> = decoded(&case["tools"]);
    let text = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
    let (prompt, suffix) = (text("prompt"), text("suffix"));
    let result = if !prompt.is_empty() && !suffix.is_empty() {
        template.render_parts(&PromptParts {
            prompt: &prompt,
            suffix: &suffix,
            think: think(case),
            ..PromptParts::default()
        })
    } else {
        template.render(&RenderInput {
            messages: &messages,
            tools: &tools,
            think: think(case),
            ..RenderInput::default()
        })
    };
    result.map_err(|error| error.to_string())
}

#[test]
fn execution() {
    run_folder("template_exec", |fixture, case| -> Verdict {
        let template = case["template"].as_str().or(fixture["template"].as_str());
        let got = execute(template.unwrap(), case);
        let error = case["error"].as_str().unwrap_or_default();
        if error.ends_with("is not a defined function") {
            return Verdict::Skipped("functions stay available before the answer");
        }
        if case["stage"] == "panic" {
            return Verdict::Skipped("the original crashes, the branch is cut properly");
        }
        match (got, case["expected"].as_str()) {
            (Ok(got), Some(want)) => same_text(&got, want).into(),
            (Ok(got), None) => Err(format!("no error, but {got:?}")).into(),
            (Err(error), Some(_)) => Err(error).into(),
            (Err(_), None) => Verdict::Same,
        }
    });
}

#[test]
fn variables() {
    run("template_vars.json", |case| {
        let template = GoTemplate::parse(case["template"].as_str().unwrap_or_default());
        match (template, case["vars"].as_array()) {
            (Ok(template), Some(want)) => {
                let got: Vec<Value> = template
                    .variables()
                    .iter()
                    .map(|name| name.as_str().into())
                    .collect();
                same(&got, want)
            }
            (Err(error), Some(_)) => Err(error.to_string()),
            (Ok(_), None) if case["error"].is_null() => Ok(()),
            (Ok(_), None) => Err("no error".to_owned()),
            (Err(_), None) => Ok(()),
        }
    });
}

#[test]
fn collation() {
    run("template_collate.json", |case| {
        let messages: Vec<Message> = decoded(&case["messages"]);
        let want: Vec<Message> = decoded(&case["collated"]);
        let (system, collated) = collate(&messages);
        same(
            &system.as_str(),
            &case["system"].as_str().unwrap_or_default(),
        )?;
        same(&collated, &want)
    });
}

#[test]
fn thinking_tags() {
    run("thinking_infer.json", |case| {
        let template = Template::parse(case["template"].as_str().unwrap_or_default())
            .map_err(|error| error.to_string())?;
        let want = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
        same(
            &template.thinking_tags(),
            &(want("expected_open"), want("expected_close")),
        )
    });
}

#[test]
fn tool_tags() {
    run("tools_tag.json", |case| {
        let template = Template::parse(case["template"].as_str().unwrap_or_default())
            .map_err(|error| error.to_string())?;
        let want = case["expected"].as_str().unwrap_or_default();
        same_text(&template.tool_tag(), want)
    });
}

#[test]
fn tools_as_json() {
    run("runner_and_api/tool_remarshal.json", |case| {
        let tool: ToolDefinition = decoded(&case["tool"]);
        let got = TypedTool::from(&tool).json(Spelling::Escaped);
        same(
            &got.as_str(),
            &case["marshalled"].as_str().unwrap_or_default(),
        )
    });
}

#[test]
fn properties_of_tools() {
    run("runner_and_api/tool_property.json", |case| {
        let property = &case["property"];
        let schema = property.as_object().cloned().unwrap_or_default();
        let typed = TypedProperty::new(&schema);
        let want = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
        same(&typed.json(Spelling::Escaped), &want("remarshalled"))?;
        same(&typed.kind_text(), &want("type_string"))?;
        let tool = json!({"type": "function", "function": {"name": "f",
            "parameters": {"type": "object", "properties": {"p": property}}}});
        let template = "{{ range .Tools }}{{ range .Function.Parameters.Properties }}\
            {{ toTypeScriptType . }}{{ end }}{{ end }}{{ range .Messages }}{{ end }}";
        let got = execute(template, &json!({"tools": [tool]}))?;
        same(&got, &want("typescript"))
    });
}

#[test]
fn selection() {
    run("template_selection.json", |case| {
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let template = match case["go_template"].as_str() {
            Some(text) => Some(GoTemplate::parse(text).map_err(|error| error.to_string())?),
            None => None,
        };
        let family = text("model_family");
        let source = template.as_ref().map(GoTemplate::source);
        let family_parser = source.and_then(|source| families::parser_for_template(family, source));
        let offer = Offer {
            template: template.as_ref(),
            jinja: text("chat_template"),
            renderer: text("renderer"),
            parser: text("parser"),
            has_family_parser: family_parser.is_some(),
            wants_template: tri_state(text("OLLAMA_GO_TEMPLATE")),
        };
        let path = offer.path();
        let selected = match path {
            Path::Renderer if offer.parser.is_empty() => "renderer",
            Path::Renderer => "renderer_parser",
            Path::Parser => "parser",
            Path::FamilyParser => "harmony",
            Path::GoTemplate => "go_template",
            Path::Jinja => "gguf_chat_template",
            Path::None => "none",
        };
        let want = &case["expected"];
        same(&selected, &want["selected"].as_str().unwrap())?;
        let flag = |key: &str| want[key].as_bool().unwrap_or_default();
        same(&path.is_rendered(), &flag("rendered_by_us"))?;
        same(&offer.prefers_jinja(), &flag("prefer_chat_template"))?;
        same(
            &jinja_round_trip(offer.jinja),
            &flag("chat_template_tool_roundtrip"),
        )?;
        let round_trips = template.as_ref().is_some_and(round_trip);
        same(&round_trips, &flag("go_template_tool_roundtrip"))?;
        let parser = families::parser(offer.parser)
            .map_or(Vec::new(), families::BuiltinParser::capabilities);
        let mut metadata = Metadata::default();
        let jinja = gguf::Value::Text(offer.jinja.into());
        let key = "tokenizer.chat_template".into();
        metadata.values.insert(key, jinja);
        let capabilities = detect(&Sources {
            gguf: Some(&metadata),
            family,
            uses_jinja: !path.is_rendered(),
            template: &offer.template_capabilities(),
            parser: &parser,
            ..Sources::default()
        });
        let got: Vec<Value> = capabilities
            .iter()
            .map(|found| found.as_str().into())
            .collect();
        same(&Value::Array(got), &want["capabilities"])
    });
}
