//! The table of families, and lookups across all of them.

use super::family::{Architecture, BuiltinParser, BuiltinRenderer, Family, Marks};
use super::{
    bert, clip, cogito, cohere, deepseek, functiongemma, gemma, gemma4, glimmer, glm, gptoss,
    laguna, lfm2, llama, mistral, nemotron, olmo, others, qwen,
};
use crate::model::gguf::Metadata;

/// All families, in the order in which the marks of templates are tried.
static FAMILIES: &[&Family] = &[
    &mistral::FAMILY,
    &gptoss::FAMILY,
    &glimmer::FAMILY,
    &cohere::FAMILY,
    &lfm2::FAMILY,
    &cogito::FAMILY,
    &deepseek::FAMILY,
    &gemma4::FAMILY,
    &functiongemma::FAMILY,
    &qwen::FAMILY,
    &glm::FAMILY,
    &olmo::FAMILY,
    &nemotron::FAMILY,
    &laguna::FAMILY,
    &gemma::FAMILY,
    &llama::FAMILY,
    &bert::FAMILY,
    &clip::FAMILY,
    &others::FAMILY,
];

/// The parser for models whose answers are content only.
static PASSTHROUGH: BuiltinParser = BuiltinParser::PLAIN;

/// All built-in renderers.
pub fn renderers() -> impl Iterator<Item = &'static BuiltinRenderer> {
    FAMILIES.iter().flat_map(|family| family.renderers)
}

/// Returns the renderer of that name.
pub fn renderer(name: &str) -> Option<&'static BuiltinRenderer> {
    renderers().find(|renderer| renderer.name == name)
}

/// Returns the name of the renderer to use: some names stand for several renderers, chosen by the model's name and its
/// number of parameters (`12.2B`).
pub fn resolve_renderer<'a>(name: &'a str, model: &str, parameters: &str) -> &'a str {
    let mut families = FAMILIES.iter();
    let resolved = families.find_map(|family| (family.resolve_renderer)(name, model, parameters));
    resolved.unwrap_or(name)
}

/// All built-in parsers.
pub fn parsers() -> impl Iterator<Item = &'static BuiltinParser> {
    let parsers = FAMILIES.iter().flat_map(|family| family.parsers);
    parsers.chain([&PASSTHROUGH])
}

/// Returns the parser of that name.
pub fn parser(name: &str) -> Option<&'static BuiltinParser> {
    parsers().find(|parser| parser.name == name)
}

/// Returns the parser for answers to a Jinja template, recognised by words of the template.
pub fn parser_for_jinja(template: &str) -> Option<&'static BuiltinParser> {
    let fits = |marks: &&Marks| marks.words.iter().all(|word| template.contains(word));
    let found = marks(false).find(fits).or_else(|| marks(true).find(fits));
    found.and_then(|marks| parser(marks.parser))
}

fn marks(is_last_resort: bool) -> impl Iterator<Item = &'static Marks> {
    let marks = FAMILIES.iter().flat_map(|family| family.marks);
    marks.filter(move |marks| marks.is_last_resort == is_last_resort)
}

/// Returns the parser for answers to a TEMPLATE of a model with that architecture, if the family has its own.
pub fn parser_for_template(architecture: &str, template: &str) -> Option<&'static BuiltinParser> {
    let format = family(architecture)?.template.as_ref()?;
    let fits = format.words.iter().all(|word| template.contains(word));
    fits.then(|| parser(format.parser)).flatten()
}

/// Returns what is known of an architecture.
pub fn architecture(name: &str) -> Option<&'static Architecture> {
    lookup(name).map(|(_, architecture)| architecture)
}

fn family(architecture: &str) -> Option<&'static Family> {
    lookup(architecture).map(|(family, _)| family)
}

fn lookup(name: &str) -> Option<(&'static Family, &'static Architecture)> {
    let rows = || {
        let families = FAMILIES.iter();
        families.flat_map(|family| family.architectures.iter().map(|row| (*family, row)))
    };
    let begins = |pattern: &str| {
        let beginning = pattern.strip_suffix('*');
        beginning.is_some_and(|beginning| name.starts_with(beginning))
    };
    let exact = rows().find(|(_, row)| row.name == name);
    exact.or_else(|| rows().find(|(_, row)| begins(row.name)))
}

