//! Turns texts into tokens, in parts that llama.cpp tokenizes quickly.
//!
//! A call into llama.cpp cannot be interrupted, and its time can grow faster than the text. So texts are cut
//! first: at special tokens ([`special`](super::special)), and long stretches between them at places that no
//! token spans. Whether a vocabulary has such places is tested when it is loaded.

use std::ops::Range;
use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token_type::LlamaTokenAttr as Attr;
use llama_cpp_sys_2 as sys;

use super::context::vocab_kind;
use super::special::{Special, Specials};
use crate::engine::backend::{BackendError, Ends, PairEnds, Part};
use crate::protocol::Token;

/// Bytes from which a text is cut: some milliseconds of work, so that other requests get their turn.
const LONG: usize = 16 << 10;

/// Bytes at which a text is cut in any case, wherever that is. No language has words or lines of this length,
/// and for some vocabularies llama.cpp's stack grows with them. Tokens can differ there from what llama.cpp
/// alone would make of the text.
const LONGEST: usize = 128 << 10;

/// Most bytes of a text whose special tokens only llama.cpp can find, in a single call.
const LONGEST_UNCUT: usize = 1 << 20;

/// The text that cutting is tested on: words, numbers, punctuation, lines.
const SAMPLE: &str = "The quick brown fox jumps over the lazy dog. It isn't of the same kind as in 1984,\n\
    and we'll see what he's got: \"one (or two) of them\", at the end of the day! Mr. Smith paid\n\
    12,345.67 for it.\nfn main() {\nlet x = vec![1, 2, 3]; // a list of numbers\n\
    println!(\"{x:?} is what we have\");\n}\nEine Straße führt über die Brücke, wie man so sagt.\n\
    In the middle of the night there was a sound like that of the sea in a storm…\nÜber alles\nи не\n\
    only that: as well as the rest of it, by the way.";

/// A model's tokenizer.
pub(super) struct Tokenizer {
    model: Arc<LlamaModel>,
    /// The special tokens; `None` = only llama.cpp can find them.
    specials: Option<Sets>,
    ends: Ends,
    pair_ends: PairEnds,
    cuts: Cuts,
}

struct Sets {
    all: Specials,
    /// The special tokens that are recognized in every text.
    in_text: Specials,
}

impl Tokenizer {
    pub(super) fn new(model: Arc<LlamaModel>) -> Self {
        let kind = vocab_kind(&model);
        let has_words = kind != sys::LLAMA_VOCAB_TYPE_NONE;
        Self {
            specials: sets(&model),
            ends: if has_words {
                ends(&model)
            } else {
                Ends::default()
            },
            pair_ends: if has_words {
                pair_ends(&model)
            } else {
                PairEnds::default()
            },
            cuts: Cuts::learn(kind, &|text| raw(&model, text, false)),
            model,
        }
    }

    pub(super) fn ends(&self) -> &Ends {
        &self.ends
    }

    pub(super) fn pair_ends(&self) -> &PairEnds {
        &self.pair_ends
    }

    pub(super) fn cut(&self, text: &str, parse_special: bool) -> Result<Vec<Part>, BackendError> {
        let Some(sets) = &self.specials else {
            return self.cut_uncut(text, parse_special);
        };
        let set = if parse_special {
            &sets.all
        } else {
            &sets.in_text
        };
        let mut parts = Vec::new();
        for part in set.cut(text) {
            match part {
                Part::Token(_) => parts.push(part),
                Part::Text(range) => self.cuts.cut(text, range, &mut parts),
            }
        }
        Ok(parts)
    }

    /// Tokenizes a part.
    pub(super) fn tokenize(&self, part: &str) -> Vec<Token> {
        raw(&self.model, part, false)
    }

    fn cut_uncut(&self, text: &str, parse_special: bool) -> Result<Vec<Part>, BackendError> {
        if vocab_kind(&self.model) == sys::LLAMA_VOCAB_TYPE_NONE {
            let message = "this model has no vocabulary and takes no text";
            return Err(BackendError(message.to_owned()));
        }
        if text.len() > LONGEST_UNCUT {
            let message = format!("the text is longer than {LONGEST_UNCUT} bytes");
            return Err(BackendError(message));
        }
        let tokens = raw(&self.model, text, parse_special).into_iter();
        Ok(tokens.map(Part::Token).collect())
    }
}

