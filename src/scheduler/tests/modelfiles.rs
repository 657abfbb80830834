//! Checks what the sample Modelfiles and `docs/models.md` promise for a 16 GB card.

use std::path::Path;

use super::MIB;
use crate::protocol::KvCacheType::{self, F16, Q8_0};
use crate::scheduler::estimate::ModelDims;

/// An RTX 4080 less the desktop's and CUDA's part, in MiB.
const CARD: u64 = 16_376 - 450 - 400;
const SLOTS: [u32; 4] = [1, 4, 8, 16];

struct Model {
    file: &'static str,
    dims: ModelDims,
    /// Compute buffers in MiB.
    compute: u64,
}

fn model(
    file: &'static str,
    architecture: &str,
    (n_layer, head_dim, window): (usize, u32, u32),
    compute: u64,
) -> Model {
    let dims = ModelDims {
        window_period: crate::families::window_period(architecture),
        n_head_kv: vec![8; n_layer],
        head_dim_k: head_dim,
        head_dim_v: head_dim,
        sliding_window: window,
        n_ctx_train: if architecture == "llama" {
            32_768
        } else {
            131_072
        },
        ..ModelDims::default()
    };
    Model {
        file,
        dims,
        compute,
    }
}

fn gemma() -> Model {
    model("gemma3-12b", "gemma3", (48, 256, 1024), 600)
}

fn gpt_oss() -> Model {
    model("gpt-oss-20b", "gpt-oss", (24, 64, 128), 420)
}

fn mistral() -> Model {
    model("mistral-7b", "llama", (32, 128, 0), 300)
}

/// Bytes of the cache of sliding-window layers.
fn window_bytes(dims: &ModelDims, n_slots: u32, kind: KvCacheType) -> u64 {
    dims.window_costs(kind, 512).bytes(0, n_slots)
}

impl Model {
    /// Tokens that fit beside weights of this many hundredths of a GiB.
    fn tokens(&self, weights: u64, kind: KvCacheType, n_slots: u32) -> u64 {
        let room = (CARD - self.compute) * MIB - weights * 1024 * MIB / 100;
        let left = room - window_bytes(&self.dims, n_slots, kind);
        let fits = left / self.dims.global_bytes_per_token(kind);
        fits.min(u64::from(self.dims.n_ctx_train) * u64::from(n_slots))
    }
}

fn read(path: &str) -> String {
    fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The numbers in thousands ("120k") in the line that begins with `row`.
fn row(text: &str, row: &str) -> Vec<u64> {
    let lines = text
        .lines()
        .map(|line| line.trim_start_matches(['#', '|', ' ']));
    let mut found = lines.filter_map(|line| line.strip_prefix(row));
    let line = found.next().unwrap_or_else(|| panic!("no row {row:?}"));
    let words = line
        .split([' ', '|'])
        .filter_map(|word| word.strip_suffix('k'));
    words.map(|word| word.parse().unwrap()).collect()
}

#[test]
fn the_tables_of_context_are_what_the_dimensions_give() {
    let docs = read("docs/models.md");
    for (model, weights, kind, in_file, in_docs) in [
        (gemma(), 680, F16, "KV cache f16", "Gemma 3 12B, f16"),
        (gemma(), 680, Q8_0, "KV cache q8_0", "Gemma 3 12B, q8_0"),
        (
            gpt_oss(),
            1127,
            F16,
            "ggml-org's file, f16",
            "gpt-oss 20B (ggml-org), f16",
        ),
        (
            gpt_oss(),
            1285,
            F16,
            "Ollama's file, f16",
            "gpt-oss 20B (Ollama's file), f16",
        ),
        (mistral(), 407, F16, "KV cache f16", "Mistral 7B, f16"),
        (mistral(), 407, Q8_0, "KV cache q8_0", "Mistral 7B, q8_0"),
    ] {
        let computed = SLOTS.map(|n_slots| model.tokens(weights, kind, n_slots));
        let file = row(
            &read(&format!("modelfiles/{}.Modelfile", model.file)),
            in_file,
        );
        assert_eq!(file, row(&docs, in_docs), "{in_docs}: two tables");
        assert_eq!(file.len(), SLOTS.len(), "{in_docs}");
        for (written, computed) in file.into_iter().zip(computed) {
            // The documented numbers are rounded, some to the safe side.
            assert!(
                (written * 1000).abs_diff(computed) <= 1100,
                "{in_docs}: {written}k is written, {computed} fit"
            );
        }
    }
}

#[test]
fn the_costs_in_the_table_are_those_of_the_cache() {
    let docs = read("docs/models.md");
    let per_1024 = |model: &Model, kind| model.dims.global_bytes_per_token(kind) as f64 / 1024.0;
    let per_slot = |model: &Model, kind| {
        // The difference of sixteen slots, because the cache grows in steps.
        let more = window_bytes(&model.dims, 17, kind) - window_bytes(&model.dims, 1, kind);
        more as f64 / 16.0 / MIB as f64
    };
    let pair = |value: &dyn Fn(KvCacheType) -> f64| {
        let round = |value: f64| format!("{}", (value * 100.0).round() / 100.0);
        format!("{} / {}", round(value(F16)), round(value(Q8_0)))
    };
    let models = [gemma(), gpt_oss(), mistral()];
    let cells: Vec<String> = models
        .iter()
        .map(|model| pair(&|kind| per_1024(model, kind)))
        .collect();
    let line = format!(
        "| KV cache for 1,024 tokens (f16 / q8_0) | {} MiB | {} MiB | {} MiB |",
        cells[0], cells[1], cells[2]
    );
    assert!(docs.contains(&line), "should be: {line}");
    let line = format!(
        "| More for each slot (f16 / q8_0) | {} MiB | {} MiB | nothing |",
        pair(&|kind| per_slot(&models[0], kind)),
        pair(&|kind| per_slot(&models[1], kind)),
    );
    assert!(docs.contains(&line), "should be: {line}");
    assert_eq!(window_bytes(&models[2].dims, 16, F16), 0);
}

#[test]
fn eight_requests_with_the_context_of_their_modelfile_fit() {
    for (model, weights) in [(gemma(), 680), (gpt_oss(), 1127), (mistral(), 407)] {
        let text = read(&format!("modelfiles/{}.Modelfile", model.file));
        let num_ctx = text
            .lines()
            .find_map(|line| line.strip_prefix("PARAMETER num_ctx "));
        let num_ctx: u64 = num_ctx.unwrap().parse().unwrap();
        let fit = model.tokens(weights, F16, 8);
        assert!(8 * num_ctx <= fit, "{}: 8 x {num_ctx} > {fit}", model.file);
    }
}
