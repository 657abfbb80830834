//! What a model can do, according to its files, its templates and its family.

use super::registry::{self, is_mute};
use crate::model::capability::{Capability, of_jinja};
use crate::model::gguf::Metadata;

/// What capabilities are derived from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'a> {
    /// `capabilities` of the config.
    pub config: &'a [String],
    /// The weights' metadata, if they could be read.
    pub gguf: Option<&'a Metadata>,
    /// The first projector's metadata.
    pub projector: Option<&'a Metadata>,
    /// Whether there is a projector layer.
    pub has_projector: bool,
    /// The family from the config.
    pub family: &'a str,
    /// The template in use is the GGUF's Jinja template (`tokenizer.chat_template`).
    pub uses_jinja: bool,
    /// The capabilities of the TEMPLATE, where it plays a part.
    pub template: &'a [Capability],
    /// The capabilities of the built-in parser.
    pub parser: &'a [Capability],
}

/// Derives the capabilities, without duplicates, in the order in which Ollama lists them.
pub fn detect(sources: &Sources<'_>) -> Vec<Capability> {
    let mut found = Vec::new();
    found.extend(
        sources
            .config
            .iter()
            .filter_map(|word| Capability::from_word(word)),
    );
    if let Some(gguf) = sources.gguf {
        if sources.uses_jinja {
            found.extend(of_jinja(
                gguf.string("tokenizer.chat_template").unwrap_or_default(),
            ));
        }
        found.extend(of_weights(gguf));
    }
    found.extend(of_projector(sources));
    found.extend(sources.template);
    found.extend(sources.parser);
    if let Some(family) = registry::architecture(sources.family) {
        found.extend(family.adds);
        found.retain(|capability| !family.lacks.contains(capability));
    }
    let mut unique = Vec::new();
    for capability in found {
        if !unique.contains(&capability) {
            unique.push(capability);
        }
    }
    unique
}

fn of_weights(gguf: &Metadata) -> Vec<Capability> {
    let mut found = vec![if gguf.get(".pooling_type").is_some() {
        Capability::Embedding
    } else {
        Capability::Completion
    }];
    if gguf.get(".vision.block_count").is_some() {
        found.push(Capability::Vision);
    }
    if gguf.get(".audio.block_count").is_some() {
        found.push(Capability::Audio);
    }
    found
}

fn of_projector(sources: &Sources<'_>) -> Vec<Capability> {
    if !sources.has_projector {
        return Vec::new();
    }
    let mut found = vec![Capability::Vision];
    if let Some(projector) = sources.projector {
        let audio = projector.values.iter().any(|(key, value)| {
            key.ends_with("has_audio_encoder") && value.as_bool() == Some(true)
        });
        let is_mute = projector.values.iter().any(|(key, value)| {
            key.ends_with("vision.projector_type") && value.as_str().is_some_and(is_mute)
        });
        if audio && !is_mute {
            found.push(Capability::Audio);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::gguf::builder::GgufBuilder;

    fn gguf(values: Value) -> Metadata {
        let mut file = GgufBuilder::default();
        for (key, value) in values.as_object().unwrap() {
            file = file.value(key, value.clone());
        }
        Metadata::read(&mut std::io::Cursor::new(file.build())).unwrap()
    }

    #[track_caller]
    fn check(sources: &Sources<'_>, words: &[&str]) {
        let found: Vec<_> = detect(sources)
            .into_iter()
            .map(Capability::as_str)
            .collect();
        assert_eq!(found, words);
    }

    #[test]
    fn nothing_known_gives_nothing() {
        check(&Sources::default(), &[]);
    }

    #[test]
    fn from_the_weights() {
        let chat = gguf(json!({"general.architecture": "llama"}));
        check(
            &Sources {
                gguf: Some(&chat),
                ..Sources::default()
            },
            &["completion"],
        );
        let embed = gguf(json!({"general.architecture": "bert", "bert.pooling_type": 1}));
        check(
            &Sources {
                gguf: Some(&embed),
                ..Sources::default()
            },
            &["embedding"],
        );
        let vision =
            gguf(json!({"general.architecture": "gemma3", "gemma3.vision.block_count": 27}));
        check(
            &Sources {
                gguf: Some(&vision),
                ..Sources::default()
            },
            &["completion", "vision"],
        );
    }

    #[test]
    fn from_the_jinja_template_only_when_it_is_used() {
        let text = "{% if tools %}…{% endif %}<think></think>";
        let gguf = gguf(json!({"general.architecture": "qwen3", "tokenizer.chat_template": text}));
        let sources = Sources {
            gguf: Some(&gguf),
            ..Sources::default()
        };
        check(&sources, &["completion"]);
        check(
            &Sources {
                uses_jinja: true,
                ..sources
            },
            &["tools", "thinking", "completion"],
        );
    }

    #[test]
    fn config_comes_first_and_is_not_repeated() {
        let config = [
            "vision".to_owned(),
            "completion".to_owned(),
            "unheard".to_owned(),
        ];
        let chat = gguf(json!({"general.architecture": "gptoss"}));
        let sources = Sources {
            config: &config,
            gguf: Some(&chat),
            family: "gptoss",
            ..Sources::default()
        };
        check(&sources, &["vision", "completion", "thinking"]);
    }

    #[test]
    fn from_a_projector() {
        let audio = gguf(json!({"general.architecture": "clip", "clip.has_audio_encoder": true}));
        let sources = Sources {
            projector: Some(&audio),
            has_projector: true,
            ..Sources::default()
        };
        check(&sources, &["vision", "audio"]);
        check(
            &Sources {
                family: "nemotron_h_omni",
                ..sources
            },
            &["vision"],
        );
        check(
            &Sources {
                projector: None,
                ..sources
            },
            &["vision"],
        );
    }
}
