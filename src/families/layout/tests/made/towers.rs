//! Small image encoders with random weights: as llama.cpp wants them in a separate file, and as they are among the
//! weights in Ollama's files.

use serde_json::{Value, json};

use super::file::{E, File};

/// Widths of the encoder and of its feed-forward layers; the numbers of its heads and layers.
const VE: u64 = 32;
const VF: u64 = 48;
const N_HEAD: u64 = 2;
const N_LAYERS: u64 = 2;

/// An encoder in both layouts.
pub(super) struct Tower {
    pub(super) upstream: File,
    pub(super) ollama: File,
    /// Its keys in the file of the weights.
    pub(super) keys: Vec<(String, Value)>,
}

impl Tower {
    fn new(upstream: File, keys: Value, change: impl FnOnce(&mut File)) -> Self {
        let mut ollama = upstream.clone();
        change(&mut ollama);
        let keys = keys.as_object().unwrap().iter();
        let keys = keys.map(|(key, value)| (key.clone(), value.clone()));
        Self {
            upstream,
            ollama,
            keys: keys.collect(),
        }
    }
}

/// A projector with the keys that all projectors have.
fn projector(kind: &str, keys: Value) -> File {
    let mut file = File::projector(kind);
    let all = json!({"block_count": N_LAYERS, "embedding_length": VE, "feed_forward_length": VF,
        "attention.head_count": N_HEAD, "attention.layer_norm_epsilon": 1e-6, "projection_dim": E,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]});
    let all = all.as_object().unwrap().iter();
    for (key, value) in all.chain(keys.as_object().unwrap()) {
        file.set(&format!("clip.vision.{key}"), value.clone());
    }
    file
}

/// Adds parts of all layers, with a bias.
fn blocks(file: &mut File, parts: &[(&str, &[u64])]) {
    for layer in 0..N_LAYERS {
        for (part, shape) in parts {
            file.add_both(&format!("v.blk.{layer}.{part}"), shape);
        }
    }
}

/// Adds parts of all layers, without a bias.
fn plain_blocks(file: &mut File, parts: &[(&str, &[u64])]) {
    for layer in 0..N_LAYERS {
        for (part, shape) in parts {
            file.add(&format!("v.blk.{layer}.{part}.weight"), shape);
        }
    }
}

/// The encoder of Qwen 3 VL and 3.5 for so many positions; the output of some layers is given to the model in addition.
fn qwen3(side: u64, deep: &[u64], keys: &Value) -> Tower {
    const PATCH: u64 = 16;
    const MERGED: u64 = 4 * VE;
    let is_deep: Vec<bool> = (0..N_LAYERS).map(|layer| deep.contains(&layer)).collect();
    let mut file = projector(
        "qwen3vl_merger",
        json!({"patch_size": PATCH, "image_size": side * PATCH, "spatial_merge_size": 2,
            "is_deepstack_layers": is_deep}),
    );
    file.set("clip.use_gelu", true);
    file.add("v.patch_embd.weight", &[PATCH, PATCH, 3, VE]);
    file.add("v.patch_embd.weight.1", &[PATCH, PATCH, 3, VE]);
    file.add("v.patch_embd.bias", &[VE]);
    file.add("v.position_embd.weight", &[VE, side * side]);
    file.add_both("v.post_ln", &[VE]);
    blocks(
        &mut file,
        &[
            ("ln1", &[VE]),
            ("ln2", &[VE]),
            ("attn_qkv", &[VE, 3 * VE]),
            ("attn_out", &[VE, VE]),
            ("ffn_up", &[VE, VF]),
            ("ffn_down", &[VF, VE]),
        ],
    );
    file.add_both("mm.0", &[MERGED, MERGED]);
    file.add_both("mm.2", &[MERGED, E]);
    for layer in deep {
        file.add_both(&format!("v.deepstack.{layer}.norm"), &[MERGED]);
        file.add_both(&format!("v.deepstack.{layer}.fc1"), &[MERGED, MERGED]);
        file.add_both(&format!("v.deepstack.{layer}.fc2"), &[MERGED, E]);
    }
    let mut all = json!({".vision.block_count": N_LAYERS, ".vision.embedding_length": VE,
        ".vision.attention.head_count": N_HEAD, ".vision.patch_size": PATCH,
        ".vision.spatial_merge_size": 2});
    let more = keys.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(more);
    Tower::new(file, all, |file| as_qwen3(file, deep, PATCH))
}

