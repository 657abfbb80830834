//! Checks whether two models have the same vocabulary: the comparison in llama.cpp's `speculative.cpp`.

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

use super::context::vocab_kind;

/// How many tokens the sizes may differ by: padding at the end.
const MAX_SIZE_DIFFERENCE: i32 = 128;

/// The first tokens are special tokens, whose texts may differ without consequence.
const FIRST_COMPARED: i32 = 5;

/// Finds the first difference that matters.
pub(super) fn compare(target: &LlamaModel, draft: &LlamaModel) -> Result<(), String> {
    let (ours, theirs) = (target.vocab(), draft.vocab());
    if vocab_kind(target) != vocab_kind(draft) {
        return Err("they are of different types".to_owned());
    }
    let bos = [&ours, &theirs].map(|vocab| vocab.should_add_bos().then(|| vocab.bos()));
    let eos = [&ours, &theirs].map(|vocab| vocab.should_add_eos().then(|| vocab.eos()));
    if bos[0] != bos[1] || eos[0] != eos[1] {
        return Err("texts begin or end with other tokens".to_owned());
    }
    let (n_ours, n_theirs) = (ours.n_tokens(), theirs.n_tokens());
    if n_ours.abs_diff(n_theirs) > MAX_SIZE_DIFFERENCE.unsigned_abs() {
        return Err(format!("one has {n_ours} tokens, the other {n_theirs}"));
    }
    let mut tokens = (FIRST_COMPARED..n_ours.min(n_theirs)).map(LlamaToken);
    match tokens.find(|&token| ours.text(token) != theirs.text(token)) {
        None => Ok(()),
        Some(token) => Err(format!("token {} is another one", token.0)),
    }
}
