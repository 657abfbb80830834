//! What a family declares.

use super::layout::ForeignLayout;
use crate::chat::ThinkLevel;
use crate::model::capability::Capability;
use crate::model::gguf::Metadata;
use crate::parser::{Parser, Start};
use crate::renderer::{RenderError, RenderInput};

/// A model family. Declare one with `..Family::PLAIN` and name only what differs.
#[derive(Debug)]
pub struct Family {
    /// The GGUF architectures of its models.
    pub architectures: &'static [Architecture],
    /// The renderers that a Modelfile can name (`RENDERER`).
    pub renderers: &'static [BuiltinRenderer],
    /// The parsers that a Modelfile can name (`PARSER`).
    pub parsers: &'static [BuiltinParser],
    /// How to recognise its models by the chat template in their GGUF file.
    pub marks: &'static [Marks],
    /// How to recognise its models by their TEMPLATE.
    pub template: Option<TemplateFormat>,
    /// Returns which renderer a name stands for, given the model's name and its number of parameters
    /// (`12.2B`); `None` = the name stands for itself.
    pub resolve_renderer: fn(name: &str, model: &str, parameters: &str) -> Option<&'static str>,
    /// Names of models whose templates get no reasoning of earlier turns.
    pub forgetful_models: &'static [&'static str],
    /// Projector types (`clip.vision.projector_type`) whose audio encoder does not count.
    pub mute_projectors: &'static [&'static str],
}

impl Family {
    /// A family that declares nothing.
    pub const PLAIN: Self = Self {
        architectures: &[],
        renderers: &[],
        parsers: &[],
        marks: &[],
        template: None,
        resolve_renderer: |_, _, _| None,
        forgetful_models: &[],
        mute_projectors: &[],
    };
}

/// A GGUF architecture (`general.architecture`), which is also the `model_family` in configs.
#[derive(Debug)]
pub struct Architecture {
    /// Its name; one that ends in `*` stands for all names with that beginning.
    pub name: &'static str,
    /// How files in the layout of Ollama's former engine become what llama.cpp loads.
    pub layout: Option<ForeignLayout>,
    /// llama.cpp cannot compute it.
    pub unsupported: bool,
    /// The least tokens of an image; 0 = what the projector's file asks for.
    pub min_image_tokens: u32,
    /// Layers from one that attends to the whole context to the next, the others attend to the
    /// sliding window; 0 = all attend to the whole context, or it is not known.
    pub window_period: u32,
    /// What `create` puts into the config of a model that names no renderer or parser.
    pub format: Option<Format>,
    /// Tensors that 4-bit quantization leaves in a better type.
    pub quantization: Option<TensorRule>,
    /// Capabilities that nothing in the model's files shows.
    pub adds: &'static [Capability],
    /// Capabilities that its files promise and llama.cpp does not have.
    pub lacks: &'static [Capability],
    /// Templates get no reasoning of earlier turns.
    pub is_forgetful: bool,
    /// Whether the legacy embeddings route returns vectors that are not normalised.
    pub raw_embeddings: fn(&Metadata) -> bool,
    /// What llama.cpp takes for granted of a header, and ends its process over where it is not so.
    pub needs: &'static [Need],
}

impl Architecture {
    /// An architecture without quirks.
    pub const PLAIN: Self = Self {
        name: "",
        layout: None,
        unsupported: false,
        min_image_tokens: 0,
        window_period: 0,
        format: None,
        quantization: None,
        adds: &[],
        lacks: &[],
        is_forgetful: false,
        raw_embeddings: |_| false,
        needs: &[],
    };
}

/// Something that must hold of a header, as llama.cpp sees it.
#[derive(Debug)]
pub struct Need {
    /// Whether it does. A key that is missing is no matter of this: llama.cpp says so itself.
    pub holds: fn(&Metadata) -> bool,
    /// What is wrong otherwise.
    pub otherwise: &'static str,
}

/// A mixture of experts has some.
pub(super) const EXPERTS: Need = Need {
    holds: |header| {
        header
            .number(".expert_count")
            .is_some_and(|n_experts| n_experts > 0)
    },
    otherwise: "the model of experts has none",
};

