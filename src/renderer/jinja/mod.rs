//! Jinja chat templates, as Hugging Face's renderer and llama.cpp run them.
//!
//! The engine is minijinja with the shims that chat templates expect ([`functions`]). Fuel bounds a run:
//! loops over hostile histories end with an error instead of a hang.

mod functions;
mod generation;
mod messages;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, context};

use jiff::ZonedDateTime;
use serde_json::{Value, json};

use super::{RenderError, RenderInput};
use crate::chat::{Message, Think};

/// The most instructions of one rendering (each can cost some 64 bytes); a history of a thousand messages
/// needs well under a million.
const FUEL: u64 = 4_000_000;

/// The most lines, and the most bytes of a line: minijinja counts both in 16 bits, up to one past the end.
const MAX_LINES: usize = 65_000;

/// A parsed template with the texts of the vocabulary's special tokens.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
    /// The template supports the role `developer`; for others it becomes `system`.
    keeps_developer: bool,
}

impl ChatTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// Names the line and what is wrong with it.
    pub fn parse(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, RenderError> {
        if source.lines().count() > MAX_LINES || source.lines().any(|line| line.len() > MAX_LINES) {
            let message = format!("more than {MAX_LINES} lines or bytes of a line");
            return Err(RenderError(message));
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(|error| describe(&error))?);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        functions::install(&mut environment);
        environment
            .add_template_owned("chat", generation::without_tags(&with_newlines(source)))
            .map_err(|error| describe(&error))?;
        Ok(Self {
            environment,
            bos_token: bos_token.to_owned(),
            eos_token: eos_token.to_owned(),
            keeps_developer: source.contains("developer"),
        })
    }

    /// Renders a prompt that ends where the assistant's answer begins, or, when the last message
    /// is the assistant's, where that message can be continued.
    ///
    /// A template that refuses the history (no system role, …) is tried once more with the system
    /// text folded into the first user message.
    ///
    /// # Errors
    /// The template's own error (`raise_exception`), or what failed in it.
    pub fn render(&self, input: &RenderInput<'_>) -> Result<String, RenderError> {
        let first = self.render_list(input.messages, input);
        let Err(error) = first else { return first };
        match messages::fold_system(input.messages) {
            Some(folded) => self.render_list(&folded, input).map_err(|_| error),
            None => Err(error),
        }
    }

    fn render_list(
        &self,
        list: &[Message],
        input: &RenderInput<'_>,
    ) -> Result<String, RenderError> {
        let (list, prefill) = super::prefill(list);
        let mut variables = json!({
            "messages": messages::to_values(list, self.keeps_developer),
            "tools": if input.tools.is_empty() { Value::Null } else { json!(input.tools) },
            "add_generation_prompt": true,
            "enable_thinking": input.think.is_none_or(Think::is_on),
        });
        functions::add_dates(&mut variables, input.now);
        if let Some(think) = input.think {
            variables["thinking"] = json!(think.is_on());
            if let Think::Level(level) = think {
                variables["reasoning_effort"] = json!(level.as_str());
            }
        }
        let mut prompt = self.run(&variables, input.now)?;
        prompt.push_str(prefill);
        Ok(prompt)
    }

    /// Runs the template over variables as Hugging Face's renderer passes them.
    ///
    /// # Errors
    /// The template's own error (`raise_exception`), or what failed in it.
    pub fn run(
        &self,
        variables: &Value,
        now: Option<&ZonedDateTime>,
    ) -> Result<String, RenderError> {
        let template = self
            .environment
            .get_template("chat")
            .map_err(|error| describe(&error))?;
        let variables = context! {
            bos_token => self.bos_token.as_str(),
            eos_token => self.eos_token.as_str(),
            strftime_now => functions::strftime_now(now),
            ..minijinja::Value::from(Serde(variables)),
        };
        template.render(variables).map_err(|error| describe(&error))
    }
}

/// Jinja reads CRLF and CR as a newline.
fn with_newlines(source: &str) -> Cow<'_, str> {
    if source.contains('\r') {
        Cow::Owned(source.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(source)
    }
}

fn describe(error: &minijinja::Error) -> RenderError {
    let reason = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => RenderError(format!("{reason} (line {line})")),
        None => RenderError(reason),
    }
}