fn as_qwen3(file: &mut File, deep: &[u64], patch: u64) {
    let patches = ["v.patch_embd.weight", "v.patch_embd.weight.1"];
    let shape = [patch, patch, 2, 3 * VE];
    file.interleave(patches, patch * patch, "v.patch_embed.weight", &shape);
    for layer in 0..N_LAYERS {
        for part in ["weight", "bias"] {
            let name = |which| format!("v.blk.{layer}.attn_{which}.{part}");
            let [q, k, v] = ["q", "k", "v"].map(name);
            file.cut(&name("qkv"), &[&q, &k, &v]);
        }
    }
    for (new, old) in [
        ("v.patch_embd.", "v.patch_embed."),
        ("v.position_embd.", "v.pos_embed."),
        ("v.post_ln.", "v.merger.norm."),
        ("mm.0.", "v.merger.linear_fc1."),
        ("mm.2.", "v.merger.linear_fc2."),
        (".ln1.", ".norm1."),
        (".ln2.", ".norm2."),
        (".ffn_up.", ".mlp.linear_fc1."),
        (".ffn_down.", ".mlp.linear_fc2."),
    ] {
        file.rename(new, old);
    }
    for (number, layer) in deep.iter().enumerate() {
        for (new, old) in [
            ("norm", "norm"),
            ("fc1", "linear_fc1"),
            ("fc2", "linear_fc2"),
        ] {
            let new = format!("v.deepstack.{layer}.{new}.");
            file.rename(&new, &format!("v.deepstack_merger.{number}.{old}."));
        }
    }
}

pub(super) fn qwen3vl() -> Tower {
    let keys = json!({".vision.deepstack_visual_indexes": [1]});
    qwen3(8, &[1], &keys)
}

pub(super) fn qwen35() -> Tower {
    qwen3(48, &[], &json!({}))
}

pub(super) fn llama4() -> Tower {
    const PATCH: u64 = 14;
    const SIDE: u64 = 4;
    const ADAPTER: u64 = 40;
    let mut file = projector(
        "llama4",
        json!({"patch_size": PATCH, "image_size": SIDE * PATCH, "projector.scale_factor": 2}),
    );
    file.set("clip.use_gelu", true);
    file.add("v.patch_embd.weight", &[3 * PATCH * PATCH, VE]);
    file.add("v.position_embd.weight", &[VE, SIDE * SIDE + 1]);
    file.add("v.class_embd", &[VE]);
    file.add_both("v.pre_ln", &[VE]);
    file.add_both("v.post_ln", &[VE]);
    blocks(
        &mut file,
        &[
            ("ln1", &[VE]),
            ("ln2", &[VE]),
            ("attn_q", &[VE, VE]),
            ("attn_k", &[VE, VE]),
            ("attn_v", &[VE, VE]),
            ("attn_out", &[VE, VE]),
            ("ffn_up", &[VE, VF]),
            ("ffn_down", &[VF, VE]),
        ],
    );
    file.add("mm.model.mlp.1.weight", &[4 * VE, ADAPTER]);
    file.add("mm.model.mlp.2.weight", &[ADAPTER, ADAPTER]);
    file.add("mm.model.fc.weight", &[ADAPTER, E]);
    let keys = json!({".vision.block_count": N_LAYERS, ".vision.embedding_length": VE,
        ".vision.feed_forward_length": VF, ".vision.attention.head_count": N_HEAD,
        ".vision.image_size": SIDE * PATCH, ".vision.patch_size": PATCH,
        ".vision.layer_norm_epsilon": 1e-6, ".vision.pixel_shuffle_ratio": 0.5});
    Tower::new(file, keys, |file| {
        for (new, old) in [
            ("v.position_embd.weight", "v.positional_embedding_vlm"),
            ("mm.model.mlp.1.", "v.vision_adapter.mlp.fc1."),
            ("mm.model.mlp.2.", "v.vision_adapter.mlp.fc2."),
            ("mm.model.fc.", "mm.linear_1."),
            ("v.class_embd", "v.class_embedding"),
            ("v.pre_ln.", "v.layernorm_pre."),
            ("v.post_ln.", "v.layernorm_post."),
            ("v.patch_embd.", "v.patch_embedding."),
            (".attn_out.", ".attn_output."),
            (".ln1.", ".attn_norm."),
            (".ln2.", ".ffn_norm."),
            (".ffn_up.", ".mlp.fc1."),
            (".ffn_down.", ".mlp.fc2."),
        ] {
            file.rename(new, old);
        }
    })
}

