//! What a family declares.

use super::layout::ForeignLayout;
use crate::chat::ThinkLevel;
use crate::model::capability::Capability;
use crate::model::gguf::Metadata;
use crate::parser::{Parser, Start};
use crate::renderer::{RenderError, RenderInput};

/// A model family. Declare one with `..Family::PLAIN` and set only what differs.
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
    /// Names of models whose templates get no reasoning from earlier turns.
    pub forgetful_models: &'static [&'static str],
    /// Projector types (`clip.vision.projector_type`) whose audio encoder is ignored.
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
    /// Its name; a name that ends in `*` stands for all names with that beginning.
    pub name: &'static str,
    /// How to translate files in the layout of Ollama's former engine into what llama.cpp loads.
    pub layout: Option<ForeignLayout>,
    /// Whether llama.cpp cannot compute it.
    pub unsupported: bool,
    /// The minimum number of tokens of an image; 0 = the number in the projector's file.
    pub min_image_tokens: u32,
    /// The distance from one layer that attends to the whole context to the next (the layers between attend to the
    /// sliding window); 0 = all attend to the whole context, or it is not known.
    pub window_period: u32,
    /// What `create` puts into the config of a model that names no renderer or parser.
    pub format: Option<Format>,
    /// Tensors that 4-bit quantization keeps in a better type.
    pub quantization: Option<TensorRule>,
    /// Capabilities that the model's files do not show.
    pub adds: &'static [Capability],
    /// Capabilities that the model's files claim but llama.cpp does not have.
    pub lacks: &'static [Capability],
    /// Whether templates get no reasoning from earlier turns.
    pub is_forgetful: bool,
    /// Whether the legacy embeddings route returns vectors that are not normalised.
    pub raw_embeddings: fn(&Metadata) -> bool,
    /// What llama.cpp assumes of a header; it aborts its process where the assumption fails.
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
    /// Whether it holds. A missing key is not checked here, since llama.cpp reports that by itself.
    pub holds: fn(&Metadata) -> bool,
    /// What is wrong otherwise.
    pub otherwise: &'static str,
}

/// A mixture of experts has at least one expert.
pub(super) const EXPERTS: Need = Need {
    holds: |header| {
        header
            .number(".expert_count")
            .is_some_and(|n_experts| n_experts > 0)
    },
    otherwise: "the model of experts has none",
};

/// A head has more dimensions than those that are rotated. (If heads are compressed, the width before compression
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
        // If the header has no number, all dimensions are rotated.
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
    /// Names of tensors, without the block's prefix.
    pub tensors: &'static [&'static str],
    /// The type that they get instead.
    pub kind: &'static str,
}

/// A built-in renderer.
#[derive(Debug)]
pub struct BuiltinRenderer {
    pub name: &'static str,
    /// The text of the BOS token with which its prompts begin; empty = none.
    pub bos: &'static str,
    /// Whether it places images in the prompt; other renderers ignore them.
    pub images: bool,
    /// Renders the prompt.
    pub render: fn(&RenderInput<'_>) -> Result<String, RenderError>,
}

/// A built-in parser and what it can do. Declare one with `..BuiltinParser::PLAIN`.
#[derive(Debug)]
pub struct BuiltinParser {
    pub name: &'static str,
    /// The text that begins a tool call; empty = it reads no calls.
    pub calls: &'static str,
    /// The texts before and after the thinking that it separates: only the answer follows the second text. In formats
    /// where the answer has its own header, the first text is empty, and that header ends the thinking.
    pub thinking: Option<(&'static str, &'static str)>,
    /// The text that ends thinking and begins the answer; empty = the second text of `thinking`.
    pub forced_end: &'static str,
    /// The text that opens thinking, where the end of the prompt tells whether it is open.
    pub opens: &'static str,
    /// Special tokens that must reach it as text.
    pub preserved: &'static [&'static str],
    /// The levels of thinking for models that always think, lowest first; empty = thinking is on or off.
    pub levels: &'static [ThinkLevel],
    /// Makes the parser of one answer.
    pub new: fn(&Start<'_>) -> Box<dyn Parser>,
}

impl BuiltinParser {
    /// A parser that treats everything as content.
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

    /// Whether a prompt ends inside thinking; `None` = the prompt does not tell.
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

/// Words of a chat template by which the format of the model's answers is recognised.
#[derive(Debug)]
pub struct Marks {
    /// All of them must occur.
    pub words: &'static [&'static str],
    pub parser: &'static str,
    /// Whether the words are common: then the marks of all other families are tried first.
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
    /// All of them must occur.
    pub words: &'static [&'static str],
    pub parser: &'static str,
}
