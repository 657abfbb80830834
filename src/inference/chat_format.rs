//! The chat format of a model: its template, parser and tags. Made once per model.

use std::convert::Infallible;
use std::sync::Arc;

use quick_cache::sync::Cache;

use super::error::RequestError;
use super::render::{Maker, RenderRequest};
use crate::chat::Think;
use crate::families::{self, BuiltinParser};
use crate::model::capability::Capability;
use crate::model::gguf::Metadata;
use crate::parser::{Parser, Passthrough, Start, Then, Thinking, ToolCalls, overlap};
use crate::protocol::{Exempt, ThinkingTags};
use crate::renderer::select::{Offer, Path, of_template};
use crate::renderer::{GoTemplate, chatml};
use crate::store::Model;
use crate::workers::{Template, Workers};

/// A cache of chat formats by the digest of the manifest, which determines everything in them.
#[derive(Debug)]
pub(super) struct ChatFormats {
    formats: Cache<String, Arc<ChatFormat>>,
    /// `OLLAMA_GO_TEMPLATE`.
    wants_template: Option<bool>,
}

/// How many formats are kept.
const MAX_CACHED: usize = 64;

impl ChatFormats {
    pub(super) fn new(wants_template: Option<bool>) -> Self {
        Self {
            formats: Cache::new(MAX_CACHED),
            wants_template,
        }
    }

    /// Returns the model's chat format. Parses a TEMPLATE, so do not call it on the async runtime's
    /// threads.
    pub(super) fn get(&self, model: &Model, metadata: &Metadata) -> Arc<ChatFormat> {
        // Concurrent requests for the same format wait instead of making it again.
        let format = self.formats.get_or_insert_with(&model.digest, || {
            let format = ChatFormat::new(model, metadata, self.wants_template);
            Ok::<_, Infallible>(Arc::new(format))
        });
        match format {
            Ok(format) => format,
            Err(never) => match never {},
        }
    }
}

/// How to render a model's prompts and parse its answers.
#[derive(Debug)]
pub(super) struct ChatFormat {
    /// The model's name, for error messages.
    name: String,
    pub(super) path: Path,
    maker: Maker,
    /// The TEMPLATE: also for prompts with a suffix, and for the tags of thinking and tools.
    go: Option<Known>,
    /// A built-in parser, named by the model or recognized by its template.
    pub(super) parser: Option<&'static BuiltinParser>,
}

/// A TEMPLATE and what its analysis found, without the syntax tree: workers run it.
#[derive(Debug)]
struct Known {
    template: Arc<Template>,
    capabilities: Vec<Capability>,
    thinking_tags: Option<(String, String)>,
    tool_tag: String,
}

impl Known {
    fn new(go: &GoTemplate) -> Self {
        let tags = go.thinking_tags();
        Self {
            template: Arc::new(Template::go(go.source())),
            capabilities: of_template(go),
            thinking_tags: tags.map(|(open, close)| (open.to_owned(), close.to_owned())),
            tool_tag: go.tool_tag().to_owned(),
        }
    }

    fn thinking_tags(&self) -> Option<(&str, &str)> {
        let (open, close) = self.thinking_tags.as_ref()?;
        Some((open, close))
    }
}

impl ChatFormat {
    fn new(model: &Model, metadata: &Metadata, wants_template: Option<bool>) -> Self {
        let name = model.name.short();
        let parsed = model.template.as_deref().map(GoTemplate::parse);
        let (go, broken) = match parsed {
            Some(Ok(template)) => (Some(template), None),
            Some(Err(error)) => {
                tracing::warn!(model = %name, %error, "the TEMPLATE of this model cannot be used");
                let reason = format!("model '{name}': the TEMPLATE cannot be used: {error}");
                (None, Some(Maker::Broken(reason)))
            }
            None => (None, None),
        };
        let jinja = metadata
            .string("tokenizer.chat_template")
            .unwrap_or_default();
        let config = &model.config;
        let family_parser = go.as_ref().and_then(|template| {
            families::parser_for_template(&config.model_family, template.source())
        });
        let offer = Offer {
            template: go.as_ref(),
            jinja,
            renderer: &config.renderer,
            parser: &config.parser,
            has_family_parser: family_parser.is_some(),
            wants_template,
        };
        let path = offer.path();
        let known = go.as_ref().map(Known::new);
        let maker = match (path, &known) {
            (Path::Renderer, _) => renderer(model),
            (Path::Parser | Path::FamilyParser | Path::GoTemplate, Some(known)) => {
                Maker::Template(Arc::clone(&known.template))
            }
            _ if !jinja.is_empty() => chat_template(&name, jinja, metadata),
            _ => broken.unwrap_or_else(|| {
                tracing::warn!(model = %name, "the model has no chat template, ChatML is used for chats");
                let template = known.as_ref().map(|known| Arc::clone(&known.template));
                Maker::Untaught(template)
            }),
        };
        let parser = match path {
            Path::FamilyParser => family_parser,
            Path::Jinja => families::parser_for_jinja(jinja),
            _ => families::parser(&config.parser),
        };
        Self {
            name,
            path,
            maker,
            go: known,
            parser,
        }
    }

