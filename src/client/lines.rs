//! Newline-delimited JSON, read line by line from a response that is still arriving.

use std::marker::PhantomData;

use bytes::{Buf as _, Bytes, BytesMut};
use reqwest::Response;
use serde::de::DeserializeOwned;

use super::ClientError;
use crate::api::ollama::ErrorBody;

/// The longest accepted line; Ollama's client has the same limit.
const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;

/// A stream of JSON objects. Dropping it closes the connection, which cancels the work.
#[derive(Debug)]
pub struct Lines<T> {
    response: Response,
    cutter: Cutter,
    ended: bool,
    items: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(super) fn new(response: Response) -> Self {
        Self {
            response,
            cutter: Cutter::default(),
            ended: false,
            items: PhantomData,
        }
    }

    /// Waits for the next object; `None` is the end.
    ///
    /// # Errors
    /// Fails when a line carries an `error`, is too long or is not JSON, or when the connection breaks.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(line) = self.cutter.line() {
                if !line.trim_ascii().is_empty() {
                    return decode(&line).map(Some);
                }
                continue;
            }
            if self.ended {
                let rest = self.cutter.rest();
                let blank = rest.trim_ascii().is_empty();
                return if blank {
                    Ok(None)
                } else {
                    decode(&rest).map(Some)
                };
            }
            match self.response.chunk().await? {
                Some(bytes) => self.cutter.push(&bytes)?,
                None => self.ended = true,
            }
        }
    }
}

fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, ClientError> {
    if let Ok(ErrorBody { error }) = serde_json::from_slice(line)
        && !error.is_empty()
    {
        return Err(ClientError::Stream(error));
    }
    Ok(serde_json::from_slice(line)?)
}

/// For fuzzing: the objects of an answer that arrives in these pieces.
#[cfg(any(test, fuzzing))]
pub fn lines_for_fuzzing(pieces: &[&[u8]]) -> Result<Vec<serde_json::Value>, String> {
    let mut cutter = Cutter::default();
    let mut objects = Vec::new();
    for piece in pieces {
        cutter.push(piece).map_err(|error| error.to_string())?;
        while let Some(line) = cutter.line() {
            if !line.trim_ascii().is_empty() {
                objects.push(decode(&line).map_err(|error| error.to_string())?);
            }
        }
    }
    let rest = cutter.rest();
    if !rest.trim_ascii().is_empty() {
        objects.push(decode(&rest).map_err(|error| error.to_string())?);
    }
    Ok(objects)
}

/// Splits bytes into lines; reads every byte once.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    buffer: BytesMut,
    /// How many bytes at the front of the buffer are known to hold no line end.
    searched: usize,
}

impl Cutter {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.buffer.extend_from_slice(bytes);
        let unfinished = !self.buffer[self.searched..].contains(&b'\n');
        if unfinished && self.buffer.len() > MAX_LINE_BYTES {
            return Err(ClientError::LineTooLong);
        }
        Ok(())
    }

    pub(super) fn line(&mut self) -> Option<Bytes> {
        let new = &self.buffer[self.searched..];
        let Some(end) = new.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + end).freeze();
        self.buffer.advance(1);
        self.searched = 0;
        Some(line)
    }

    fn rest(&mut self) -> Bytes {
        self.searched = 0;
        self.buffer.split().freeze()
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::client::openai::events_for_fuzzing;

    fn cut(pieces: &[&[u8]]) -> Vec<Bytes> {
        let mut cutter = Cutter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            cutter.push(piece).unwrap();
            lines.extend(std::iter::from_fn(|| cutter.line()));
        }
        lines.push(cutter.rest());
        lines
    }

    #[test]
    fn every_split_gives_the_same_lines() {
        let text = b"{\"a\":1}\n\n{\"b\":2}\nrest";
        let expected = cut(&[text]);
        assert_eq!(expected.len(), 4);
        for at in 0..text.len() {
            assert_eq!(cut(&[&text[..at], &text[at..]]), expected, "at {at}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(cut(&single), expected);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut cutter = Cutter::default();
        cutter.push(&vec![b'x'; MAX_LINE_BYTES]).unwrap();
        assert!(cutter.line().is_none());
        assert!(matches!(cutter.push(b"x"), Err(ClientError::LineTooLong)));
    }

    #[test]
    fn an_error_line_is_an_error() {
        let result = decode::<serde_json::Value>(br#"{"error":"boom"}"#);
        assert!(matches!(result, Err(ClientError::Stream(text)) if text == "boom"));
        assert!(decode::<serde_json::Value>(br#"{"error":""}"#).is_ok());
    }

    #[test]
    fn kept_inputs_of_the_fuzz_target_are_the_same_wherever_they_are_cut() {
        const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/lines");
        for entry in fs_err::read_dir(KEPT).unwrap() {
            let answer = fs_err::read(entry.unwrap().path()).unwrap();
            let (lines, events) = (
                lines_for_fuzzing(&[&answer]),
                events_for_fuzzing(&[&answer]),
            );
            for at in 0..answer.len() {
                let pieces = [&answer[..at], &answer[at..]];
                assert_eq!(lines_for_fuzzing(&pieces), lines, "at {at}");
                assert_eq!(events_for_fuzzing(&pieces), events, "at {at}");
            }
        }
    }
}