/// Tokenizes with llama.cpp alone.
fn raw(model: &LlamaModel, text: &str, parse_special: bool) -> Vec<Token> {
    let vocab = model.vocab();
    let tokens = vocab.tokenize(text.as_bytes(), false, parse_special);
    tokens.into_iter().map(|token| token.0).collect()
}

/// llama.cpp's special tokens.
fn sets(model: &LlamaModel) -> Option<Sets> {
    let vocab = model.vocab();
    if vocab_kind(model) == sys::LLAMA_VOCAB_TYPE_NONE {
        return None;
    }
    let (mut all, mut in_text) = (Vec::new(), Vec::new());
    for token in vocab.tokens() {
        let attr = vocab.attr(token);
        if !attr.intersects(Attr::Control | Attr::UserDefined | Attr::Unknown) {
            continue;
        }
        let special = Special {
            token: token.0,
            text: vocab.text(token)?.to_bytes().to_vec(),
            trims_before: attr.contains(Attr::LStrip),
            trims_behind: attr.contains(Attr::RStrip),
        };
        if !attr.intersects(Attr::Control | Attr::Unknown) {
            in_text.push(special.clone());
        }
        all.push(special);
    }
    Some(Sets {
        all: Specials::new(all)?,
        in_text: Specials::new(in_text)?,
    })
}

/// The tokens that `add_special` puts around a text.
fn ends(model: &LlamaModel) -> Ends {
    let vocab = model.vocab();
    let tokenize = |add_special| -> Vec<Token> {
        let tokens = vocab.tokenize(b"a", add_special, false);
        tokens.into_iter().map(|token| token.0).collect()
    };
    let (whole, bare) = (tokenize(true), tokenize(false));
    let at = if bare.is_empty() {
        Some(usize::from(vocab.should_add_bos()).min(whole.len()))
    } else {
        whole.windows(bare.len()).position(|window| window == bare)
    };
    let at = at.unwrap_or(0);
    Ends {
        before: whole[..at].to_vec(),
        after: whole[whole.len().min(at + bare.len())..].to_vec(),
    }
}

/// The tokens that llama-server puts around and between the texts of a pair:
/// `[BOS]query[EOS][SEP]document[EOS]`, each only if the vocabulary adds it. The separator replaces a missing
/// end token.
fn pair_ends(model: &LlamaModel) -> PairEnds {
    let vocab = model.vocab();
    let token = |adds: bool, token: Token| (adds && token >= 0).then_some(token);
    let (eos, sep) = (vocab.eos().0, vocab.sep().0);
    let eos = token(vocab.should_add_eos(), if eos < 0 { sep } else { eos });
    let sep = token(vocab.should_add_sep(), sep);
    PairEnds {
        before: Vec::from_iter(token(vocab.should_add_bos(), vocab.bos().0)),
        between: eos.into_iter().chain(sep).collect(),
        after: Vec::from_iter(eos),
    }
}

/// Where a text may be cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Cuts {
    /// Before a space between two letters.
    at_space: bool,
    /// That space is left out, because llama.cpp puts one in front of every text.
    drops_space: bool,
    /// After the end of a line.
    at_line: bool,
    /// Wherever a text is too long.
    anywhere: bool,
}

impl Cuts {
    /// Finds out where texts may be cut.
    fn learn(kind: sys::llama_vocab_type, tokenize: &dyn Fn(&str) -> Vec<Token>) -> Self {
        let never = Self::default();
        let is_bpe = kind == sys::LLAMA_VOCAB_TYPE_BPE;
        let is_spm = kind == sys::LLAMA_VOCAB_TYPE_SPM;
        let is_other = [sys::LLAMA_VOCAB_TYPE_WPM, sys::LLAMA_VOCAB_TYPE_UGM].contains(&kind);
        if !is_bpe && !is_spm && !is_other {
            return never;
        }
        let whole = tokenize(SAMPLE);
        let holds = |cuts: &Self| {
            let mut parts = Vec::new();
            cuts.cut_into(SAMPLE, 0..SAMPLE.len(), 1, &mut parts);
            let tokens = parts.into_iter().flat_map(|part| match part {
                Part::Text(range) => tokenize(&SAMPLE[range]),
                Part::Token(token) => vec![token],
            });
            tokens.eq(whole.iter().copied())
        };
        let at_space = Self {
            at_space: true,
            ..never
        };
        let without_space = Self {
            drops_space: true,
            ..at_space
        };
        let at_line = Self {
            at_line: true,
            ..never
        };
        let mut cuts = [at_space, without_space].into_iter().find(holds);
        let cuts = cuts.get_or_insert(never);
        cuts.at_line = holds(&at_line);
        cuts.anywhere = (is_bpe || is_spm) && !cuts.drops_space;
        *cuts
    }

