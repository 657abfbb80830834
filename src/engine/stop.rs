//! Finds stop strings in a stream of text.
//!
//! *Law:* any way of cutting the text into pieces gives the same output and the same end. So the
//! match that ends first wins (of several, the longest), as if the text came byte by byte.

/// Looks for stop strings; text that may begin one is held back.
#[derive(Debug)]
pub(super) struct StopFinder {
    stops: Vec<String>,
    /// Received and not yet given out.
    held: String,
}

/// What may be given out after a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Released {
    pub(super) text: String,
    /// A stop string was found; it and everything after it is dropped.
    pub(super) stopped: bool,
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
        if let Some(start) = self.find() {
            self.held.truncate(start);
            return Released {
                text: std::mem::take(&mut self.held),
                stopped: true,
            };
        }
        let keep = self.longest_prefix();
        let rest = self.held.split_off(self.held.len() - keep);
        Released {
            text: std::mem::replace(&mut self.held, rest),
            stopped: false,
        }
    }

    /// Takes the next piece without looking for anything in it.
    pub(super) fn pass(&mut self, mut piece: String) -> Released {
        if !self.held.is_empty() {
            piece.insert_str(0, &std::mem::take(&mut self.held));
        }
        Released {
            text: piece,
            stopped: false,
        }
    }

    /// Gives out what was held back; nothing more will come.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Start of the match that ends first.
    fn find(&self) -> Option<usize> {
        let matches = self.stops.iter().filter_map(|stop| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start))
        });
        matches.min().map(|(_, start)| start)
    }

    /// Length of the longest end of the held text that begins a stop string.
    fn longest_prefix(&self) -> usize {
        let held = self.held.as_bytes();
        let of_stop = |stop: &String| {
            let stop = stop.as_bytes();
            let longest = held.len().min(stop.len() - 1);
            // The cut falls between characters: both are whole UTF-8, and the beginning of a stop
            // string is the beginning of a character.
            (1..=longest).rev().find(|&n| held.ends_with(&stop[..n]))
        };
        self.stops.iter().filter_map(of_stop).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[String], pieces: &[String]) -> (String, bool) {
        let mut finder = StopFinder::new(stops);
        let mut text = String::new();
        for piece in pieces {
            let released = finder.push(piece);
            text.push_str(&released.text);
            if released.stopped {
                return (text, true);
            }
        }
        text.push_str(&finder.finish());
        (text, false)
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_stop_string_over_piece_borders_is_not_output() {
        let (text, stopped) = run(&owned(&["</end>"]), &owned(&["hello <", "/e", "nd> more"]));
        assert_eq!((text.as_str(), stopped), ("hello ", true));
    }

    #[test]
    fn what_only_began_like_a_stop_string_comes_out_at_once() {
        let mut finder = StopFinder::new(&owned(&["###"]));
        assert_eq!(finder.push("a##").text, "a");
        assert_eq!(finder.push("b").text, "##b");
    }

    #[test]
    fn held_text_is_given_out_at_the_end() {
        let (text, stopped) = run(&owned(&["###"]), &owned(&["a", "##"]));
        assert_eq!((text.as_str(), stopped), ("a##", false));
    }

    #[test]
    fn an_empty_stop_string_does_not_stop() {
        assert_eq!(run(&owned(&[""]), &owned(&["a"])), ("a".to_owned(), false));
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
