//! Finds the special tokens in a text, in linear time.
//!
//! llama.cpp looks for each special token in turn, the longest first, in what is left of the text, and walks a
//! list of pieces again for each match: with a hundred thousand matches that takes half a minute, and with
//! thousands of special tokens (Gemma) a long text takes longer to search than to tokenize. Here one automaton
//! finds all occurrences; the order matters only where some of them overlap.
//!
//! *Law:* the result is llama.cpp's, or there is none ([`Specials::new`]).

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use aho_corasick::{AhoCorasick, PatternID};

use crate::engine::backend::Part;
use crate::protocol::Token;

/// A special token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Special {
    pub(super) token: Token,
    pub(super) text: Vec<u8>,
    /// Whitespace before (after) it is dropped.
    pub(super) trims_before: bool,
    pub(super) trims_behind: bool,
}

/// A set of special tokens.
#[derive(Debug)]
pub(super) struct Specials {
    finder: AhoCorasick,
    /// Indexed by pattern number, the longest first.
    specials: Vec<Special>,
    longest: usize,
}

/// Occurrences that overlap, directly or through others.
#[derive(Debug)]
struct Cluster {
    range: Range<usize>,
    patterns: Vec<PatternID>,
}

impl Specials {
    /// `None` if the result would depend on an order that llama.cpp does not reveal: two tokens of the same
    /// length can overlap, or tokens contain whitespace while others trim it.
    pub(super) fn new(mut specials: Vec<Special>) -> Option<Self> {
        specials.retain(|special| !special.text.is_empty());
        specials.sort_by(|a, b| {
            let longest_first = b.text.len().cmp(&a.text.len());
            longest_first.then_with(|| a.text.cmp(&b.text))
        });
        let trims = |special: &Special| special.trims_before || special.trims_behind;
        let has_space = |special: &Special| special.text.iter().any(u8::is_ascii_whitespace);
        if specials.iter().any(trims) && specials.iter().any(has_space) {
            return None;
        }
        let of_one_length = specials.chunk_by(|a, b| a.text.len() == b.text.len());
        if of_one_length.into_iter().any(can_overlap) {
            return None;
        }
        let finder = AhoCorasick::new(specials.iter().map(|special| &special.text)).ok()?;
        let longest = specials.first().map_or(0, |special| special.text.len());
        Some(Self {
            finder,
            specials,
            longest,
        })
    }

    /// Cuts a text at its special tokens.
    pub(super) fn cut(&self, text: &str) -> Vec<Part> {
        let mut parts = Parts::default();
        let mut clusters: VecDeque<Cluster> = VecDeque::new();
        for found in self.finder.find_overlapping_iter(text) {
            let mut cluster = Cluster {
                range: found.range(),
                patterns: vec![found.pattern()],
            };
            while let Some(last) = clusters.pop_back_if(|last| last.range.end > found.start()) {
                cluster.range.start = cluster.range.start.min(last.range.start);
                cluster.range.end = cluster.range.end.max(last.range.end);
                for pattern in last.patterns {
                    if !cluster.patterns.contains(&pattern) {
                        cluster.patterns.push(pattern);
                    }
                }
            }
            clusters.push_back(cluster);
            // Later occurrences cannot begin before this.
            let settled = found.end().saturating_sub(self.longest);
            while let Some(first) = clusters.pop_front_if(|first| first.range.end <= settled) {
                self.resolve(text, first, &mut parts);
            }
        }
        for cluster in clusters {
            self.resolve(text, cluster, &mut parts);
        }
        parts.text(parts.done..text.len());
        self.trim(text, &mut parts.parts);
        parts.parts
    }

    /// Cuts a cluster at its special tokens, the longest first.
    fn resolve(&self, text: &str, mut cluster: Cluster, parts: &mut Parts) {
        cluster.patterns.sort_unstable();
        let mut pieces = vec![Part::Text(cluster.range.clone())];
        for pattern in cluster.patterns {
            let special = &self.specials[pattern.as_usize()];
            let mut next = Vec::with_capacity(pieces.len());
            for piece in pieces {
                match piece {
                    Part::Text(range) => special.split(text.as_bytes(), range, &mut next),
                    Part::Token(_) => next.push(piece),
                }
            }
            pieces = next;
        }
        parts.text(parts.done..cluster.range.start);
        for piece in pieces {
            match piece {
                Part::Text(range) => parts.text(range),
                Part::Token(_) => parts.parts.push(piece),
            }
        }
        parts.done = cluster.range.end;
    }

    /// Drops the whitespace next to special tokens that trim it.
    fn trim(&self, text: &str, parts: &mut Vec<Part>) {
        let special = |part: Option<&Part>| match part {
            Some(Part::Token(token)) => self.specials.iter().find(|s| s.token == *token),
            _ => None,
        };
        let trims = |special: &Special| special.trims_before || special.trims_behind;
        if !self.specials.iter().any(trims) {
            return;
        }
        for index in 0..parts.len() {
            let Part::Text(range) = &parts[index] else {
                continue;
            };
            let mut range = range.clone();
            let before = index.checked_sub(1).and_then(|index| parts.get(index));
            let is_space = |at: usize| is_c_space(text.as_bytes()[at]);
            if special(before).is_some_and(|special| special.trims_behind) {
                range.start += range.clone().take_while(|&at| is_space(at)).count();
            }
            if special(parts.get(index + 1)).is_some_and(|special| special.trims_before) {
                range.end -= range.clone().rev().take_while(|&at| is_space(at)).count();
            }
            parts[index] = Part::Text(range);
        }
        parts.retain(|part| !matches!(part, Part::Text(range) if range.is_empty()));
    }
}

