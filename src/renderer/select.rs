//! Chooses which of a model's templates makes its prompts.
//!
//! A built-in renderer or parser decides first, then the TEMPLATE in Go's language, unless the
//! GGUF's own Jinja template can do more.

use crate::model::capability::{Capability, of_jinja};

use super::GoTemplate;

/// How a model's prompts are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// The built-in renderer that the model names; output goes through its parser, if it has one.
    Renderer,
    /// The model names a parser only: its TEMPLATE makes the prompt.
    Parser,
    /// The model's family has a parser for answers to its TEMPLATE, which makes the prompt.
    FamilyParser,
    /// The TEMPLATE.
    GoTemplate,
    /// The GGUF's template.
    Jinja,
    /// There is no template.
    None,
}

impl Path {
    /// Whether Ollama would render the prompt itself, instead of passing messages to its engine.
    pub fn is_rendered(self) -> bool {
        !matches!(self, Self::Jinja | Self::None)
    }
}

/// What a model provides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Offer<'a> {
    /// The TEMPLATE layer.
    pub template: Option<&'a GoTemplate>,
    /// The GGUF's chat template; empty = none.
    pub jinja: &'a str,
    /// Names from the model's config, empty = none.
    pub renderer: &'a str,
    pub parser: &'a str,
    /// The model's family has a parser for answers to this TEMPLATE.
    pub has_family_parser: bool,
    /// `OLLAMA_GO_TEMPLATE`: the user's choice; `None` = automatic.
    pub wants_template: Option<bool>,
}

impl Offer<'_> {
    /// Makes the choice.
    pub fn path(&self) -> Path {
        if !self.renderer.is_empty() {
            return Path::Renderer;
        }
        if !self.parser.is_empty() {
            return Path::Parser;
        }
        if self.has_family_parser {
            return Path::FamilyParser;
        }
        let wanted = self.wants_template.unwrap_or(!self.prefers_jinja());
        match (self.template, self.jinja) {
            (Some(_), _) if wanted => Path::GoTemplate,
            (_, "") => Path::None,
            _ => Path::Jinja,
        }
    }

    /// Whether the GGUF's template is known to support more than the TEMPLATE.
    pub fn prefers_jinja(&self) -> bool {
        let named = !self.renderer.is_empty() || !self.parser.is_empty() || self.has_family_parser;
        let Some(template) = self.template else {
            return false;
        };
        if self.jinja.is_empty() || named || self.wants_template.is_some() {
            return false;
        }
        let (go, jinja) = (of_template(template), of_jinja(self.jinja));
        let (go_round, jinja_round) = (round_trip(template), jinja_round_trip(self.jinja));
        if jinja.len() > go.len() && (jinja_round || !go_round) {
            return true;
        }
        go == jinja && go.contains(&Capability::Tools) && jinja_round && !go_round
    }

    /// The capabilities that the TEMPLATE adds: none if it is not used.
    pub fn template_capabilities(&self) -> Vec<Capability> {
        match self.template {
            Some(template) if self.path().is_rendered() => of_template(template),
            _ => Vec::new(),
        }
    }
}

/// The capabilities that a TEMPLATE supports.
pub fn of_template(template: &GoTemplate) -> Vec<Capability> {
    let offers = [
        (Capability::Tools, template.uses("tools")),
        (Capability::Insert, template.uses("suffix")),
        (Capability::Thinking, template.thinking_tags().is_some()),
    ];
    let offers = offers.into_iter().filter(|(_, has)| *has);
    offers.map(|(capability, _)| capability).collect()
}

/// Whether a TEMPLATE shows tools, calls and results.
pub fn round_trip(template: &GoTemplate) -> bool {
    let text = template.source();
    let results = ["eq .Role \"tool\"", "tool_response", "TOOL_RESULTS"];
    template.uses("tools")
        && template.uses("toolcalls")
        && results.iter().any(|word| text.contains(word))
}

/// Whether a Jinja template shows calls and results, judged by the words in it.
pub fn jinja_round_trip(text: &str) -> bool {
    const CALLS: [&str; 2] = ["tool_calls", "assistant_tool_call"];
    const RESULTS: [&str; 7] = [
        "tool_response",
        "tool_results",
        "ipython",
        "role == 'tool'",
        "role == \"tool\"",
        "role'] == 'tool'",
        "role\"] == \"tool\"",
    ];
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    has(&CALLS) && has(&RESULTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JINJA: &str = "{% if tools %}{{ tools }}{% endif %}";

    #[test]
    fn names_come_first() {
        let template = GoTemplate::parse("{{ .Prompt }}").unwrap();
        let offer = Offer {
            template: Some(&template),
            jinja: JINJA,
            ..Offer::default()
        };
        let named = |renderer, parser| {
            Offer {
                renderer,
                parser,
                ..offer
            }
            .path()
        };
        assert_eq!(named("qwen3-coder", "qwen3-coder"), Path::Renderer);
        assert_eq!(named("", "qwen3"), Path::Parser);
        assert_eq!(named("", ""), Path::Jinja);
    }

    #[test]
    fn the_more_capable_template_wins_and_the_user_before_it() {
        let plain = GoTemplate::parse("{{ .Prompt }}").unwrap();
        let able = GoTemplate::parse(
            "{{ .Tools }}{{ range .Messages }}{{ .ToolCalls }}{{ if eq .Role \"tool\" }}{{ end }}{{ end }}",
        )
        .unwrap();
        let path = |template, wants_template| {
            Offer {
                template: Some(template),
                jinja: JINJA,
                wants_template,
                ..Offer::default()
            }
            .path()
        };
        assert_eq!(path(&plain, None), Path::Jinja);
        assert_eq!(path(&able, None), Path::GoTemplate);
        assert_eq!(path(&plain, Some(true)), Path::GoTemplate);
        assert_eq!(path(&able, Some(false)), Path::Jinja);
    }

    #[test]
    fn a_template_that_the_family_has_a_parser_for_is_preferred() {
        let template = GoTemplate::parse("<|start|>{{ .Prompt }}<|end|>").unwrap();
        let path = |has_family_parser| {
            Offer {
                template: Some(&template),
                jinja: JINJA,
                has_family_parser,
                ..Offer::default()
            }
            .path()
        };
        assert_eq!(path(true), Path::FamilyParser);
        assert_eq!(path(false), Path::Jinja);
    }
}