    /// Cuts a range of a text if it is long.
    fn cut(self, text: &str, range: Range<usize>, parts: &mut Vec<Part>) {
        self.cut_into(text, range, LONG, parts);
    }

    /// The same with another length to cut at.
    fn cut_into(self, text: &str, range: Range<usize>, long: usize, parts: &mut Vec<Part>) {
        let mut begin = range.start;
        while let Some((end, next)) = self.place(text, begin..range.end, long) {
            parts.push(Part::Text(begin..end));
            begin = next;
        }
        parts.push(Part::Text(begin..range.end));
    }

    /// Where a range is cut: the end of its first part, and the beginning of what follows.
    fn place(self, text: &str, range: Range<usize>, long: usize) -> Option<(usize, usize)> {
        let long = range.start + long;
        if long >= range.end {
            return None;
        }
        let longest = if self.anywhere {
            range.end.min(range.start + LONGEST)
        } else {
            range.end
        };
        let may_cut = |at: usize| Some((at, self.next(text, at)?));
        let found = (long..longest).find_map(may_cut);
        found.or_else(|| {
            let at = text.floor_char_boundary(longest);
            (at < range.end && at > range.start).then_some((at, at))
        })
    }

    /// Where the second part begins if a text may be cut at `at`.
    fn next(self, text: &str, at: usize) -> Option<usize> {
        let bytes = text.as_bytes();
        let is_letter = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphabetic);
        if self.at_space && bytes[at] == b' ' && is_letter(at.wrapping_sub(1)) && is_letter(at + 1)
        {
            return Some(at + usize::from(self.drops_space));
        }
        let (line, next) = text.split_at_checked(at)?;
        let line = line.strip_suffix('\n').filter(|_| self.at_line)?;
        let ends = line.chars().next_back().is_some_and(|c| !c.is_whitespace());
        let begins = next.chars().next().is_some_and(char::is_alphanumeric);
        (ends && begins).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(cuts: Cuts, text: &str, long: usize) -> Vec<&str> {
        let mut parts = Vec::new();
        cuts.cut_into(text, 0..text.len(), long, &mut parts);
        let texts = parts.into_iter().map(|part| match part {
            Part::Text(range) => &text[range],
            Part::Token(_) => "",
        });
        texts.collect()
    }

    #[test]
    fn a_long_text_is_cut_between_words_and_lines_only() {
        let at_space = Cuts {
            at_space: true,
            ..Cuts::default()
        };
        let text = "one two  three. four\n\nfive\nsix";
        assert_eq!(
            parts(at_space, text, 1),
            ["one", " two  three. four\n\nfive\nsix"]
        );
        let dropping = Cuts {
            drops_space: true,
            at_line: true,
            ..at_space
        };
        let expected = ["one", "two  three. four\n\nfive\n", "six"];
        assert_eq!(parts(dropping, text, 1), expected);
        assert_eq!(
            parts(dropping, text, 5),
            ["one two  three. four\n\nfive\n", "six"]
        );
        assert_eq!(parts(Cuts::default(), text, 1), [text]);
    }

    #[test]
    fn what_has_no_such_place_is_cut_where_it_is_too_long() {
        let anywhere = Cuts {
            anywhere: true,
            ..Cuts::default()
        };
        let text = "ä".repeat(LONGEST + 1);
        let lengths: Vec<usize> = parts(anywhere, &text, LONG)
            .iter()
            .map(|p| p.len())
            .collect();
        assert_eq!(lengths, [LONGEST, LONGEST, 2]);
        assert_eq!(parts(Cuts::default(), &text, LONG), [text.as_str()]);
    }
}