/// A head has numbers besides those that are rotated. (Of heads that are kept compressed, the width before that
/// counts.)
pub(super) const UNROTATED: Need = Need {
    holds: |header| {
        let compressed = [".attention.key_length_mla", ".attention.value_length_mla"]
            .map(|key| header.number(key).unwrap_or_default());
        let plain = || {
            let n_head = header
                .number(".attention.head_count")
                .unwrap_or_default()
                .max(1);
            let width = header.number(".embedding_length").unwrap_or_default();
            let length = header.number(".attention.key_length");
            length
                .filter(|length| *length > 0)
                .unwrap_or(width / n_head)
        };
        let width = match compressed {
            [0, _] | [_, 0] => plain(),
            [keys, _] => keys,
        };
        // Without a number of their own, all are rotated.
        header
            .number(".rope.dimension_count")
            .is_some_and(|rotated| rotated < width)
    },
    otherwise: "the rotated numbers of a head are all of it",
};

/// The built-in chat format of an architecture.
#[derive(Debug)]
pub struct Format {
    pub renderer: &'static str,
    pub parser: &'static str,
    /// Texts that end an answer; empty = the model's end-of-turn tokens do.
    pub stop: &'static [&'static str],
}

/// Tensors that lose too much at 4 bits.
#[derive(Debug)]
pub struct TensorRule {
    /// Names of tensors, without their block's.
    pub tensors: &'static [&'static str],
    /// The type that they get.
    pub kind: &'static str,
}

/// A built-in renderer.
#[derive(Debug)]
pub struct BuiltinRenderer {
    pub name: &'static str,
    /// The text of the BOS token with which its prompts begin; empty = none.
    pub bos: &'static str,
    /// Whether it places images; others ignore them.
    pub images: bool,
    /// Makes the prompt.
    pub render: fn(&RenderInput<'_>) -> Result<String, RenderError>,
}

/// A built-in parser and what it can do. Declare one with `..BuiltinParser::PLAIN`.
#[derive(Debug)]
pub struct BuiltinParser {
    pub name: &'static str,
    /// The text that begins a tool call; empty = it reads none.
    pub calls: &'static str,
    /// The texts around the thinking that it separates: the answer alone comes after the second
    /// one. Where an answer has a head of its own, nothing opens thinking, and that head ends it.
    pub thinking: Option<(&'static str, &'static str)>,
    /// The text that ends thinking and begins the answer; empty = the second text of `thinking`.
    pub forced_end: &'static str,
    /// The text that opens thinking, where the end of the prompt tells whether it is open.
    pub opens: &'static str,
    /// Special tokens that must reach it as text.
    pub preserved: &'static [&'static str],
    /// The levels of thinking of models that cannot do without, lowest first; empty = it is on or off.
    pub levels: &'static [ThinkLevel],
    /// Makes the parser of one answer.
    pub new: fn(&Start<'_>) -> Box<dyn Parser>,
}

impl BuiltinParser {
    /// A parser that takes everything for content.
    pub const PLAIN: Self = Self {
        name: "passthrough",
        calls: "",
        thinking: None,
        forced_end: "",
        opens: "",
        preserved: &[],
        levels: &[],
        new: |_| Box::new(crate::parser::Passthrough),
    };

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

/// The tags around thinking that most families use.
pub(super) const THINK_TAGS: Option<(&str, &str)> = Some(("<think>", "</think>"));

/// Words of a chat template that tell what its models write.
#[derive(Debug)]
pub struct Marks {
    /// All of them occur.
    pub words: &'static [&'static str],
    pub parser: &'static str,
    /// The words are common: every other family's marks are looked for first.
    pub is_last_resort: bool,
}

impl Marks {
    /// Words that only this family uses.
    pub const fn new(words: &'static [&'static str], parser: &'static str) -> Self {
        Self {
            words,
            parser,
            is_last_resort: false,
        }
    }

    /// Words that other families use, too.
    pub const fn last_resort(words: &'static [&'static str], parser: &'static str) -> Self {
        Self {
            is_last_resort: true,
            ..Self::new(words, parser)
        }
    }
}

/// A TEMPLATE with these words makes prompts whose answers need a built-in parser.
#[derive(Debug)]
pub struct TemplateFormat {
    /// All of them occur.
    pub words: &'static [&'static str],
    pub parser: &'static str,
}
