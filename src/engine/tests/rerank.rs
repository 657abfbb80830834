//! Rerankers: a small model of random weights, whose head is computed here as well.

use super::*;
use crate::engine::backend::llama::Llama;
use crate::model::gguf::builder::GgufBuilder;
use crate::protocol::{EmbedInput, EmbedParams, EmbedResult};

/// Length of a vector.
const WIDTH: usize = 32;

const WORDS: [&str; 9] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁what", "▁bear", "▁panda", "▁is",
];

/// A model of the BERT family with one block. The tensors of the head come last: the others are the same
/// without it.
fn bert(pooling: u32, has_head: bool) -> Vec<u8> {
    let width = WIDTH as u64;
    let square = [width, width];
    let mut file = GgufBuilder::new("bert")
        .value("bert.block_count", 1)
        .value("bert.context_length", 64)
        .value("bert.embedding_length", width)
        .value("bert.feed_forward_length", width)
        .value("bert.attention.head_count", 2)
        .value("bert.attention.layer_norm_epsilon", 1e-12)
        .value("bert.attention.causal", false)
        .value("bert.pooling_type", pooling)
        .value("tokenizer.ggml.token_type_count", 2)
        .value("tokenizer.ggml.model", "bert")
        .value("tokenizer.ggml.pre", "default")
        .value("tokenizer.ggml.tokens", WORDS.to_vec())
        // The first number makes them signed.
        .value(
            "tokenizer.ggml.token_type",
            vec![-1, 3, 3, 3, 3, 1, 1, 1, 1],
        )
        .value("tokenizer.ggml.unknown_token_id", 1)
        .value("tokenizer.ggml.cls_token_id", 2)
        .value("tokenizer.ggml.bos_token_id", 2)
        .value("tokenizer.ggml.seperator_token_id", 3)
        .value("tokenizer.ggml.padding_token_id", 0)
        .value("tokenizer.ggml.mask_token_id", 4)
        .tensor("token_embd.weight", "F32", &[width, WORDS.len() as u64])
        .tensor("token_types.weight", "F32", &[width, 2])
        .tensor("position_embd.weight", "F32", &[width, 64]);
    for name in [
        "token_embd_norm",
        "blk.0.attn_output_norm",
        "blk.0.layer_output_norm",
    ] {
        file = file.tensor(&format!("{name}.weight"), "F32", &[width]);
        file = file.tensor(&format!("{name}.bias"), "F32", &[width]);
    }
    for name in [
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_up",
        "ffn_down",
    ] {
        file = file.tensor(&format!("blk.0.{name}.weight"), "F32", &square);
        file = file.tensor(&format!("blk.0.{name}.bias"), "F32", &[width]);
    }
    if has_head {
        file = file
            .tensor("cls.weight", "F32", &square)
            .tensor("cls.bias", "F32", &[width])
            .tensor("cls.output.weight", "F32", &[width, 1])
            .tensor("cls.output.bias", "F32", &[1]);
    }
    file.noise(11).build()
}

fn vectors(file: &[u8], inputs: Vec<EmbedInput>) -> EmbedResult {
    let path = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(path.path(), file).unwrap();
    let mut params = load_params(path.path(), 64, 4);
    params.embedding = true;
    params.n_gpu_layers = 0;
    let mut harness = Harness::over(Llama::load(&params, &mut |_| ()).unwrap(), &params);
    let params = EmbedParams {
        inputs,
        n_ctx: 64,
        truncate: true,
        normalize: false,
        priority: Priority::Interactive,
        client: "test".to_owned(),
    };
    harness.command(Command::Embed { id: 1, params });
    harness.run_with(Harness::step_unchecked);
    match harness.others.pop() {
        Some(Event::Embedded { result, .. }) => result,
        other => panic!("{other:?}"),
    }
}

/// The values of the tensors at the end of a file, which have these lengths.
fn tail<const N: usize>(file: &[u8], lengths: [usize; N]) -> [Vec<f32>; N] {
    let aligned = |n: usize| (n * 4).next_multiple_of(32);
    let mut at = file.len() - lengths.map(aligned).iter().sum::<usize>();
    lengths.map(|n| {
        let numbers = file[at..at + n * 4].as_chunks().0;
        at += aligned(n);
        numbers
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect()
    })
}

#[test]
fn a_pair_is_scored_by_the_models_head() {
    let documents = ["bear is panda", "what", "panda panda what is bear"];
    let pairs = documents.map(|document| EmbedInput::Pair {
        query: "what is panda".to_owned(),
        document: document.to_owned(),
    });
    // As llama-server writes a pair for this vocabulary, which adds no end token.
    let prompts = documents.map(|document| EmbedInput::Prompt {
        prompt: format!("[CLS]what is panda[SEP]{document}"),
    });
    let reranker = bert(4, true);
    let ranked = vectors(&reranker, pairs.into());
    let again = vectors(&reranker, prompts.clone().into());
    assert_eq!(ranked, again);
    // The same model without its head gives the vector of the first token.
    let hidden = vectors(&bert(2, false), prompts.into());
    let [weight, bias, out, out_bias] = tail(&reranker, [WIDTH * WIDTH, WIDTH, WIDTH, 1]);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    for (vector, score) in hidden.vectors.iter().zip(&ranked.vectors) {
        let rows = weight.chunks(WIDTH).zip(&bias);
        let inner: Vec<f32> = rows
            .map(|(row, bias)| (dot(row, vector) + bias).tanh())
            .collect();
        let expected = dot(&inner, &out) + out_bias[0];
        assert!((score[0] - expected).abs() < 1e-3, "{score:?} {expected}");
    }
    assert_eq!(ranked.vectors.len(), documents.len());
}
