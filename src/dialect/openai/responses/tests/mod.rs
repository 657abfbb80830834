//! Converts requests to native ones, and steps to events.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::step::Ending;
use super::*;
use crate::api::openai::responses::ResponseRequest;
use crate::chat::{Message, Turn};
use crate::dialect::openai::Head;
use crate::error::RequestError;
use crate::inference::{Chunk, Done, DoneReason, Timings};
use crate::seal::Seal;

mod events;
mod requests;

fn head() -> Head {
    Head {
        id: "resp_x".to_owned(),
        created: 7,
        model: "m".to_owned(),
    }
}

fn asked_with(body: Value, known: Known, seal: &Seal) -> Result<Asked, RequestError> {
    let request: ResponseRequest = serde_json::from_value(body).unwrap();
    let state = State::of(&request, true)?;
    read(request, &state, known, head(), seal)
}

fn asked(body: Value) -> Result<Asked, RequestError> {
    asked_with(body, Known::default(), &Seal::random())
}

fn messages(turns: Vec<Turn>) -> Vec<Message> {
    turns.into_iter().flat_map(Turn::into_messages).collect()
}
