//! Finds where the newest tokens of a text occurred before, with hash chains as in LZ77 compressors (RFC 1951,
//! section 4). A token costs a bounded number of comparisons, however long the text.

use crate::protocol::Token;

/// Tokens that must match for a place to be found.
pub(super) const N_GRAM: usize = 3;

/// The most places of a chain that are compared, the newest first.
const MAX_CHAIN: usize = 16;

/// The most tokens that are compared at a place; a match of this length is good enough.
const MAX_MATCH: usize = 32;

/// A place in the text after tokens that equal the text's last ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    /// Index of the token that followed them.
    pub(super) at: usize,
    /// How many tokens before it are the same.
    pub(super) len: usize,
}

/// An index over a growing text. The caller keeps the text itself.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    /// For every hash the newest place, 0 = none. The length is a power of two.
    heads: Vec<u32>,
    /// For every token that was noted the next older place with its hash, 0 = none.
    chain: Vec<u32>,
}

impl Lookup {
    /// How many tokens were noted.
    pub(super) fn len(&self) -> usize {
        self.chain.len()
    }

    /// Notes the next token of the text, `tokens[self.len()]`.
    pub(super) fn note(&mut self, tokens: &[Token]) {
        if self.chain.len() >= self.heads.len() {
            self.grow();
            let n_noted = self.chain.len();
            self.chain.clear();
            for _ in 0..n_noted {
                self.link(tokens);
            }
        }
        self.link(tokens);
    }

    fn grow(&mut self) {
        let n_heads = (self.heads.len() * 4).max(256);
        self.heads.clear();
        self.heads.resize(n_heads, 0);
    }

    fn link(&mut self, tokens: &[Token]) {
        let place = self.chain.len();
        let older = match (self.head(&tokens[..place]), u32::try_from(place)) {
            (Some(head), Ok(place)) => std::mem::replace(&mut self.heads[head], place),
            _ => 0,
        };
        self.chain.push(older);
    }

    /// The head of the chain of the text's last tokens; `None` for a text that is too short.
    fn head(&self, tokens: &[Token]) -> Option<usize> {
        let last = tokens.last_chunk::<N_GRAM>()?;
        // Multiplicative hashing (Knuth, The Art of Computer Programming 3, section 6.4): the upper
        // bits depend on all of the tokens.
        let hash = last.iter().fold(0_u64, |hash, token| {
            (hash.rotate_left(5) ^ u64::from(token.cast_unsigned()))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let n_bits = self.heads.len().checked_ilog2().filter(|&bits| bits > 0)?;
        usize::try_from(hash >> (64 - n_bits)).ok()
    }

    /// The place with the longest match with the text's end, the newest of several; all of `tokens` must have
    /// been noted.
    pub(super) fn find(&self, tokens: &[Token]) -> Option<Match> {
        let mut best: Option<Match> = None;
        let mut place = self.heads[self.head(tokens)?] as usize;
        for _ in 0..MAX_CHAIN {
            if place == 0 {
                break;
            }
            let found = Match {
                at: place,
                len: n_common(&tokens[..place], tokens),
            };
            let is_better = best.is_none_or(|best| found.len > best.len);
            if found.len >= N_GRAM && is_better {
                best = Some(found);
            }
            if found.len == MAX_MATCH {
                break;
            }
            place = self.chain[place] as usize;
        }
        best
    }
}

/// Tokens at the end that two texts have in common, at most [`MAX_MATCH`].
fn n_common(a: &[Token], b: &[Token]) -> usize {
    let pairs = a.iter().rev().zip(b.iter().rev()).take(MAX_MATCH);
    pairs.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(tokens: &[Token]) -> Lookup {
        let mut lookup = Lookup::default();
        for _ in tokens {
            lookup.note(tokens);
        }
        lookup
    }

    #[test]
    fn the_longest_match_wins_and_of_equal_ones_the_newest() {
        let tokens = [9, 1, 2, 3, 50, 8, 1, 2, 3, 60, 7, 1, 2, 3, 70, 8, 1, 2, 3];
        let found = index(&tokens).find(&tokens);
        assert_eq!(found, Some(Match { at: 9, len: 4 }));
        let tokens = [1, 2, 3, 50, 1, 2, 3, 60, 1, 2, 3];
        let found = index(&tokens).find(&tokens);
        assert_eq!(found, Some(Match { at: 7, len: 3 }));
    }

    #[test]
    fn a_text_that_is_short_or_new_has_no_match() {
        for tokens in [&[][..], &[1], &[1, 1, 1], &[1, 2, 3, 4, 5, 2, 3]] {
            assert_eq!(index(tokens).find(tokens), None);
        }
        assert_eq!(index(&[5; 4]).find(&[5; 4]), Some(Match { at: 3, len: 3 }));
    }

    #[test]
    fn a_long_text_is_searched_in_bounded_time() {
        // All places are in one chain: only the newest are compared.
        let tokens = vec![7; 20_000];
        let found = index(&tokens).find(&tokens).unwrap();
        assert_eq!(found.len, MAX_MATCH);
        assert_eq!(found.at, tokens.len() - 1);
    }

    proptest! {
        #[test]
        fn a_match_is_real_and_none_is_missed(
            tokens in prop::collection::vec(0..3_i32, 0..40),
        ) {
            let found = index(&tokens).find(&tokens);
            if let Some(found) = found {
                prop_assert!(found.len >= N_GRAM);
                prop_assert_eq!(found.len, n_common(&tokens[..found.at], &tokens));
            }
            if tokens.len() <= MAX_CHAIN + N_GRAM {
                let all = (N_GRAM..tokens.len()).map(|at| n_common(&tokens[..at], &tokens));
                let longest = all.filter(|&len| len >= N_GRAM).max();
                prop_assert_eq!(found.map(|found| found.len), longest);
            }
        }
    }
}
