//! How a model is spoken to and understood: its template, its parser, its tags. Made once per model.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::InferenceError;
use super::prepare::internal;
use crate::chat::{Message, Think, ToolDefinition};
use crate::model::gguf::Metadata;
use crate::parser::{Parser, Passthrough, Start, Then, Thinking, ToolCalls, family, overlap};
use crate::protocol::{Exempt, ThinkingTags};
use crate::renderer::select::{Offer, Path};
use crate::renderer::{ChatTemplate, GoTemplate, RenderError, RenderInput, builtin, images};
use crate::store::Model;

/// Voices by the digest of the manifest, which everything in them depends on.
#[derive(Debug, Default)]
pub(super) struct VoiceCache {
    voices: Mutex<HashMap<String, Arc<Voice>>>,
    /// `OLLAMA_GO_TEMPLATE`.
    wants_template: Option<bool>,
}

/// Voices kept; beyond it the cache starts anew.
const MAX_CACHED: usize = 64;

impl VoiceCache {
    pub(super) fn new(wants_template: Option<bool>) -> Self {
        Self {
            wants_template,
            ..Self::default()
        }
    }

    /// Returns the model's voice. Parses templates: not for the async runtime's own threads.
    pub(super) fn get(&self, model: &Model, metadata: &Metadata) -> Arc<Voice> {
        let lock = || self.voices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(voice) = lock().get(&model.digest) {
            return Arc::clone(voice);
        }
        let voice = Arc::new(Voice::new(model, metadata, self.wants_template));
        let mut voices = lock();
        if voices.len() >= MAX_CACHED {
            voices.clear();
        }
        voices.insert(model.digest.clone(), Arc::clone(&voice));
        voice
    }
}

/// A conversation that is to be rendered.
#[derive(Debug, Default)]
pub(super) struct RenderRequest {
    pub(super) messages: Vec<Message>,
    pub(super) tools: Vec<ToolDefinition>,
    pub(super) think: Option<Think>,
}

/// How a model is spoken to and understood.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) path: Path,
    template: Template,
    /// The TEMPLATE: also for prompts with a suffix, and for the tags of thinking and tools.
    go: Option<GoTemplate>,
    /// A built-in parser, named by the model or recognised by its template.
    pub(super) parser: Option<&'static family::Entry>,
}

/// What makes the prompt.
#[derive(Debug)]
enum Template {
    Builtin(&'static builtin::Entry),
    Go,
    Jinja(Box<ChatTemplate>),
    /// There is one, but it cannot be used: the text says why.
    Broken(String),
}

impl Voice {
    fn new(model: &Model, metadata: &Metadata, wants_template: Option<bool>) -> Self {
        let name = model.name.short();
        let parsed = model.template.as_deref().map(GoTemplate::parse);
        let mut broken = None;
        let go = match parsed {
            Some(Ok(template)) => Some(template),
            Some(Err(error)) => {
                tracing::warn!(model = %name, %error, "the TEMPLATE of this model cannot be used");
                broken = Some(format!(
                    "model '{name}': the TEMPLATE cannot be used: {error}"
                ));
                None
            }
            None => None,
        };
        let jinja = metadata
            .string("tokenizer.chat_template")
            .unwrap_or_default();
        let config = &model.config;
        let offer = Offer {
            template: go.as_ref(),
            jinja,
            renderer: &config.renderer,
            parser: &config.parser,
            family: &config.model_family,
            wants_template,
        };
        let path = offer.path();
        let bos = special(metadata, "tokenizer.ggml.bos_token_id");
        let template = match path {
            Path::Renderer => renderer(model),
            Path::Parser | Path::Harmony | Path::GoTemplate if go.is_some() => Template::Go,
            _ => match broken.filter(|_| jinja.is_empty()) {
                Some(reason) => Template::Broken(reason),
                None => chat_template(&name, jinja, &bos, metadata),
            },
        };
        let parser = match path {
            Path::Harmony => family::find("harmony"),
            Path::Jinja => family::for_template(jinja),
            _ => family::find(&config.parser),
        };
        Self {
            path,
            template,
            go,
            parser,
        }
    }

