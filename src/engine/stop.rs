//! Finds stop strings in a stream of text.
//!
//! *Law:* any way of cutting the text into pieces gives the same output and the same end. So the
//! match that ends first wins (of several, the longest), as if the text came byte by byte.

use std::ops::Range;

/// Looks for stop strings; text that may begin one is held back.
#[derive(Debug)]
pub(super) struct StopFinder {
    stops: Vec<String>,
    /// Text that was received and not yet released.
    held: String,
}

/// What a piece releases.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Released {
    pub(super) text: String,
    /// The stop string that was found; it and everything after it is dropped.
    pub(super) stop: Option<String>,
}

impl StopFinder {
    /// Empty stop strings are ignored.
    pub(super) fn new(stops: &[String]) -> Self {
        Self {
            stops: stops.iter().filter(|s| !s.is_empty()).cloned().collect(),
            held: String::new(),
        }
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &str) -> Released {
        self.held.push_str(piece);
        if let Some(found) = self.find() {
            let stop = self.held[found.clone()].to_owned();
            self.held.truncate(found.start);
            return Released {
                text: std::mem::take(&mut self.held),
                stop: Some(stop),
            };
        }
        let keep = self.longest_prefix();
        let rest = self.held.split_off(self.held.len() - keep);
        Released {
            text: std::mem::replace(&mut self.held, rest),
            stop: None,
        }
    }

    /// Takes the next piece without looking for anything in it.
    pub(super) fn pass(&mut self, mut piece: String) -> Released {
        if !self.held.is_empty() {
            piece.insert_str(0, &std::mem::take(&mut self.held));
        }
        Released {
            text: piece,
            stop: None,
        }
    }

    /// Returns what was held back, at the end of the text.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The match that ends first; of several, the longest.
    fn find(&self) -> Option<Range<usize>> {
        let matches = self.stops.iter().filter_map(|stop| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start))
        });
        matches.min().map(|(end, start)| start..end)
    }

    /// Length of the longest suffix of the held text that is a prefix of a stop string.
    fn longest_prefix(&self) -> usize {
        let held = self.held.as_bytes();
        let of_stop = |stop: &String| {
            let stop = stop.as_bytes();
            let longest = held.len().min(stop.len() - 1);
            // The cut is between characters: both are valid UTF-8, and a stop string starts at a character.
            (1..=longest).rev().find(|&n| held.ends_with(&stop[..n]))
        };
        self.stops.iter().filter_map(of_stop).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[String], pieces: &[String]) -> (String, Option<String>) {
        let mut finder = StopFinder::new(stops);
        let mut text = String::new();
        for piece in pieces {
            let released = finder.push(piece);
            text.push_str(&released.text);
            if released.stop.is_some() {
                return (text, released.stop);
            }
        }
        text.push_str(&finder.finish());
        (text, None)
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_stop_string_over_piece_borders_is_not_output() {
        let (text, stop) = run(&owned(&["</end>"]), &owned(&["hello <", "/e", "nd> more"]));
        assert_eq!((text.as_str(), stop.as_deref()), ("hello ", Some("</end>")));
    }

    #[test]
    fn the_stop_string_that_ends_first_is_the_one_that_is_told() {
        let stop = |stops: &[&str], pieces: &[&str]| run(&owned(stops), &owned(pieces)).1;
        assert_eq!(
            stop(&["##", "b#", "zz"], &["ab", "##"]).as_deref(),
            Some("b#")
        );
        // Both end with the same byte: the longer one began earlier.
        assert_eq!(stop(&["#", "b#"], &["ab#"]).as_deref(), Some("b#"));
        assert_eq!(stop(&["é", "c"], &["aé", "c"]).as_deref(), Some("é"));
    }

    #[test]
    fn what_only_began_like_a_stop_string_comes_out_at_once() {
        let mut finder = StopFinder::new(&owned(&["###"]));
        assert_eq!(finder.push("a##").text, "a");
        assert_eq!(finder.push("b").text, "##b");
    }

    #[test]
    fn held_text_is_given_out_at_the_end() {
        let (text, stop) = run(&owned(&["###"]), &owned(&["a", "##"]));
        assert_eq!((text.as_str(), stop), ("a##", None));
    }

    #[test]
    fn an_empty_stop_string_does_not_stop() {
        assert_eq!(run(&owned(&[""]), &owned(&["a"])), ("a".to_owned(), None));
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same(
            text in "[abä]{0,12}",
            stops in prop::collection::vec("[abä]{1,4}", 0..4),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let chars: Vec<char> = text.chars().collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(chars.len() + 1)).collect();
            at.push(0);
            at.push(chars.len());
            at.sort_unstable();
            let pieces: Vec<String> = at.windows(2).map(|w| chars[w[0]..w[1]].iter().collect()).collect();
            prop_assert_eq!(run(&stops, &pieces), run(&stops, std::slice::from_ref(&text)));
        }
    }
}
