//! Writes a tiny projector for sound, with random weights, for tests.

use super::builder::GgufBuilder;

/// Width, blocks and mel bands of the encoder, and the frames that make a row.
const WIDTH: u64 = 32;
const BLOCKS: u64 = 2;
const BANDS: u64 = 16;
const STACKED: u64 = 100;

/// Rows of half a minute of sound, and of anything shorter.
pub const ROWS: usize = 15;

/// A Whisper-like encoder with Ultravox's projector, for a text model with inputs of this width.
pub fn audio_projector(n_embd: u64) -> GgufBuilder {
    let hidden = 64;
    let mut file = GgufBuilder::new("clip")
        .value("clip.has_audio_encoder", true)
        .value("clip.projector_type", "ultravox")
        .value("clip.audio.embedding_length", WIDTH)
        .value("clip.audio.feed_forward_length", 2 * WIDTH)
        .value("clip.audio.block_count", BLOCKS)
        .value("clip.audio.projection_dim", n_embd)
        .value("clip.audio.attention.head_count", 2)
        .value("clip.audio.attention.layer_norm_epsilon", 1e-5)
        .value("clip.audio.num_mel_bins", BANDS)
        .value("clip.audio.projector.stack_factor", STACKED)
        .tensor("a.conv1d.1.weight", "F16", &[3, BANDS, WIDTH])
        .tensor("a.conv1d.1.bias", "F32", &[1, WIDTH])
        .tensor("a.conv1d.2.weight", "F16", &[3, WIDTH, WIDTH])
        .tensor("a.conv1d.2.bias", "F32", &[1, WIDTH])
        .tensor("a.position_embd.weight", "F32", &[WIDTH, 1500])
        .tensor("a.post_ln.weight", "F32", &[WIDTH])
        .tensor("a.post_ln.bias", "F32", &[WIDTH])
        .tensor("mm.a.norm_pre.weight", "F32", &[WIDTH * STACKED])
        .tensor("mm.a.mlp.1.weight", "F32", &[WIDTH * STACKED, 2 * hidden])
        .tensor("mm.a.norm_mid.weight", "F32", &[hidden])
        .tensor("mm.a.mlp.2.weight", "F32", &[hidden, n_embd]);
    for block in 0..BLOCKS {
        let name = |part: &str| format!("a.blk.{block}.{part}");
        for part in ["attn_q", "attn_k", "attn_v", "attn_out"] {
            file = file.tensor(&name(&format!("{part}.weight")), "F32", &[WIDTH, WIDTH]);
        }
        for part in ["attn_q", "attn_v", "attn_out", "ln1", "ln2", "ffn_down"] {
            file = file.tensor(&name(&format!("{part}.bias")), "F32", &[WIDTH]);
        }
        for part in ["ln1.weight", "ln2.weight"] {
            file = file.tensor(&name(part), "F32", &[WIDTH]);
        }
        file = file
            .tensor(&name("ffn_up.weight"), "F32", &[WIDTH, 2 * WIDTH])
            .tensor(&name("ffn_up.bias"), "F32", &[2 * WIDTH])
            .tensor(&name("ffn_down.weight"), "F32", &[2 * WIDTH, WIDTH]);
    }
    file.noise(7)
}
