//! What a model can be loaded with: adapters, cache types, flash attention.

use std::io::Write;

use super::*;
use crate::model::gguf::builder::GgufBuilder;
use crate::protocol::Adapter;

/// Width of SmolLM2.
const WIDTH: u64 = 576;
const RANK: u64 = 4;

/// A `LoRA` adapter for the first layer's queries, as llama.cpp's converter writes them; all its numbers
/// are the same.
fn adapter(architecture: &str) -> tempfile::NamedTempFile {
    let mut bytes = GgufBuilder::new(architecture)
        .value("general.type", "adapter")
        .value("adapter.type", "lora")
        .value("adapter.lora.alpha", 4.0)
        .tensor("blk.0.attn_q.weight.lora_a", "F32", &[WIDTH, RANK])
        .tensor("blk.0.attn_q.weight.lora_b", "F32", &[RANK, WIDTH])
        .build();
    let n_data = usize::try_from(2 * WIDTH * RANK * 4).unwrap();
    let begin = bytes.len() - n_data;
    for number in bytes[begin..].as_chunks_mut().0 {
        *number = 0.3_f32.to_le_bytes();
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    file
}

fn adapted(path: &Path, adapters: &[(&Path, f32)]) -> Result<Llama, BackendError> {
    let adapters = adapters.iter().map(|&(path, scale)| Adapter {
        path: path.to_owned(),
        scale,
    });
    let params = LoadParams {
        adapters: adapters.collect(),
        ..params(path.to_owned())
    };
    Llama::load(&params, &mut |_| ())
}

/// The logits after a text.
fn logits_after(llama: &mut Llama, text: &str) -> Vec<f32> {
    let tokens = tokens(llama, text);
    let row = feed(llama, 0, 0, &tokens);
    llama.logits(row).unwrap().to_vec()
}

#[test]
fn adapters_change_what_a_model_says_by_their_scale() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let lora = adapter("llama");
    let logits = |adapters: &[(&Path, f32)]| {
        let mut llama = adapted(&path, adapters).unwrap();
        logits_after(&mut llama, STORY)
    };
    let plain = logits(&[]);
    let nothing = logits(&[(lora.path(), 0.0)]);
    let once = logits(&[(lora.path(), 1.0)]);
    let twice = logits(&[(lora.path(), 0.5), (lora.path(), 0.5)]);
    assert!(cosine(&plain, &nothing) > 0.9999);
    let change = cosine(&plain, &once);
    assert!(change < 0.999, "{change}");
    let same = cosine(&once, &twice);
    assert!(same > 0.9999, "two halves are one: {same}");
}

#[test]
fn an_adapter_for_something_else_is_refused_by_name() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let other = adapter("gemma3");
    let refused = |path: &Path, adapter: &Path| match adapted(path, &[(adapter, 1.0)]) {
        Ok(_) => panic!("loaded"),
        Err(error) => error.to_string(),
    };
    assert!(!refused(&path, other.path()).is_empty());
    let missing = Path::new("/nowhere/adapter.gguf");
    assert!(refused(&path, missing).contains("/nowhere/adapter.gguf"));
}

#[test]
fn every_type_of_cache_says_nearly_the_same() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let logits = |kind, flash_attention| {
        let params = LoadParams {
            kv_cache_type: kind,
            flash_attention,
            ..params(path.clone())
        };
        logits_after(&mut load(&params), STORY)
    };
    let usual = logits(KvCacheType::F16, None);
    for (kind, least) in [
        (KvCacheType::F32, 0.999),
        (KvCacheType::Bf16, 0.999),
        (KvCacheType::Q8_0, 0.99),
        (KvCacheType::Q5_1, 0.98),
        (KvCacheType::Q5_0, 0.98),
        (KvCacheType::Q4_1, 0.9),
        (KvCacheType::Q4_0, 0.9),
    ] {
        let alike = cosine(&usual, &logits(kind, None));
        assert!(alike > least, "{kind:?}: {alike}");
    }
    for flash_attention in [Some(true), Some(false)] {
        let alike = cosine(&usual, &logits(KvCacheType::F16, flash_attention));
        assert!(alike > 0.999, "{flash_attention:?}: {alike}");
    }
    // Without flash attention, V cannot be quantized: that is an error message, not the end of the process.
    let params = LoadParams {
        kv_cache_type: KvCacheType::Q8_0,
        flash_attention: Some(false),
        ..params(path.clone())
    };
    let error = Llama::load(&params, &mut |_| ()).err().unwrap();
    assert!(error.to_string().contains("flash_attn"), "{error}");
}