    /// The TEMPLATE.
    pub(super) fn go(&self) -> Option<&GoTemplate> {
        self.go.as_ref()
    }

    /// What the model's templates and parser add to its capabilities.
    pub(super) fn template_capabilities(&self) -> Vec<crate::model::capability::Capability> {
        match &self.go {
            Some(go) if self.path.is_rendered() => crate::renderer::select::of_template(go),
            _ => Vec::new(),
        }
    }

    /// What a built-in parser that the model names, or gpt-oss's, reads.
    pub(super) fn parser_capabilities(&self) -> Vec<crate::model::capability::Capability> {
        match self.parser {
            Some(parser) if matches!(self.path, Path::Renderer | Path::Parser | Path::Harmony) => {
                parser.capabilities()
            }
            _ => Vec::new(),
        }
    }

    /// Makes the prompt of a conversation.
    pub(super) fn render(&self, input: &RenderInput<'_>) -> Result<String, InferenceError> {
        let rendered = match (&self.template, &self.go) {
            (Template::Builtin(entry), _) => (entry.render)(input),
            (Template::Jinja(template), _) => template.render(&RenderInput {
                messages: &images::behind(input.messages),
                ..*input
            }),
            (Template::Go, Some(template)) => template.render(&RenderInput {
                messages: &images::tagged(input.messages),
                ..*input
            }),
            (Template::Broken(reason), _) => return Err(internal(reason.clone())),
            (Template::Go, None) => Err(RenderError("there is none".to_owned())),
        };
        rendered.map_err(|error| internal(error.to_string()))
    }

    /// The texts around thinking, where no built-in parser knows them.
    fn thinking_tags(&self) -> Option<(&str, &str)> {
        match self.path {
            Path::Jinja | Path::None => Some(("<think>", "</think>")),
            _ => self.go.as_ref()?.thinking_tags(),
        }
    }

    /// The texts around the thinking that comes before an answer.
    fn tags(&self) -> Option<(&str, &str)> {
        match self.parser {
            Some(parser) => parser.thinking,
            None => self.thinking_tags(),
        }
    }

    /// Whether it is known where thinking ends, so that a constraint can wait for it.
    pub(super) fn shows_where_thinking_ends(&self) -> bool {
        self.tags().is_some()
    }

    /// What a constraint on the answer to `prompt` leaves alone.
    pub(super) fn exempt(&self, request: &RenderRequest, prompt: &str) -> Exempt {
        let thinks = request.think.is_some_and(Think::is_on);
        // Where an answer has a head of its own, it is said also without thinking.
        let tags = self.tags().filter(|(open, _)| thinks || open.is_empty());
        let thinking = tags.map(|(open, close)| {
            let is_open = prompt.trim_end().ends_with(open);
            let n_begun = overlap(prompt, close);
            ThinkingTags {
                open: if is_open { "" } else { open }.to_owned(),
                close: close.to_owned(),
                begun: close[..n_begun].to_owned(),
            }
        });
        let call = match self.parser {
            Some(parser) => parser.calls,
            None => self.tool_tag(),
        };
        let is_marked = !call.is_empty() && self.bare_calls().is_none();
        Exempt {
            thinking,
            call: (is_marked && !request.tools.is_empty()).then(|| call.to_owned()),
        }
    }

    /// Whether the model's calls are JSON without a mark before it, and then whether as a list.
    pub(super) fn bare_calls(&self) -> Option<bool> {
        match (self.parser, self.tool_tag()) {
            (None, "{") => Some(false),
            (None, "[") => Some(true),
            _ => None,
        }
    }

    /// The text that begins a tool call, where no built-in parser knows it.
    fn tool_tag(&self) -> &str {
        match (&self.go, self.path) {
            (Some(go), path) if path.is_rendered() => go.tool_tag(),
            _ => "{",
        }
    }

