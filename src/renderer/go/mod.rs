//! Prompts from a model's TEMPLATE, which is written in Go's template language.
//!
//! Templates that use `.Messages` are rendered once over the conversation. Older ones, with `.Prompt` and
//! `.Response`, are rendered once for each exchange, the last time only up to where the answer begins.

mod collate;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;

use super::{RenderError, RenderInput, images};
use crate::chat::{Message, Think, ThinkLevel};
use crate::template::{ExecError, Template, Value};

pub use collate::collate;

/// The TEMPLATE of a model without any template: the prompt is used unchanged.
pub const PROMPT_ALONE: &str = "{{ .Prompt }}";

/// Renders a prompt for a model without a template.
///
/// # Errors
/// None known; all renderers have this signature.
pub fn prompt_alone(input: &RenderInput<'_>) -> Result<String, RenderError> {
    GoTemplate::parse(PROMPT_ALONE)?.render(&RenderInput {
        messages: &images::tagged(input.messages),
        ..*input
    })
}

/// A parsed TEMPLATE with what its analysis found.
#[derive(Debug, Clone)]
pub struct GoTemplate {
    template: Template,
    /// The part before an answer, for rendering exchange by exchange.
    until_response: Option<Template>,
    variables: BTreeSet<String>,
    thinking_tags: (String, String),
    tool_tag: String,
}

/// The input of a prompt with a suffix, or of one without a conversation.
#[derive(Debug, Clone, Copy, Default)]
pub struct PromptParts<'a> {
    pub system: &'a str,
    pub prompt: &'a str,
    pub suffix: &'a str,
    pub think: Option<Think>,
}

impl GoTemplate {
    /// Parses and analyses a text.
    ///
    /// # Errors
    /// Names the line and the mistake.
    pub fn parse(text: &str) -> Result<Self, RenderError> {
        let mut template = Template::parse(text).map_err(|error| RenderError(error.to_string()))?;
        let undefined = |message: &str| RenderError(message.to_owned());
        let mut variables = template.variables().map_err(undefined)?;
        if !variables.contains("messages") && !variables.contains("response") {
            template.append_response();
            variables.insert("response".to_owned());
        }
        let is_legacy = !variables.contains("messages");
        Ok(Self {
            until_response: is_legacy.then(|| template.up_to_response()),
            thinking_tags: template.thinking_tags(),
            tool_tag: template.tool_tag(),
            template,
            variables,
        })
    }

    /// The names that the template uses, in lower case.
    pub fn variables(&self) -> &BTreeSet<String> {
        &self.variables
    }

    /// Whether the template uses a name.
    pub fn uses(&self, name: &str) -> bool {
        self.variables.contains(name)
    }

    /// The tags around an assistant's thinking, if the template shows it.
    pub fn thinking_tags(&self) -> Option<(&str, &str)> {
        let (open, close) = &self.thinking_tags;
        (!open.is_empty() && !close.is_empty()).then_some((open, close))
    }

    /// The text that begins a tool call; `{` if the template has none.
    pub fn tool_tag(&self) -> &str {
        &self.tool_tag
    }

    /// Renders exchange by exchange although the template uses `.Messages`: for comparisons.
    pub fn set_legacy(&mut self) {
        self.until_response = Some(self.template.up_to_response());
    }

    /// The source text.
    pub fn source(&self) -> &str {
        self.template.source()
    }

    /// Renders a conversation; a trailing message of the assistant can be continued.
    ///
    /// # Errors
    /// A field that does not exist, a function that fails, a limit that is reached.
    pub fn render(&self, input: &RenderInput<'_>) -> Result<String, RenderError> {
        let (system, messages) = collate(input.messages);
        match &self.until_response {
            Some(last) => self.render_exchanges(last, &messages, input.think),
            None => self.render_messages(&system, &messages, input),
        }
    }

    /// Renders a prompt with the text that follows the answer (its suffix).
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_parts(&self, parts: &PromptParts<'_>) -> Result<String, RenderError> {
        if !parts.prompt.is_empty() && !parts.suffix.is_empty() {
            let mut values = thinking(parts.think);
            values.extend([
                entry("Prompt", parts.prompt),
                entry("Suffix", parts.suffix),
                entry("Response", ""),
            ]);
            return self.run(&self.template, values);
        }
        let system = (!parts.system.is_empty()).then(|| Message::text("system", parts.system));
        let user = Message::text("user", parts.prompt);
        let messages: Vec<Message> = system.into_iter().chain([user]).collect();
        self.render(&RenderInput {
            messages: &messages,
            think: parts.think,
            ..RenderInput::default()
        })
    }

    fn render_messages(
        &self,
        system: &str,
        messages: &[Message],
        input: &RenderInput<'_>,
    ) -> Result<String, RenderError> {
        let mut values = thinking(input.think);
        values.extend([
            entry("System", system),
            ("Messages".to_owned(), values::messages(messages)),
            ("Tools".to_owned(), values::tools(input.tools)),
            entry("Response", ""),
        ]);
        self.run(&self.template, values)
    }

    /// Renders a template for single exchanges; `last` renders the last exchange.
    fn render_exchanges(
        &self,
        last: &Template,
        messages: &[Message],
        think: Option<Think>,
    ) -> Result<String, RenderError> {
        let mut text = String::new();
        let mut pending = Exchange::default();
        for message in messages {
            let content = message.content.as_str();
            match message.role.as_str() {
                "system" => {
                    if !pending.prompt.is_empty() || !pending.response.is_empty() {
                        text += &self.run(&self.template, pending.values(think))?;
                        pending = Exchange::default();
                    }
                    pending.system = content;
                }
                "user" => {
                    if !pending.response.is_empty() {
                        text += &self.run(&self.template, pending.values(think))?;
                        pending = Exchange::default();
                    }
                    pending.prompt = content;
                }
                "assistant" => pending.response = content,
                _ => {}
            }
        }
        text += &self.run(last, pending.values(think))?;
        Ok(text)
    }

    #[expect(clippy::unused_self, reason = "reads as an action of the template")]
    fn run(
        &self,
        template: &Template,
        values: Vec<(String, Value)>,
    ) -> Result<String, RenderError> {
        let failed = |error: ExecError| RenderError(error.to_string());
        template.render(&Value::map(values)).map_err(failed)
    }
}

/// One exchange of an older template.
#[derive(Debug, Default)]
struct Exchange<'a> {
    system: &'a str,
    prompt: &'a str,
    response: &'a str,
}

impl Exchange<'_> {
    fn values(&self, think: Option<Think>) -> Vec<(String, Value)> {
        let mut values = thinking(think);
        values.extend([
            entry("System", self.system),
            entry("Prompt", self.prompt),
            entry("Response", self.response),
        ]);
        values
    }
}

fn entry(name: &str, text: &str) -> (String, Value) {
    (name.to_owned(), text.into())
}

/// The variables about thinking; plain "on" has a level, too.
fn thinking(think: Option<Think>) -> Vec<(String, Value)> {
    let level = match think {
        None | Some(Think::Off) => "",
        Some(Think::On) => ThinkLevel::Medium.as_str(),
        Some(Think::Level(level)) => level.as_str(),
    };
    vec![
        ("Think".to_owned(), think.is_some_and(Think::is_on).into()),
        entry("ThinkLevel", level),
        ("IsThinkSet".to_owned(), think.is_some().into()),
    ]
}
