//! What the KV cache can do: share, cut, shift, refuse.

use super::*;

/// A model, and a text in its tokens.
fn story(name: &str) -> Option<(Llama, Vec<Token>)> {
    let llama = load(&params(model(name)?));
    let tokens = tokens(&llama, STORY);
    Some((llama, tokens))
}

#[test]
fn a_copied_prefix_gives_the_logits_of_the_original() {
    let _one = one_at_a_time();
    for name in [SMOLLM2, GEMMA3] {
        let Some((mut llama, tokens)) = story(name) else {
            return;
        };
        let (next, prefix) = tokens.split_last().unwrap();
        feed(&mut llama, 0, 0, prefix);
        llama.copy(0, 1, u32::try_from(prefix.len()).unwrap());
        let at = feed(&mut llama, 0, prefix.len(), &[*next]);
        let original = llama.logits(at).unwrap().to_vec();
        assert!(llama.remove(0, u32::try_from(prefix.len()).unwrap(), None));
        let at = feed(&mut llama, 1, prefix.len(), &[*next]);
        assert_eq!(llama.logits(at).unwrap(), original, "{name}");
    }
}

#[test]
fn a_sliding_window_is_cut_back_only_while_it_is_whole() {
    let _one = one_at_a_time();
    let Some(path) = model(GEMMA3) else { return };
    let mut short = params(path);
    short.n_slots = 1;
    let mut llama = load(&short);
    assert!(!llama.info().can_shift);
    let word = llama.preparer().tokenize(" and", false).unwrap()[0];
    feed(&mut llama, 0, 0, &[word; 100]);
    assert!(llama.remove(0, 40, None));
    feed(&mut llama, 0, 40, &[word; 860]);
    assert!(!llama.remove(0, 100, None), "the window before 100 is gone");
    assert!(!llama.remove(0, 890, Some(895)), "a gap cannot be closed");
    assert!(llama.remove(0, 890, None), "the window before 890 is whole");
    feed(&mut llama, 0, 890, &[word]);
    assert!(llama.remove(0, 0, None));
    feed(&mut llama, 0, 0, &[word; 10]);
}

#[test]
fn old_tokens_can_be_shifted_out() {
    let _one = one_at_a_time();
    let Some((mut llama, tokens)) = story(SMOLLM2) else {
        return;
    };
    feed(&mut llama, 0, 0, &tokens);
    assert!(llama.remove(0, 2, Some(5)));
    llama.shift(0, 5, -3);
    let row = feed(&mut llama, 0, tokens.len() - 3, &tokens[..1]);
    assert!(
        llama
            .logits(row)
            .unwrap()
            .iter()
            .all(|logit| logit.is_finite())
    );
}

#[test]
fn a_full_pool_says_so_and_changes_nothing() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let mut small = params(path);
    small.n_ctx_pool = 256;
    let mut llama = load(&small);
    let word = llama.preparer().tokenize(" and", false).unwrap()[0];
    feed(&mut llama, 0, 0, &[word; 256]);
    assert_eq!(llama.decode(&[row(1, 0, word, true)]), Ok(Decoded::NoSpace));
    assert!(llama.logits(0).is_none());
    assert!(llama.remove(0, 250, None));
    assert_eq!(llama.decode(&[row(1, 0, word, true)]), Ok(Decoded::Done));
}

#[test]
fn a_saved_sequence_goes_on_as_the_original_does() {
    let _one = one_at_a_time();
    for name in [SMOLLM2, GEMMA3] {
        let Some((mut llama, tokens)) = story(name) else {
            return;
        };
        let (next, prefix) = tokens.split_last().unwrap();
        // Two sequences in turn, so that neither has contiguous cells.
        for (position, &token) in prefix.iter().enumerate() {
            let rows = [0, 1].map(|seq| row(seq, position, token, false));
            assert_eq!(llama.decode(&rows), Ok(Decoded::Done));
        }
        let state = llama.save(0).unwrap();
        let n_tokens = u32::try_from(prefix.len()).unwrap();
        assert!(llama.load(2, &state, n_tokens), "{name}");
        let at = feed(&mut llama, 0, prefix.len(), &[*next]);
        let original = llama.logits(at).unwrap().to_vec();
        let at = feed(&mut llama, 2, prefix.len(), &[*next]);
        let loaded = llama.logits(at).unwrap();
        // Other cells mean another order of summation.
        let pairs = original.iter().zip(loaded);
        let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 0.5, "{name}: {difference}");
        assert!(cosine(&original, loaded) > 0.9999, "{name}");
    }
}

#[test]
fn a_state_that_is_none_is_refused_and_leaves_nothing() {
    let _one = one_at_a_time();
    let (Some(path), Some(other)) = (model(SMOLLM2), model(GEMMA3)) else {
        return;
    };
    let mut gemma = load(&params(other));
    feed(&mut gemma, 0, 0, &[5; 40]);
    let foreign = gemma.save(0).unwrap();
    drop(gemma);
    let mut small = params(path);
    small.n_ctx_pool = 256;
    let mut llama = load(&small);
    feed(&mut llama, 0, 0, &[5; 200]);
    let state = llama.save(0).unwrap();
    for (bad, n_tokens) in [
        (&foreign[..], 40),
        (&state[..state.len() / 2], 200),
        (&[], 0),
        // A valid state, but the pool has no room for it twice.
        (&state[..], 200),
    ] {
        assert!(!llama.load(1, bad, n_tokens), "{} bytes", bad.len());
        assert!(llama.remove(1, 0, None));
    }
    assert!(llama.remove(0, 0, None));
    assert!(!llama.load(1, &state, 199), "of other tokens");
    assert!(llama.remove(1, 0, None));
    assert!(llama.load(1, &state, 200));
    feed(&mut llama, 0, 0, &[5; 56]);
}