    /// Special tokens that must reach the parser as text.
    pub(super) fn preserved(&self, has_tools: bool) -> Vec<String> {
        if let Some(parser) = self.parser {
            return parser
                .preserved
                .iter()
                .map(|&text| text.to_owned())
                .collect();
        }
        let mut tokens = Vec::new();
        if let Some((open, close)) = self.thinking_tags() {
            tokens.extend([open.to_owned(), close.to_owned()]);
        }
        if has_tools {
            tokens.extend(preserved_of_tag(self.tool_tag()).map(str::to_owned));
        }
        tokens
    }

    /// Makes the parser of an answer to `prompt`; `thinks` = the model can and was not told not to.
    pub(super) fn parser(
        &self,
        request: &RenderRequest,
        prompt: &str,
        thinks: bool,
    ) -> Box<dyn Parser> {
        let last = request.messages.last();
        if let Some(entry) = self.parser {
            return (entry.new)(&Start {
                tools: &request.tools,
                last,
                think: request.think,
                in_thinking: entry.opened(prompt),
            });
        }
        let tags = self.thinking_tags().filter(|_| thinks);
        let thinking = tags.map(|(open, close)| {
            let inside = prompt.trim_end().ends_with(open);
            Thinking::new(open, close, inside)
        });
        let tools =
            (!request.tools.is_empty()).then(|| ToolCalls::new(self.tool_tag(), &request.tools));
        match (thinking, tools) {
            (None, None) => Box::new(Passthrough),
            (Some(thinking), None) => Box::new(thinking),
            (None, Some(tools)) => Box::new(tools),
            (Some(thinking), Some(tools)) => Box::new(Then::new(thinking, tools)),
        }
    }
}

/// Renders on the blocking pool, with the messages from `from` on: a long history can take
/// milliseconds.
pub(super) async fn render(
    voice: &Arc<Voice>,
    request: &Arc<RenderRequest>,
    from: usize,
) -> Result<String, InferenceError> {
    let (voice, request) = (Arc::clone(voice), Arc::clone(request));
    let rendered = tokio::task::spawn_blocking(move || {
        let kept = super::truncate::keep_from(&request.messages, from);
        voice.render(&RenderInput {
            messages: &kept,
            tools: &request.tools,
            think: request.think,
            now: None,
        })
    });
    rendered
        .await
        .map_err(|error| internal(error.to_string()))?
}

/// The special token with which a tool tag may begin: its leading `[…]` or `<…>`, else all of it.
/// A bare bracket of JSON is none.
pub fn preserved_of_tag(tag: &str) -> Option<&str> {
    let close = match tag {
        "" | "{" | "[" => return None,
        _ if tag.starts_with('[') => ']',
        _ if tag.starts_with('<') => '>',
        _ => return Some(tag),
    };
    Some(tag.find(close).map_or(tag, |end| &tag[..=end]))
}

fn renderer(model: &Model) -> Template {
    let size = &model.config.model_type;
    let wanted = builtin::resolve(&model.config.renderer, &model.name.short(), size);
    match builtin::find(wanted) {
        Some(entry) => Template::Builtin(entry),
        None => Template::Broken(format!("unknown renderer {:?}", model.config.renderer)),
    }
}

fn chat_template(name: &str, jinja: &str, bos: &str, metadata: &Metadata) -> Template {
    let parsed = if jinja.is_empty() {
        tracing::warn!(model = %name, "the model has no chat template, ChatML is used");
        ChatTemplate::chatml()
    } else {
        let eos = special(metadata, "tokenizer.ggml.eos_token_id");
        ChatTemplate::parse(jinja, bos, &eos)
    };
    match parsed {
        Ok(template) => Template::Jinja(Box::new(template)),
        Err(error) => {
            tracing::warn!(model = %name, %error, "the chat template of this model cannot be used");
            Template::Broken(format!(
                "model '{name}': {error}; create a model from it with a TEMPLATE of your own"
            ))
        }
    }
}

/// The text of a special token.
fn special(metadata: &Metadata, key: &str) -> String {
    let id = metadata.number(key).and_then(|id| usize::try_from(id).ok());
    let tokens = metadata.get("tokenizer.ggml.tokens");
    let text = id.and_then(|id| tokens?.as_array()?.get(id)?.as_str());
    text.unwrap_or_default().to_owned()
}
