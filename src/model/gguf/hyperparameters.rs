//! The numbers of an architecture, checked against bounds, so that arithmetic, loops and llama.cpp can rely on
//! them.
//!
//! llama.cpp ends its process on some numbers instead of refusing the file
//! (failed assertions, divisions by zero); those are refused here.

use std::ops::RangeInclusive;

use super::value::Value;
use super::{GgufError, Metadata};

/// Layers: llama.cpp's own limit; the deepest known model has 126.
const BLOCKS: RangeInclusive<u64> = 1..=512;
/// Heads of a layer; layers without attention have none. The highest known number is 232.
const HEADS: RangeInclusive<u64> = 0..=4096;
/// Width of a head; the largest known is 576.
const HEAD: RangeInclusive<u64> = 0..=(1 << 14);
/// Width of a layer; the largest known is 20,480.
const WIDTH: RangeInclusive<u64> = 1..=(1 << 20);
/// Trained context and sliding window in tokens: twenty-five times the longest known context, and times eight
/// slots still within llama.cpp's signed positions.
const CONTEXT: RangeInclusive<u64> = 0..=(1 << 28);
/// Tokens of a vocabulary: four times the largest known.
const VOCABULARY: RangeInclusive<u64> = 0..=(1 << 22);
/// Experts of a layer: llama.cpp's own limit.
const EXPERTS: RangeInclusive<u64> = 0..=1024;
/// Sides of an image and of its patches, in pixels.
const IMAGE: RangeInclusive<u64> = 1..=(1 << 14);
/// Patches that are merged into one row, along one side.
const MERGE: RangeInclusive<u64> = 1..=64;

/// The numbers that a model's memory depends on; 0 = the file does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hyperparameters {
    /// KV heads, layer by layer.
    pub n_head_kv: Vec<u32>,
    /// Width of a head's keys and of its values.
    pub head_dim_k: u32,
    pub head_dim_v: u32,
    pub n_embd: u32,
    pub n_vocab: u32,
    /// Trained context in tokens.
    pub n_ctx_train: u32,
    /// Sliding window in tokens.
    pub sliding_window: u32,
}

impl Hyperparameters {
    /// Reads the numbers of a model.
    ///
    /// # Errors
    /// Names the first number that no model can have.
    pub fn read(header: &Metadata) -> Result<Self, GgufError> {
        let n_layer = number(header, ".block_count", &BLOCKS)?;
        check_predicting_layers(header, n_layer)?;
        check_experts(header)?;
        check_rope(header)?;
        let n_embd = number(header, ".embedding_length", &WIDTH)?.unwrap_or_default();
        check_dense_layers(header, n_embd)?;
        let heads = by_layer(header, ".attention.head_count", n_layer)?;
        let n_head = heads.iter().max().copied().unwrap_or_default().max(1);
        let heads_kv = by_layer(header, ".attention.head_count_kv", n_layer)?;
        let head_dim = n_embd / n_head;
        let length = |key| Ok::<_, GgufError>(number(header, key, &HEAD)?.unwrap_or_default());
        let or = |value: u32| if value == 0 { head_dim } else { value };
        let n_vocab = header.n_tokens().unwrap_or_default();
        if !VOCABULARY.contains(&n_vocab) {
            return Err(invalid(format!("a vocabulary of {n_vocab} tokens")));
        }
        let heads_kv = if heads_kv.is_empty() { heads } else { heads_kv };
        let head_dim_k = or(length(".attention.key_length")?);
        check_sections(header, head_dim_k)?;
        Ok(Self {
            n_head_kv: match heads_kv.as_slice() {
                [] => vec![n_head; as_usize(n_layer)],
                [every] => vec![*every; as_usize(n_layer)],
                _ => heads_kv,
            },
            head_dim_k,
            head_dim_v: or(length(".attention.value_length")?),
            n_embd,
            n_vocab: u32::try_from(n_vocab).unwrap_or(u32::MAX),
            n_ctx_train: number(header, ".context_length", &CONTEXT)?.unwrap_or_default(),
            sliding_window: window(header)?,
        })
    }
}

/// Checks the numbers of a projector, on which its loader divides and allocates.
///
/// # Errors
/// Names the first number that no projector can have.
pub fn check_projector(header: &Metadata) -> Result<(), GgufError> {
    const BOUNDS: [(&str, RangeInclusive<u64>); 12] = [
        ("block_count", 0..=*BLOCKS.end()),
        ("embedding_length", WIDTH),
        ("feed_forward_length", WIDTH),
        ("projection_dim", 0..=*WIDTH.end()),
        ("attention.head_count", 1..=*HEADS.end()),
        ("image_size", IMAGE),
        ("image_min_pixels", 0..=(*IMAGE.end() * *IMAGE.end())),
        ("image_max_pixels", 0..=(*IMAGE.end() * *IMAGE.end())),
        ("patch_size", IMAGE),
        ("spatial_merge_size", MERGE),
        ("num_mel_bins", IMAGE),
        // The third layer is the first that attends to the whole image; the loader relies on it.
        ("sam.block_count", 3..=*BLOCKS.end()),
    ];
    for tower in ["vision", "audio"] {
        for (name, bounds) in &BOUNDS {
            number(header, &format!("clip.{tower}.{name}"), bounds)?;
        }
    }
    number(header, "clip.vision.projector.scale_factor", &MERGE)?;
    Ok(())
}

