//! Embeddings, beside generation and alone.

use super::*;

#[test]
fn a_chat_model_gives_embeddings_and_goes_on_generating() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let mut llama = load(&params(path));
    let before = generate(&mut llama, 0, STORY, &Spec::greedy(), 8);
    let texts = [
        "The cat sleeps on the sofa",
        "A kitten naps on the couch",
        "def f(x): return x",
    ];
    let mut rows = Vec::new();
    let mut last = Vec::new();
    for (seq, text) in (0..).zip(texts) {
        let tokens = with_ends(&llama, text, false);
        let end = tokens.len() - 1;
        rows.extend(
            (0..)
                .zip(tokens)
                .map(|(at, token)| row(seq, at, token, at == end)),
        );
        last.push(rows.len() - 1);
    }
    assert_eq!(llama.decode_embeddings(&rows), Ok(Decoded::Done));
    let vectors = (0..)
        .zip(&last)
        .map(|(seq, row)| llama.embedding(seq, *row).unwrap());
    let vectors: Vec<_> = vectors.collect();
    assert!(vectors.iter().all(|vector| vector.len() == 576));
    assert!(cosine(&vectors[0], &vectors[1]) > cosine(&vectors[0], &vectors[2]));
    assert!(llama.embedding(0, 0).is_none(), "not an output");
    assert!(llama.logits(last[0]).is_some());
    for seq in 0..3 {
        assert!(llama.remove(seq, 0, None));
    }
    assert_eq!(generate(&mut llama, 0, STORY, &Spec::greedy(), 8), before);
    assert!(llama.embedding(0, 0).is_none(), "not asked for");
}

#[test]
fn a_context_for_embeddings_gives_the_same_vectors() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let mut vectors = Vec::new();
    for embedding in [false, true] {
        let mut params = params(path.clone());
        params.embedding = embedding;
        let mut llama = load(&params);
        let tokens = with_ends(&llama, "The cat sleeps on the sofa", false);
        let end = tokens.len() - 1;
        let rows = (0..)
            .zip(tokens)
            .map(|(at, token)| row(2, at, token, at == end));
        assert_eq!(
            llama.decode_embeddings(&rows.collect::<Vec<_>>()),
            Ok(Decoded::Done)
        );
        vectors.push(llama.embedding(2, end).unwrap());
    }
    assert!(cosine(&vectors[0], &vectors[1]) > 0.99);
}
