//! Cuts the middle out of a prompt that fills its context, as Ollama does.

use super::Token;

/// The number of tokens that remain of a prompt that fills its context: the first `n_keep` and half of the
/// remaining context.
pub fn prompt_limit(n_ctx: u32, n_keep: usize) -> usize {
    let n_ctx = n_ctx as usize;
    let n_rest = n_ctx.saturating_sub(n_keep);
    n_ctx.saturating_sub((n_rest / 2).max(1))
}

/// Cuts a long prompt: the first `n_keep` tokens (negative = as many as possible) and the tail remain.
/// `None` when it fits.
pub fn cut_middle(tokens: &[Token], n_ctx: u32, n_keep: i32) -> Option<Vec<Token>> {
    if tokens.len() < n_ctx as usize {
        return None;
    }
    let keep = usize::try_from(n_keep)
        .unwrap_or(tokens.len())
        .min((n_ctx as usize).saturating_sub(4));
    let tail = prompt_limit(n_ctx, keep)
        .saturating_sub(keep)
        .min(tokens.len() - keep);
    let mut cut = tokens[..keep].to_vec();
    cut.extend_from_slice(&tokens[tokens.len() - tail..]);
    Some(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_prompt_loses_its_middle() {
        let tokens: Vec<Token> = (0..100).collect();
        // (16 - 4) / 2 = 6 tokens are free, 10 tokens stay: 4 of the head, 6 of the tail.
        let cut = cut_middle(&tokens, 16, 4).unwrap();
        assert_eq!(cut, [0, 1, 2, 3, 94, 95, 96, 97, 98, 99]);
        assert_eq!(cut_middle(&tokens, 101, 4), None);
    }

    #[test]
    fn cutting_survives_hostile_numbers() {
        let tokens: Vec<Token> = (0..8).collect();
        for n_ctx in 1..10 {
            for n_keep in [-1, 0, 1, 7, i32::MAX] {
                if let Some(cut) = cut_middle(&tokens, n_ctx, n_keep) {
                    let fits = cut.len() <= n_ctx as usize;
                    assert!(fits, "n_ctx {n_ctx}, n_keep {n_keep}");
                }
            }
        }
    }
}