fn check_experts(header: &Metadata) -> Result<(), GgufError> {
    let count = |key| Ok::<_, GgufError>(number(header, key, &EXPERTS)?.unwrap_or_default());
    let experts = count(".expert_count")?;
    // One number, or one for each layer.
    let used = list(header, ".expert_used_count", &EXPERTS)?;
    let used = used.into_iter().max().unwrap_or_default();
    let groups = count(".expert_group_count")?;
    let groups_used = count(".expert_group_used_count")?;
    // Dense files of this family claim to have one expert; llama.cpp handles that.
    let is_dense = experts <= 1 && header.architecture().starts_with("hunyuan");
    if !is_dense && (used > experts || (experts > 0 && used == 0)) {
        return Err(invalid(format!("{used} of {experts} experts are used")));
    }
    let is_uneven =
        groups > 1 && (!experts.is_multiple_of(groups) || !(1..groups).contains(&groups_used));
    if groups > 0 && groups >= experts || is_uneven {
        return Err(invalid(format!(
            "{groups} groups of {experts} experts, {groups_used} of the groups used"
        )));
    }
    Ok(())
}

/// The number of layers includes the multi-token prediction layers.
fn check_predicting_layers(header: &Metadata, n_layer: Option<u32>) -> Result<(), GgufError> {
    let n_predicting = number(header, ".nextn_predict_layers", &(0..=*BLOCKS.end()))?;
    match (n_predicting, n_layer) {
        (Some(n_predicting), Some(n_layer)) if n_predicting > n_layer => Err(invalid(format!(
            "`nextn_predict_layers` ({n_predicting}) exceeds the number of blocks"
        ))),
        _ => Ok(()),
    }
}

/// The dense layers after an embedding model's pooling begin and end with the model's width.
fn check_dense_layers(header: &Metadata, n_embd: u32) -> Result<(), GgufError> {
    for key in [".dense_2_feat_in", ".dense_3_feat_out"] {
        let width = number(header, key, &(0..=*WIDTH.end()))?.unwrap_or_default();
        if width != 0 && width != n_embd {
            return Err(invalid(format!(
                "`{}` is {width}, and the model's width {n_embd}",
                header.whole(key)
            )));
        }
    }
    Ok(())
}

fn check_rope(header: &Metadata) -> Result<(), GgufError> {
    const KNOWN: [&str; 4] = ["none", "linear", "yarn", "longrope"];
    match header.get(".rope.scaling.type") {
        None => Ok(()),
        Some(Value::Text(kind)) if KNOWN.contains(&&**kind) => Ok(()),
        Some(_) => Err(invalid(format!(
            "`{}` is none of {}",
            header.whole(".rope.scaling.type"),
            KNOWN.join(", ")
        ))),
    }
}

/// Positions in several dimensions share the width of a head; llama.cpp ends its process in the first decode
/// call if they take more.
fn check_sections(header: &Metadata, head_dim: u32) -> Result<(), GgufError> {
    const KEY: &str = ".rope.dimension_sections";
    let sections = list(header, KEY, &HEAD)?;
    let sum = sections
        .iter()
        .fold(0, |sum: u32, section| sum.saturating_add(*section));
    if sum <= head_dim || head_dim == 0 {
        return Ok(());
    }
    Err(invalid(format!(
        "the sections of `{}` take {sum} of the {head_dim} numbers of a head",
        header.whole(KEY)
    )))
}

/// One number, or one for each layer; then the largest counts.
fn window(header: &Metadata) -> Result<u32, GgufError> {
    let windows = list(header, ".attention.sliding_window", &CONTEXT)?;
    Ok(windows.into_iter().max().unwrap_or_default())
}

/// No number, one, or one for each layer.
fn by_layer(header: &Metadata, key: &str, n_layer: Option<u32>) -> Result<Vec<u32>, GgufError> {
    let numbers = list(header, key, &HEADS)?;
    let is_array = header
        .get(key)
        .is_some_and(|value| value.n_elements().is_some());
    if is_array && numbers.len() != as_usize(n_layer) {
        return Err(invalid(format!(
            "`{}` has {} numbers for {} layers",
            header.whole(key),
            numbers.len(),
            as_usize(n_layer)
        )));
    }
    Ok(numbers)
}

/// The numbers of a key; empty if the key is missing.
fn list(header: &Metadata, key: &str, bounds: &RangeInclusive<u64>) -> Result<Vec<u32>, GgufError> {
    match header.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Numbers(numbers)) => numbers
            .iter()
            .map(|value| bounded(header, key, &value, bounds))
            .collect(),
        Some(value) => Ok(vec![bounded(header, key, value, bounds)?]),
    }
}

fn number(
    header: &Metadata,
    key: &str,
    bounds: &RangeInclusive<u64>,
) -> Result<Option<u32>, GgufError> {
    let value = header.get(key);
    value
        .map(|value| bounded(header, key, value, bounds))
        .transpose()
}

fn bounded(
    header: &Metadata,
    key: &str,
    value: &Value,
    bounds: &RangeInclusive<u64>,
) -> Result<u32, GgufError> {
    let problem = match value {
        Value::Unsigned(number) => match u32::try_from(*number) {
            Ok(small) if bounds.contains(number) => return Ok(small),
            _ => format!(
                "is {number}, which is not between {} and {}",
                bounds.start(),
                bounds.end()
            ),
        },
        Value::Negative(number) => format!("is {number}, which is negative"),
        _ => "is no whole number".to_owned(),
    };
    Err(invalid(format!("`{}` {problem}", header.whole(key))))
}

fn as_usize(n_layer: Option<u32>) -> usize {
    usize::try_from(n_layer.unwrap_or_default()).unwrap_or_default()
}

fn invalid(reason: String) -> GgufError {
    GgufError::Invalid(reason)
}