/// With the bounds of all linear layers in one list.
pub(super) fn gemma4() -> Tower {
    const PATCH: u64 = 16;
    const LINEAR: [&str; 7] = [
        "attn_q", "attn_k", "attn_v", "attn_out", "ffn_gate", "ffn_up", "ffn_down",
    ];
    let mut file = projector(
        "gemma4v",
        json!({"patch_size": PATCH, "image_size": 224, "image_mean": [0.0, 0.0, 0.0],
            "image_std": [1.0, 1.0, 1.0]}),
    );
    file.add("v.patch_embd.weight", &[PATCH, PATCH, 3, VE]);
    file.add("v.position_embd.weight", &[VE, 32, 2]);
    file.add("v.std_bias", &[VE]);
    file.add("v.std_scale", &[VE]);
    file.add("mm.input_projection.weight", &[VE, E]);
    plain_blocks(
        &mut file,
        &[
            ("ln1", &[VE]),
            ("ln2", &[VE]),
            ("attn_post_norm", &[VE]),
            ("ffn_post_norm", &[VE]),
            ("attn_q_norm", &[VE / N_HEAD]),
            ("attn_k_norm", &[VE / N_HEAD]),
            ("attn_q", &[VE, VE]),
            ("attn_k", &[VE, VE]),
            ("attn_v", &[VE, VE]),
            ("attn_out", &[VE, VE]),
            ("ffn_gate", &[VE, VF]),
            ("ffn_up", &[VE, VF]),
            ("ffn_down", &[VF, VE]),
        ],
    );
    let layers = (0..N_LAYERS).flat_map(|layer| LINEAR.map(|part| format!("v.blk.{layer}.{part}")));
    let linear: Vec<String> = layers.chain(["mm.input_projection".to_owned()]).collect();
    let mut ollama = file.clone();
    let mut packed = Vec::new();
    // Each part has its own bounds, within its range of inputs.
    let mut bound = 0.25;
    for name in &linear {
        for (which, number) in [
            ("input_min", -bound),
            ("input_max", bound),
            ("output_min", -bound / 2.0),
            ("output_max", bound / 2.0),
        ] {
            file.add_numbers(&format!("{name}.{which}"), &[number]);
            packed.push(number);
        }
        bound += 0.125;
    }
    ollama.add_numbers("v.clamp_data", &packed);
    let keys = json!({".vision.block_count": N_LAYERS, ".vision.embedding_length": VE,
        ".vision.feed_forward_length": VF, ".vision.attention.head_count": N_HEAD,
        ".vision.attention.layer_norm_epsilon": 1e-6, ".vision.patch_size": PATCH});
    let mut tower = Tower::new(file, keys, |_| ());
    tower.ollama = ollama;
    tower
}

pub(super) fn glmocr() -> Tower {
    const PATCH: u64 = 14;
    const OUT: u64 = 80;
    let mut file = projector(
        "glm4v",
        json!({"patch_size": PATCH, "image_size": 336, "spatial_merge_size": 2}),
    );
    file.set("clip.use_silu", true);
    file.add("v.patch_embd.weight", &[PATCH, PATCH, 3, VE]);
    file.add("v.patch_embd.weight.1", &[PATCH, PATCH, 3, VE]);
    file.add("v.patch_embd.bias", &[VE]);
    file.add("v.post_ln.weight", &[VE]);
    plain_blocks(
        &mut file,
        &[
            ("ln1", &[VE]),
            ("ln2", &[VE]),
            ("attn_q_norm", &[VE / N_HEAD]),
            ("attn_k_norm", &[VE / N_HEAD]),
        ],
    );
    blocks(
        &mut file,
        &[
            ("attn_qkv", &[VE, 3 * VE]),
            ("attn_out", &[VE, VE]),
            ("ffn_gate", &[VE, VF]),
            ("ffn_up", &[VE, VF]),
            ("ffn_down", &[VF, VE]),
        ],
    );
    file.add("mm.patch_merger.weight", &[2, 2, VE, E]);
    file.add("mm.patch_merger.bias", &[E]);
    file.add("mm.model.fc.weight", &[E, E]);
    file.add_both("mm.post_norm", &[E]);
    file.add("mm.up.weight", &[E, OUT]);
    file.add("mm.gate.weight", &[E, OUT]);
    file.add("mm.down.weight", &[OUT, E]);
    let keys = json!({".vision.block_count": N_LAYERS, ".vision.embedding_length": VE,
        ".vision.intermediate_size": VF, ".vision.attention.head_count": N_HEAD,
        ".vision.attention.layer_norm_rms_epsilon": 1e-6, ".vision.patch_size": PATCH,
        ".vision.image_size": 336, ".vision.spatial_merge_size": 2,
        ".vision.out_hidden_size": E, ".vision.image_mean": [0.5, 0.5, 0.5],
        ".vision.image_std": [0.5, 0.5, 0.5]});
    Tower::new(file, keys, |file| {
        file.rename("v.patch_embd.weight.1", "v.patch_embd_1.weight");
        file.rename("v.patch_embd.weight", "v.patch_embd_0.weight");
    })
}