/// Returns what is wrong with a header that would make llama.cpp abort.
pub(super) fn unmet_need(header: &Metadata) -> Option<&'static str> {
    let needs = architecture(header.architecture())?.needs;
    let unmet = needs.iter().find(|need| !(need.holds)(header))?;
    Some(unmet.otherwise)
}

/// Returns why llama.cpp cannot compute this model; `None` when nothing is known against it.
pub fn refusal(metadata: &Metadata) -> Option<String> {
    let name = metadata.architecture();
    let is_refused = architecture(name)?.unsupported;
    is_refused.then(|| format!("llama.cpp has no support for models of the architecture `{name}`"))
}

/// Returns the minimum number of tokens of an image for models of this architecture; 0 = the number in the projector's
/// file.
pub fn min_image_tokens(architecture_name: &str) -> u32 {
    architecture(architecture_name).map_or(0, |architecture| architecture.min_image_tokens)
}

/// Returns the distance between layers that attend to the whole context; 0 = all do, or it is not known.
pub fn window_period(architecture_name: &str) -> u32 {
    architecture(architecture_name).map_or(0, |architecture| architecture.window_period)
}

/// Whether a model's templates get no reasoning from earlier turns.
pub fn forgets_reasoning(architecture_name: &str, model: &str) -> bool {
    let is_forgetful = |family: &&Family| family.forgetful_models.contains(&model);
    architecture(architecture_name).is_some_and(|architecture| architecture.is_forgetful)
        || FAMILIES.iter().any(is_forgetful)
}

/// Whether the audio encoder of projectors of this type is ignored.
pub(super) fn is_mute(projector_type: &str) -> bool {
    let mut families = FAMILIES.iter();
    families.any(|family| family.mute_projectors.contains(&projector_type))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_mark_leads_to_a_parser() {
        for marks in marks(false).chain(marks(true)) {
            let name = marks.parser;
            assert!(parser(name).is_some(), "{name}");
            assert!(parser_for_jinja(&marks.words.join(" ")).is_some(), "{name}");
        }
        let name = |template| parser_for_jinja(template).map(|parser| parser.name);
        assert_eq!(name("{{ messages }}"), None);
        let qwen = "<tools></tools> <tool_call> <think>";
        assert_eq!(name(qwen), Some("qwen3-thinking"));
        assert_eq!(
            name("<tool_call> <think> <arg_key> <arg_value>"),
            Some("glm-4.7")
        );
    }

    #[test]
    fn names_are_unique_and_lead_somewhere() {
        let mut names = HashSet::new();
        for renderer in renderers() {
            assert!(
                names.insert(("renderer", renderer.name)),
                "{}",
                renderer.name
            );
        }
        for parser in parsers() {
            assert!(names.insert(("parser", parser.name)), "{}", parser.name);
        }
        for family in FAMILIES {
            if let Some(format) = &family.template {
                assert!(parser(format.parser).is_some(), "{}", format.parser);
            }
            for architecture in family.architectures {
                let name = architecture.name;
                assert!(names.insert(("architecture", name)), "{name}");
                if let Some(format) = &architecture.format {
                    assert!(renderer(format.renderer).is_some(), "{name}");
                    assert!(parser(format.parser).is_some(), "{name}");
                }
            }
        }
    }

    #[test]
    fn an_exact_name_goes_before_a_pattern() {
        let name = |name| architecture(name).map(|row| row.name);
        assert_eq!(name("nemotron_h_moe"), Some("nemotron_h_moe"));
        assert_eq!(name("nemotron_h_new"), Some("nemotron_h*"));
        assert_eq!(name("nemotron"), None);
        assert_eq!(name("unheard-of"), None);
    }

    #[test]
    fn templates_are_recognised_by_family_and_text() {
        let name = |family, text| parser_for_template(family, text).map(|parser| parser.name);
        let text = "<|start|>{{ .Prompt }}<|end|>";
        assert_eq!(name("gptoss", text), Some("harmony"));
        assert_eq!(name("gpt-oss", text), Some("harmony"));
        assert_eq!(name("gptoss", "{{ .Prompt }}"), None);
        assert_eq!(name("qwen3", text), None);
    }
}
