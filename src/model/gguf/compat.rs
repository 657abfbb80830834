//! Files in the layouts of Ollama's former engine, which llama.cpp itself refuses.
//!
//! Decided by the content of the header, never by a model's name. Only recognised here, so that
//! the refusal names the reason; translating them is for the loader.

use super::{Metadata, Value};

/// Tensors of vision, audio and other towers that llama.cpp wants in a file of their own.
const TOWERS: [&str; 2] = ["v.", "mm."];

/// Returns why llama.cpp cannot load this file, `None` when nothing speaks against it.
pub fn refusal(metadata: &Metadata) -> Option<String> {
    let reason = reason(metadata)?;
    Some(format!(
        "this file is in Ollama's own layout for `{}` ({reason}), which drover cannot load yet; a GGUF file made \
         by llama.cpp's converter works",
        metadata.architecture()
    ))
}

fn reason(metadata: &Metadata) -> Option<&'static str> {
    let towers = || metadata.has_tensor_prefix(&TOWERS);
    let key = |key: &str| metadata.get(key).is_some();
    let when = |found: bool, reason: &'static str| found.then_some(reason);
    const VISION: &str = "vision tensors inside the model file";
    match metadata.architecture() {
        "gptoss" | "qwen25vl" | "olmo3" | "glm4moelite" | "glmocr" | "deepseekocr" => {
            Some("an architecture name that only Ollama used")
        }
        "gemma3" if metadata.tensor("dense.0.weight").is_some() => {
            Some("an embedding model under a chat model's name")
        }
        "gemma3" => {
            when(towers(), VISION).or_else(|| when(is_own_gemma3(metadata), "other key names"))
        }
        "gemma3n" => when(
            has_cut_vocabulary(metadata),
            "a vocabulary longer than the per-layer embedding",
        ),
        "gemma4" => when(
            towers() || metadata.has_tensor_prefix(&["a.", "model.vision_tower."]),
            "vision or audio tensors inside the model file",
        )
        .or_else(|| {
            when(
                metadata.string("tokenizer.ggml.model") == Some("llama"),
                "another tokenizer name",
            )
        }),
        "mistral3" => when(towers(), VISION).or_else(|| {
            let keys = [
                ".rope.scaling.beta_fast",
                ".rope.scaling.mscale_all_dim",
                ".rope.scaling_beta",
            ];
            when(keys.into_iter().any(key), "other key names")
        }),
        "qwen3vl" | "qwen3vlmoe" => when(
            !key(".rope.dimension_sections"),
            "no `rope.dimension_sections`",
        ),
        "qwen35" | "qwen35moe" => when(is_own_qwen35(metadata), "other key and tensor names"),
        "qwen3next" => when(has_tensor_suffix(metadata, ".ssm_dt"), "other tensor names"),
        "llama4" => when(towers(), VISION),
        "lfm2" => when(
            metadata.tensor("output_norm.weight").is_some()
                && metadata.tensor("token_embd_norm.weight").is_none(),
            "other tensor names",
        ),
        "nemotron_h_moe" => when(
            metadata.has_tensor_prefix(&["blk.0.ffn_latent_in", "blk.1.ffn_latent_in", "mtp."]),
            "other tensor names",
        ),
        "nemotron_h_omni" => when(towers() || metadata.has_tensor_prefix(&["a."]), VISION),
        "bert" => when(
            has_text_charsmap(metadata),
            "a tokenizer table stored as text",
        ),
        "laguna" => when(
            key(".rope.swa.dimension_count")
                || key(".rope.swa.freq_base")
                || metadata.tensor("blk.0.attn_g.weight").is_some(),
            "other key names",
        ),
        "mllama" => Some("a model family without support in llama.cpp"),
        "clip" => when(is_untyped_projector(metadata), "a projector without a type"),
        _ => None,
    }
}

fn is_own_gemma3(metadata: &Metadata) -> bool {
    let keys = [
        ".mm.tokens_per_image",
        ".rope.global.freq_base",
        ".rope.local.freq_base",
        "tokenizer.ggml.add_padding_token",
        "tokenizer.ggml.add_unknown_token",
    ];
    keys.into_iter().any(|key| metadata.get(key).is_some())
        || metadata.get(".attention.layer_norm_rms_epsilon").is_none()
}

fn has_cut_vocabulary(metadata: &Metadata) -> bool {
    let rows = |name| {
        metadata
            .tensor(name)
            .and_then(|tensor| tensor.shape.get(1).copied())
    };
    match (
        rows("token_embd.weight"),
        rows("per_layer_token_embd.weight"),
    ) {
        (Some(tokens), Some(per_layer)) => tokens != per_layer,
        _ => false,
    }
}

fn is_own_qwen35(metadata: &Metadata) -> bool {
    let keys = [
        ".vision.block_count",
        ".image_token_id",
        ".ssm.v_head_reordered",
        ".rope.mrope_interleaved",
    ];
    let moe =
        metadata.architecture() == "qwen35moe" && metadata.get(".feed_forward_length").is_some();
    moe || keys.into_iter().any(|key| metadata.get(key).is_some())
        || metadata.has_tensor_prefix(&["mtp.", "v."])
}

fn has_tensor_suffix(metadata: &Metadata, suffix: &str) -> bool {
    metadata
        .tensors
        .iter()
        .any(|tensor| tensor.name.ends_with(suffix))
}

/// The table is right as an array of bytes.
fn has_text_charsmap(metadata: &Metadata) -> bool {
    let table = metadata.get("tokenizer.ggml.precompiled_charsmap");
    metadata.string("tokenizer.ggml.model") == Some("t5") && table.is_some_and(Value::is_texts)
}

fn is_untyped_projector(metadata: &Metadata) -> bool {
    metadata
        .get("clip.has_vision_encoder")
        .and_then(Value::as_bool)
        == Some(true)
        && ["clip.projector_type", "clip.vision.projector_type"]
            .into_iter()
            .all(|key| metadata.get(key).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::gguf::{FileKind, GgufError, Hyperparameters, check_projector};

    fn check_numbers(metadata: &Metadata) -> Result<(), GgufError> {
        match metadata.kind() {
            FileKind::Model => Hyperparameters::read(metadata).map(drop),
            FileKind::Projector => check_projector(metadata),
            FileKind::Adapter => Ok(()),
        }
    }

    /// Reads the shared pairs of tiny models, where they are.
    #[test]
    fn the_shared_pairs_are_told_apart() {
        #[expect(clippy::disallowed_methods, reason = "where the test data is")]
        let root =
            std::env::var("DROVER_TESTDATA").unwrap_or_else(|_| "../shared/testdata".to_owned());
        let folder = std::path::PathBuf::from(root).join("gguf");
        let Ok(entries) = fs_err::read_dir(&folder) else {
            println!("skipped: no {}", folder.display());
            return;
        };
        let mut checked = 0;
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.ends_with(".gguf") {
                continue;
            }
            let metadata = Metadata::read(&mut fs_err::File::open(&path).unwrap()).unwrap();
            assert_eq!(
                refusal(&metadata).is_some(),
                name.ends_with("-ollama.gguf"),
                "{name}"
            );
            let whole = Metadata::read_whole(&mut fs_err::File::open(&path).unwrap()).unwrap();
            assert_eq!(refusal(&metadata), refusal(&whole), "{name}");
            if refusal(&metadata).is_none() {
                check_numbers(&metadata).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            checked += 1;
        }
        println!("{checked} files");
    }
}
