//! The built-in parsers by name (`PARSER` of a Modelfile, `parser` of a model's config).

mod call;
mod cohere;
mod deepseek;
mod functiongemma;
mod gemma4;
mod glimmer;
mod glm;
pub mod harmony;
mod laguna;
mod lfm2;
mod ministral;
mod olmo;
mod python;
mod qwen;
mod tagged;

pub use call::typed_value;

use super::{Parser, Passthrough, Start};
use crate::model::capability::Capability;

/// A built-in parser and what it can do.
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    /// The text that begins a tool call; empty = it reads none.
    pub calls: &'static str,
    /// The texts around the thinking that it separates: the answer alone comes after the second
    /// one. Where an answer has a head of its own, nothing opens thinking, and that head ends it.
    pub thinking: Option<(&'static str, &'static str)>,
    /// The text that opens thinking, where the end of the prompt tells whether it is open.
    pub opens: &'static str,
    /// Special tokens that must reach it as text.
    pub preserved: &'static [&'static str],
    /// Makes the parser of one answer.
    pub new: fn(&Start<'_>) -> Box<dyn Parser>,
}

impl Entry {
    /// Whether a prompt ends inside of thinking; `None` = the prompt does not tell.
    pub fn opened(&self, prompt: &str) -> Option<bool> {
        (!self.opens.is_empty()).then(|| prompt.trim_end().ends_with(self.opens))
    }

    /// What a model can do with it.
    pub fn capabilities(&self) -> Vec<Capability> {
        let tools = (!self.calls.is_empty()).then_some(Capability::Tools);
        let thinking = self.thinking.map(|_| Capability::Thinking);
        tools.into_iter().chain(thinking).collect()
    }
}

/// What most write around thinking.
const THINK: Option<(&str, &str)> = Some(("<think>", "</think>"));

/// One line for each name.
static TABLE: &[Entry] = &[
    Entry {
        name: "qwen3",
        calls: "<tool_call>",
        thinking: None,
        opens: "",
        preserved: qwen::PRESERVED,
        new: qwen::instruct,
    },
    Entry {
        name: "qwen3-thinking",
        calls: "<tool_call>",
        thinking: THINK,
        opens: "<think>",
        preserved: qwen::PRESERVED,
        new: qwen::thinking,
    },
    Entry {
        name: "qwen3.5",
        calls: "<tool_call>",
        thinking: THINK,
        opens: "<think>",
        preserved: qwen::PRESERVED,
        new: qwen::thinking_coder,
    },
    Entry {
        name: "ornith",
        calls: "<tool_call>",
        thinking: THINK,
        opens: "<think>",
        preserved: qwen::PRESERVED,
        new: qwen::thinking_coder,
    },
    Entry {
        name: "qwen3-coder",
        calls: "<tool_call>",
        thinking: None,
        opens: "",
        preserved: qwen::PRESERVED_CODER,
        new: qwen::coder,
    },
    Entry {
        name: "qwen3-vl-instruct",
        calls: "<tool_call>",
        thinking: None,
        opens: "",
        preserved: qwen::PRESERVED_VL,
        new: qwen::vision,
    },
    Entry {
        name: "qwen3-vl-thinking",
        calls: "<tool_call>",
        thinking: THINK,
        opens: "<think>",
        preserved: qwen::PRESERVED_VL,
        new: qwen::vision_thinking,
    },
    Entry {
        name: "ministral",
        calls: "[TOOL_CALLS]",
        thinking: None,
        opens: "[THINK]",
        preserved: ministral::PRESERVED,
        new: ministral::new,
    },
    Entry {
        name: "passthrough",
        calls: "",
        thinking: None,
        opens: "",
        preserved: &[],
        new: |_| Box::new(Passthrough),
    },
    Entry {
        name: "harmony",
        calls: "<|channel|>",
        thinking: Some(harmony::THINKING),
        opens: "",
        preserved: harmony::PRESERVED,
        new: |start| Box::new(harmony::Harmony::new(start)),
    },
    Entry {
        name: "cogito",
        calls: "<｜tool▁calls▁begin｜>",
        thinking: THINK,
        opens: "<think>",
        preserved: deepseek::PRESERVED_COGITO,
        new: deepseek::cogito,
    },
    Entry {
        name: "deepseek3",
        calls: "<｜tool▁calls▁begin｜>",
        thinking: THINK,
        opens: "<think>",
        preserved: deepseek::PRESERVED,
        new: deepseek::deepseek,
    },
    Entry {
        name: "olmo3",
        calls: "<function_calls>",
        thinking: None,
        opens: "",
        preserved: olmo::PRESERVED,
        new: olmo::instruct,
    },
    Entry {
        name: "olmo3-think",
        calls: "",
        thinking: THINK,
        opens: "<think>",
        preserved: olmo::PRESERVED_THINK,
        new: olmo::think,
    },
    Entry {
        name: "nemotron-3-nano",
        calls: "<tool_call>",
        thinking: THINK,
        opens: "<think>",
        preserved: qwen::PRESERVED,
        new: qwen::thinking_coder,
    },
    Entry {
        name: "nemotron-3.5-nano",
        calls: "<tool_call>",
        thinking: THINK,
        opens: "<think>",
        preserved: qwen::PRESERVED,
        new: qwen::thinking_coder,
    },
    Entry {
        name: "glm-4.7",
        calls: "<tool_call>",
        thinking: THINK,
        opens: "<think>",
        preserved: glm::PRESERVED,
        new: glm::thinking,
    },
    Entry {
        name: "glm-ocr",
        calls: "<tool_call>",
        thinking: None,
        opens: "",
        preserved: glm::PRESERVED,
        new: glm::ocr,
    },
    Entry {
        name: "lfm2",
        calls: "<|tool_call_start|>",
        thinking: None,
        opens: "",
        preserved: lfm2::PRESERVED,
        new: lfm2::instruct,
    },
    Entry {
        name: "lfm2-thinking",
        calls: "<|tool_call_start|>",
        thinking: THINK,
        opens: "",
        preserved: lfm2::PRESERVED,
        new: lfm2::thinking,
    },
    Entry {
        name: "functiongemma",
        calls: "<start_function_call>",
        thinking: None,
        opens: "",
        preserved: functiongemma::PRESERVED,
        new: functiongemma::new,
    },
    Entry {
        name: "gemma4",
        calls: "<|tool_call>",
        thinking: Some(("<|channel>", "<channel|>")),
        opens: "",
        preserved: gemma4::PRESERVED,
        new: gemma4::new,
    },
    Entry {
        name: "gemma4-no-thinking",
        calls: "<|tool_call>",
        thinking: None,
        opens: "",
        preserved: gemma4::PRESERVED,
        new: gemma4::without_thinking,
    },
    Entry {
        name: "laguna",
        calls: "<tool_call>",
        thinking: THINK,
        opens: "<think>",
        preserved: laguna::PRESERVED,
        new: laguna::laguna,
    },
    Entry {
        name: "poolside-v1",
        calls: "<tool_call>",
        thinking: THINK,
        opens: "<think>",
        preserved: laguna::PRESERVED,
        new: laguna::poolside,
    },
    Entry {
        name: "cohere",
        calls: "<|START_ACTION|>",
        thinking: Some(("<|START_THINKING|>", "<|END_THINKING|>")),
        opens: "<|START_THINKING|>",
        preserved: cohere::PRESERVED,
        new: cohere::new,
    },
    Entry {
        name: "glimmer",
        calls: " to=",
        thinking: Some(glimmer::THINKING),
        opens: "",
        preserved: glimmer::PRESERVED,
        new: glimmer::new,
    },
];