impl Special {
    /// Cuts a range of a text at this token.
    fn split(&self, text: &[u8], range: Range<usize>, parts: &mut Vec<Part>) {
        let mut begin = range.start;
        let mut at = range.start;
        while at + self.text.len() <= range.end {
            if text[at..].starts_with(&self.text) {
                if begin < at {
                    parts.push(Part::Text(begin..at));
                }
                parts.push(Part::Token(self.token));
                at += self.text.len();
                begin = at;
            } else {
                at += 1;
            }
        }
        if begin < range.end {
            parts.push(Part::Text(begin..range.end));
        }
    }
}

/// Parts under construction.
#[derive(Debug, Default)]
struct Parts {
    parts: Vec<Part>,
    /// How far the text is cut.
    done: usize,
}

impl Parts {
    /// Adds text; text that directly follows text is joined to it.
    fn text(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        match self.parts.last_mut() {
            Some(Part::Text(last)) if last.end == range.start => last.end = range.end,
            _ => self.parts.push(Part::Text(range)),
        }
    }
}

/// Whether an end of one equals a beginning of another (all have the same length), or two are equal. A token
/// may overlap itself: then the first place wins, here as in llama.cpp.
fn can_overlap(specials: &[Special]) -> bool {
    // The token that has each beginning; `None` = several tokens.
    let mut beginnings: HashMap<&[u8], Option<Token>> = HashMap::new();
    for special in specials {
        for len in 1..=special.text.len() {
            let owner = beginnings.entry(&special.text[..len]);
            let owner = owner.or_insert(Some(special.token));
            *owner = owner.filter(|&token| token == special.token);
        }
    }
    specials.iter().any(|special| {
        let mut ends = (0..special.text.len()).map(|at| &special.text[at..]);
        ends.any(|end| {
            let owner = beginnings.get(end);
            owner.is_some_and(|owner| *owner != Some(special.token))
        })
    })
}

/// C's `isspace`.
fn is_c_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn specials(texts: &[&str]) -> Vec<Special> {
        let special = |(token, text): (Token, &&str)| Special {
            token,
            text: text.as_bytes().to_vec(),
            trims_before: false,
            trims_behind: false,
        };
        (100..).zip(texts).map(special).collect()
    }

    /// llama.cpp's algorithm, step by step.
    fn one_by_one(specials: &[Special], text: &str) -> Vec<Part> {
        let mut specials: Vec<&Special> = specials.iter().collect();
        specials.sort_by_key(|special| std::cmp::Reverse(special.text.len()));
        let mut parts = vec![Part::Text(0..text.len())];
        for special in specials {
            let mut next = Vec::new();
            for part in parts {
                match part {
                    Part::Text(range) => special.split(text.as_bytes(), range, &mut next),
                    Part::Token(_) => next.push(part),
                }
            }
            parts = next;
        }
        parts.retain(|part| !matches!(part, Part::Text(range) if range.is_empty()));
        parts
    }

    #[test]
    fn the_longest_comes_first_wherever_it_stands() {
        let set = specials(&["<a>", "<a><b>", "b><c>cc"]);
        let cut = |text: &str| Specials::new(set.clone()).unwrap().cut(text);
        assert_eq!(
            cut("x<a><b>y<a>"),
            [
                Part::Text(0..1),
                Part::Token(101),
                Part::Text(7..8),
                Part::Token(100)
            ]
        );
        // The longer token takes the end of a shorter one that began before it.
        let expected = [Part::Token(100), Part::Text(3..4), Part::Token(102)];
        assert_eq!(cut("<a><b><c>cc"), expected);
        assert_eq!(cut(""), []);
        assert_eq!(cut("plain"), [Part::Text(0..5)]);
    }

    #[test]
    fn what_only_llama_cpp_knows_is_left_to_it() {
        assert!(Specials::new(specials(&["abc", "cde"])).is_none());
        assert!(Specials::new(specials(&["abc", "abc"])).is_none());
        assert!(Specials::new(specials(&["aba", "cdc", "\n", "\n\n", "\n\n\n"])).is_some());
        let mut trimming = specials(&["<end>", "\n"]);
        trimming[0].trims_behind = true;
        assert!(Specials::new(trimming).is_none());
    }

    #[test]
    fn white_space_goes_where_a_token_says_so() {
        let mut set = specials(&["<end>", "<mask>"]);
        set[0].trims_behind = true;
        set[1].trims_before = true;
        let parts = Specials::new(set)
            .unwrap()
            .cut("a <end> \n b <mask> <end>  ");
        let expected = [
            Part::Text(0..2),
            Part::Token(100),
            Part::Text(10..11),
            Part::Token(101),
            Part::Text(18..19),
            Part::Token(100),
        ];
        assert_eq!(parts, expected);
    }

    proptest! {
        #[test]
        fn it_finds_what_llama_cpp_finds(
            texts in prop::collection::hash_set("[<ab>]{1,5}", 1..6),
            text in "[<ab>x]{0,40}",
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let set = specials(&texts);
            if let Some(finder) = Specials::new(set.clone()) {
                prop_assert_eq!(finder.cut(&text), one_by_one(&set, &text));
            }
        }
    }
}
