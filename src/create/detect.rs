//! Recognises the chat template of a GGUF file, and finds the equivalent TEMPLATE.
//!
//! The known texts and their translations are Ollama's (`templates/NOTICE`); so is the limit of the edit distance.

use rapidfuzz::distance::levenshtein;
use serde::Deserialize;

/// The largest edit distance (in code points) to a known text.
const MAX_EDITS: usize = 99;

/// A TEMPLATE that is equivalent to a chat template.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    pub name: &'static str,
    /// In Go's template language.
    pub template: &'static str,
    parameters: &'static str,
}

/// One line for each name in the index.
macro_rules! known {
    ($($name:literal),* $(,)?) => {
        [$(Known {
            name: $name,
            template: include_str!(concat!("templates/", $name, ".gotmpl")),
            parameters: include_str!(concat!("templates/", $name, ".json")),
        }),*]
    };
}

static KNOWN: [Known; 19] = known![
    "alfred",
    "alpaca",
    "chatml",
    "chatqa",
    "codellama-70b-instruct",
    "command-r",
    "falcon-instruct",
    "gemma-instruct",
    "gemma3-instruct",
    "granite-instruct",
    "llama2-chat",
    "llama3-instruct",
    "magicoder",
    "mistral-instruct",
    "openchat",
    "phi-3",
    "solar-instruct",
    "starcoder2-instruct",
    "zephyr",
];

/// Chat templates and the names of their translations.
const INDEX: &str = include_str!("templates/index.json");

#[derive(Debug, Deserialize)]
struct Indexed {
    template: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Parameters {
    stop: Vec<String>,
}

impl Known {
    /// The texts that end an answer. They are parsed from a compiled-in file; a test below checks every one.
    pub fn stop(&self) -> Vec<String> {
        let parameters = serde_json::from_str(self.parameters);
        parameters.map_or_else(|_| Vec::new(), |parameters: Parameters| parameters.stop)
    }
}

/// Returns the TEMPLATE for a chat template that is equal or close to a known one. (The index is compiled
/// in, and tested.)
pub fn nearest(chat_template: &str) -> Option<&'static Known> {
    let index: Vec<Indexed> = serde_json::from_str(INDEX).ok()?;
    let args = levenshtein::Args::default().score_cutoff(MAX_EDITS);
    let near = index.iter().filter_map(|indexed| {
        let (known, given) = (indexed.template.chars(), chat_template.chars());
        let n_edits = levenshtein::distance_with_args(known, given, &args)?;
        Some((n_edits, indexed))
    });
    let (_, nearest) = near.min_by_key(|(n_edits, _)| *n_edits)?;
    KNOWN.iter().find(|known| known.name == nearest.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::renderer::GoTemplate;

    #[test]
    fn every_known_text_has_a_template_that_parses_and_ends() {
        let index: Vec<Indexed> = serde_json::from_str(INDEX).unwrap();
        for indexed in &index {
            let found = nearest(&indexed.template).map(|known| known.name);
            assert_eq!(found, Some(indexed.name.as_str()));
        }
        for known in &KNOWN {
            GoTemplate::parse(known.template).unwrap();
            assert!(!known.stop().is_empty(), "{}", known.name);
        }
    }

    #[test]
    fn a_text_is_known_up_to_99_edits() {
        let index: Vec<Indexed> = serde_json::from_str(INDEX).unwrap();
        let text = &index[0].template;
        let name = |text: &str| nearest(text).map(|known| known.name);
        assert_eq!(name(&format!("{text}{}", "é".repeat(99))), name(text));
        assert_eq!(name(&format!("{text}{}", "é".repeat(100))), None);
    }

    #[test]
    fn a_text_of_ones_own_is_not_known() {
        assert_eq!(nearest("{{ messages[0].content }}"), None);
    }
}