/// Two encoders one after the other; the first one sees windows of the image.
pub(super) fn deepseekocr() -> Tower {
    const PATCH: u64 = 16;
    const SIDE: u64 = 64;
    const NARROW: u64 = 16;
    const MIDDLE: u64 = 24;
    const WINDOW: u64 = 14;
    // The third layer of the first encoder sees the whole image.
    const N_SAM: u64 = 3;
    let mut file = projector(
        "deepseekocr",
        json!({"patch_size": PATCH, "image_size": SIDE * PATCH, "projector.scale_factor": 1,
            "window_size": WINDOW, "sam.block_count": N_SAM, "sam.embedding_length": VE,
            "sam.head_count": N_HEAD}),
    );
    file.set("clip.use_gelu", true);
    file.add_both("v.sam.patch_embd", &[PATCH, PATCH, 3, VE]);
    file.add("v.sam.pos_embd.weight", &[VE, SIDE, SIDE]);
    for layer in 0..N_SAM {
        let side = if layer == 2 { SIDE } else { WINDOW };
        let name = |part: &str| format!("v.sam.blk.{layer}.{part}");
        file.add_both(&name("pre_ln"), &[VE]);
        file.add_both(&name("post_ln"), &[VE]);
        file.add_both(&name("attn.qkv"), &[VE, 3 * VE]);
        file.add_both(&name("attn.out"), &[VE, VE]);
        file.add(&name("attn.pos_h.weight"), &[VE / N_HEAD, 2 * side - 1]);
        file.add(&name("attn.pos_w.weight"), &[VE / N_HEAD, 2 * side - 1]);
        file.add_both(&name("mlp.lin1"), &[VE, VF]);
        file.add_both(&name("mlp.lin2"), &[VF, VE]);
    }
    file.add("v.sam.neck.0.weight", &[1, 1, VE, NARROW]);
    file.add_both("v.sam.neck.1", &[NARROW]);
    file.add("v.sam.neck.2.weight", &[3, 3, NARROW, NARROW]);
    file.add_both("v.sam.neck.3", &[NARROW]);
    file.add("v.sam.net_2.weight", &[3, 3, NARROW, MIDDLE]);
    file.add("v.sam.net_3.weight", &[3, 3, MIDDLE, VE]);
    file.add("v.patch_embd.weight", &[14, 14, 3, VE]);
    file.add("v.position_embd.weight", &[VE, SIDE / 4 * (SIDE / 4) + 1]);
    file.add("v.class_embd", &[VE]);
    file.add_both("v.pre_ln", &[VE]);
    blocks(
        &mut file,
        &[
            ("ln1", &[VE]),
            ("ln2", &[VE]),
            ("attn_qkv", &[VE, 3 * VE]),
            ("attn_out", &[VE, VE]),
            ("ffn_up", &[VE, VF]),
            ("ffn_down", &[VF, VE]),
        ],
    );
    file.add_both("mm.model.fc", &[2 * VE, E]);
    file.add("v.image_newline", &[E]);
    file.add("v.view_seperator", &[E]);
    let keys = json!({".vision.block_count": N_LAYERS, ".vision.embedding_length": VE,
        ".vision.head_count": N_HEAD, ".vision.image_size": 224, ".vision.patch_size": 14,
        ".sam.block_count": N_SAM, ".sam.embedding_length": VE, ".sam.head_count": N_HEAD});
    Tower::new(file, keys, |file| {
        for (new, old) in [
            (".attn.out.", ".attn.proj."),
            (".attn.pos_h.weight", ".attn.rel_pos_h"),
            (".attn.pos_w.weight", ".attn.rel_pos_w"),
            ("v.pre_ln.", "v.pre_layrnorm."),
            (".pre_ln.", ".norm1."),
            (".post_ln.", ".norm2."),
            (".attn_out.", ".self_attn.out_proj."),
            (".attn_qkv.", ".self_attn.qkv_proj."),
            (".ln1.", ".layer_norm1."),
            (".ln2.", ".layer_norm2."),
            (".ffn_up.", ".mlp.fc1."),
            (".ffn_down.", ".mlp.fc2."),
            ("mm.model.fc.", "mm.layers."),
            ("v.image_newline", "mm.image_newline"),
            ("v.view_seperator", "mm.view_seperator"),
            ("v.sam.pos_embd.weight", "s.position_embd"),
            ("v.sam.", "s."),
        ] {
            file.rename(new, old);
        }
    })
}
