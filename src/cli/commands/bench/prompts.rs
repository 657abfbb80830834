//! The prompts: generated from a seed, or read from a file.
//!
//! *Invariant:* the same seed gives the same conversations, for every server that is measured; no two conversations of
//! a run are the same beyond the shared prefix, so that a server's prompt cache shows only where it was asked to.

use std::path::Path;

use serde::Deserialize;

use crate::chat::Message;

/// Words that, with the blank before them, are one token in the vocabularies of common models.
const WORDS: &[&str] = &[
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
    "place",
    "case",
    "week",
    "company",
    "system",
    "program",
    "question",
    "work",
    "government",
    "number",
    "night",
    "point",
    "home",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "fact",
    "month",
    "lot",
    "right",
    "study",
    "book",
    "eye",
    "job",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
    "hour",
    "game",
    "line",
    "end",
    "member",
    "law",
];

/// The task for these words; the answers should be long.
const TASK: &str = "Write a very long story that uses these words.";
/// Approximate length of the task in tokens.
const TASK_TOKENS: u32 = 11;

/// Where the conversations come from.
#[derive(Debug)]
pub(super) struct Prompts {
    pub(super) seed: u64,
    pub(super) n_prompt: u32,
    /// How many of these tokens, counted from the start, are the same in all prompts.
    pub(super) n_shared: u32,
    /// The starts of conversations; if empty, they are generated.
    pub(super) given: Vec<Vec<Message>>,
}

/// A line of a prompt file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Text(String),
    Prompt { prompt: String },
    Messages { messages: Vec<Message> },
}

/// Reads a file with one JSON value per line.
///
/// # Errors
/// Fails when the file cannot be read, is empty, or a line is none of the three kinds.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Vec<Message>>> {
    let text = fs_err::read_to_string(path)?;
    parse(&text).map_err(|error| anyhow::anyhow!("prompts in `{}`: {error}", path.display()))
}

impl Prompts {
    /// Returns the beginning of a conversation: everything up to the first answer.
    pub(super) fn first(&self, id: u64) -> Vec<Message> {
        let n_given = self.given.len() as u64;
        let index = id
            .checked_rem(n_given)
            .and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| self.given.get(index)) {
            Some(messages) => messages.clone(),
            None => vec![self.question(id, 0)],
        }
    }

    /// Returns a generated question: the first of a conversation, or a later one.
    pub(super) fn question(&self, id: u64, turn: u32) -> Message {
        let n_words = self.n_prompt.saturating_sub(TASK_TOKENS);
        // Later questions need no shared prefix: they follow a conversation that begins with it.
        let n_shared = if turn == 0 {
            self.n_shared.min(n_words)
        } else {
            0
        };
        let mut text = String::new();
        append_words(
            &mut text,
            n_shared,
            &mut fastrand::Rng::with_seed(self.seed),
        );
        append_words(&mut text, n_words - n_shared, &mut self.rng_of(id, turn));
        text.push_str(TASK);
        Message::text("user", text)
    }

    /// A separate generator for each question, so that their order does not matter.
    fn rng_of(&self, id: u64, turn: u32) -> fastrand::Rng {
        let mut seed = fastrand::Rng::with_seed(self.seed ^ id.rotate_left(32));
        fastrand::Rng::with_seed(seed.u64(..) ^ u64::from(turn))
    }
}

fn append_words(text: &mut String, count: u32, rng: &mut fastrand::Rng) {
    for _ in 0..count {
        text.push_str(rng.choice(WORDS).unwrap_or(&"word"));
        text.push(' ');
    }
}

fn parse(text: &str) -> anyhow::Result<Vec<Vec<Message>>> {
    let mut prompts = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let Ok(line) = serde_json::from_str(line) else {
            let number = index + 1;
            anyhow::bail!("line {number} is not a JSON string, a `prompt` or `messages`");
        };
        prompts.push(match line {
            Line::Text(prompt) | Line::Prompt { prompt } => vec![Message::text("user", prompt)],
            Line::Messages { messages } => messages,
        });
    }
    anyhow::ensure!(!prompts.is_empty(), "there are none");
    Ok(prompts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(seed: u64, n_shared: u32) -> Prompts {
        Prompts {
            seed,
            n_prompt: 60,
            n_shared,
            given: Vec::new(),
        }
    }

    /// How many words two texts have in common at the beginning.
    fn common(a: &Message, b: &Message) -> usize {
        let words = a.content.split(' ').zip(b.content.split(' '));
        words.take_while(|(a, b)| a == b).count()
    }

    #[test]
    fn the_seed_decides_and_requests_differ() {
        let prompts_1 = prompts(1, 0);
        assert_eq!(prompts_1.first(7), prompts(1, 0).first(7));
        assert_ne!(prompts_1.first(7), prompts(2, 0).first(7));
        assert!(common(&prompts_1.question(7, 0), &prompts_1.question(8, 0)) < 4);
        assert!(common(&prompts_1.question(7, 0), &prompts_1.question(7, 1)) < 4);
        let n_words = prompts_1.question(7, 0).content.split(' ').count();
        assert!((50..=60).contains(&n_words), "{n_words}");
    }

    #[test]
    fn the_shared_prefix_is_as_long_as_asked() {
        let prompts = prompts(1, 30);
        let common = common(&prompts.question(1, 0), &prompts.question(2, 0));
        assert!((30..34).contains(&common), "{common}");
    }

    #[test]
    fn a_file_has_three_kinds_of_lines() {
        let text = "\"a\"\n\n{\"prompt\":\"b\"}\n\
                    {\"messages\":[{\"role\":\"system\",\"content\":\"c\"}]}\n";
        let given = parse(text).unwrap();
        assert_eq!(given[0], [Message::text("user", "a")]);
        assert_eq!(given[1], [Message::text("user", "b")]);
        assert_eq!(given[2], [Message::text("system", "c")]);
        let prompts = Prompts {
            given,
            ..prompts(1, 0)
        };
        assert_eq!(prompts.first(4), [Message::text("user", "b")]);
        let error = parse("\"a\"\n{\"promt\":\"b\"}\n").unwrap_err();
        assert!(error.to_string().starts_with("line 2 "), "{error}");
        assert!(parse("\n").is_err());
    }
}
