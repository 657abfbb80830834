//! Newline-delimited JSON, read line by line from a response that is still arriving.

use std::marker::PhantomData;

use bytes::{Buf as _, Bytes, BytesMut};
use reqwest::Response;
use serde::de::DeserializeOwned;

use super::ClientError;
use crate::api::ollama::ErrorBody;

/// Longest line accepted; Ollama's client has the same limit.
const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;

/// A stream of JSON objects. Dropping it hangs up, which cancels the work.
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

/// Splits bytes into lines; reads every byte once.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    buffer: BytesMut,
    /// Bytes at the front of the buffer that are known to hold no line end.
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
}