    /// The model's name, for error messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The TEMPLATE.
    pub(super) fn go(&self) -> Option<&Arc<Template>> {
        self.go.as_ref().map(|go| &go.template)
    }

    /// What the model's templates and parser add to its capabilities.
    pub(super) fn template_capabilities(&self) -> Vec<Capability> {
        match &self.go {
            Some(go) if self.path.is_rendered() => go.capabilities.clone(),
            _ => Vec::new(),
        }
    }

    /// The capabilities that the built-in parser of the model or its family adds.
    pub(super) fn parser_capabilities(&self) -> Vec<Capability> {
        match self.parser {
            Some(parser)
                if matches!(
                    self.path,
                    Path::Renderer | Path::Parser | Path::FamilyParser
                ) =>
            {
                parser.capabilities()
            }
            _ => Vec::new(),
        }
    }

    /// Renders a conversation from the message `from` on; all system messages stay.
    pub(super) async fn render(
        &self,
        workers: &Workers,
        request: &Arc<RenderRequest>,
        from: usize,
    ) -> Result<String, RequestError> {
        self.maker.render(workers, &self.name, request, from).await
    }

    /// Texts that end an answer in a chat, in addition to those of model and request.
    pub(super) fn stops(&self) -> &'static [&'static str] {
        match self.maker {
            Maker::Untaught(_) => &chatml::MARKS,
            _ => &[],
        }
    }

    /// The tags around thinking, for models without a built-in parser.
    fn thinking_tags(&self) -> Option<(&str, &str)> {
        match self.path {
            Path::Jinja | Path::None => Some(("<think>", "</think>")),
            _ => self.go.as_ref()?.thinking_tags(),
        }
    }

    /// The tags around the thinking before an answer.
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

    /// The output that a constraint on the answer to `prompt` does not apply to.
    pub(super) fn exempt(&self, request: &RenderRequest, prompt: &str) -> Exempt {
        let thinks = request.think.is_some_and(Think::is_on);
        // If answers have a header of their own, it also appears without thinking.
        let tags = self.tags().filter(|(open, _)| thinks || open.is_empty());
        let thinking = tags.map(|(open, close)| {
            let is_open = prompt.trim_end().ends_with(open);
            let n_begun = overlap(prompt, close);
            ThinkingTags {
                open: if is_open { "" } else { open }.to_owned(),
                close: close.to_owned(),
                begun: close[..n_begun].to_owned(),
                n_most: None,
                forced: self.forced_end(close).to_owned(),
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

    /// Whether the answer to `prompt` begins at once: without thinking, and without a head.
    pub(super) fn answers_at_once(&self, prompt: &str) -> bool {
        let is_open = self.parser.and_then(|parser| parser.opened(prompt));
        let heads = |(open, _): (&str, &str)| open.is_empty() || prompt.trim_end().ends_with(open);
        is_open != Some(true) && !self.tags().is_some_and(heads)
    }

    /// The text that ends thinking where the model does not.
    fn forced_end<'a>(&self, close: &'a str) -> &'a str {
        match self.parser.map(|parser| parser.forced_end) {
            Some(text) if !text.is_empty() => text,
            _ => close,
        }
    }

    /// Whether the model's calls are bare JSON without a tag, and if so, whether they are a list.
    pub(super) fn bare_calls(&self) -> Option<bool> {
        match (self.parser, self.tool_tag()) {
            (None, "{") => Some(false),
            (None, "[") => Some(true),
            _ => None,
        }
    }

    /// The text that begins a tool call, for models without a built-in parser.
    fn tool_tag(&self) -> &str {
        match (&self.go, self.path) {
            (Some(go), path) if path.is_rendered() => &go.tool_tag,
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

    /// Makes the parser of an answer to `prompt`; `thinks` = the model can think and thinking is not off.
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

/// The special token that a tool tag may begin with: its leading `[…]` or `<…>`, otherwise all of it. A
/// bare JSON bracket is not one.
pub fn preserved_of_tag(tag: &str) -> Option<&str> {
    let close = match tag {
        "" | "{" | "[" => return None,
        _ if tag.starts_with('[') => ']',
        _ if tag.starts_with('<') => '>',
        _ => return Some(tag),
    };
    Some(tag.find(close).map_or(tag, |end| &tag[..=end]))
}

fn renderer(model: &Model) -> Maker {
    let size = &model.config.model_type;
    let wanted = families::resolve_renderer(&model.config.renderer, &model.name.short(), size);
    match families::renderer(wanted) {
        Some(entry) => Maker::Builtin(entry),
        None => Maker::Broken(format!("unknown renderer {:?}", model.config.renderer)),
    }
}

fn chat_template(name: &str, jinja: &str, metadata: &Metadata) -> Maker {
    let bos = special(metadata, "tokenizer.ggml.bos_token_id");
    let eos = special(metadata, "tokenizer.ggml.eos_token_id");
    match Template::jinja(jinja, bos, eos) {
        Ok(template) => Maker::Template(Arc::new(template)),
        Err(error) => {
            tracing::warn!(model = %name, %error, "the chat template of this model cannot be used");
            Maker::Broken(format!("model '{name}': {error}"))
        }
    }
}

/// The text of a special token.
fn special(metadata: &Metadata, key: &str) -> String {
    metadata.special_token(key).unwrap_or_default().into_owned()
}