/// All parsers.
pub fn all() -> &'static [Entry] {
    TABLE
}

/// Returns the parser of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name)
}

/// A template's marks and the parser for what its model writes; the first row whose words all
/// occur counts. The marks are llama.cpp's (`common/chat.cpp`).
const MARKS: &[(&[&str], &str)] = &[
    (&["[SYSTEM_PROMPT]", "[TOOL_CALLS]", "[ARGS]"], "ministral"),
    (&["[TOOL_CALLS]", "[CALL_ID]"], "ministral"),
    (&["<|channel|>"], "harmony"),
    (&["<atem:function_calls>", "<|eom|>"], "glimmer"),
    (&["<|START_TEXT|>", "<|START_ACTION|>"], "cohere"),
    (&["<|tool_list_start|>", "<think>"], "lfm2-thinking"),
    (&["<|tool_list_start|>"], "lfm2"),
    (&["List of tools: [", "<think>"], "lfm2-thinking"),
    (&["List of tools: ["], "lfm2"),
    (&["<｜tool▁calls▁begin｜>", "```json"], "cogito"),
    (&["<｜tool▁calls▁begin｜>"], "deepseek3"),
    (&["'<|tool_call>call:'"], "gemma4"),
    (&["<start_function_call>"], "functiongemma"),
    (
        &["<tool_call>", "<function=", "<parameter=", "<think>"],
        "qwen3.5",
    ),
    (&["<tool_call>", "<function=", "<parameter="], "qwen3-coder"),
    (&["<arg_key>", "<arg_value>"], "glm-4.7"),
    (&["<function_calls>"], "olmo3"),
    (&["<tool_call>", "<think>"], "qwen3-thinking"),
    (&["<tool_call>"], "qwen3"),
];

/// Returns the parser for answers to a Jinja template, recognised by what it writes.
pub fn for_template(jinja: &str) -> Option<&'static Entry> {
    let mut rows = MARKS.iter();
    let row = rows.find(|(marks, _)| marks.iter().all(|mark| jinja.contains(mark)));
    row.and_then(|(_, name)| find(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_leads_to_a_parser() {
        for (marks, name) in MARKS {
            assert!(find(name).is_some(), "{name}");
            assert!(for_template(&marks.join(" ")).is_some());
        }
        assert_eq!(for_template("{{ messages }}").map(|entry| entry.name), None);
        let qwen = "<tools></tools> <tool_call> <think>";
        assert_eq!(
            for_template(qwen).map(|entry| entry.name),
            Some("qwen3-thinking")
        );
    }
}
