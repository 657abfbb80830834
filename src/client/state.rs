//! What the daemon is doing, event by event.

use reqwest::{Method, Response};

use super::lines::Cutter;
use super::{Client, ClientError, error};
use crate::api::drover::DaemonState;

/// The states of a daemon, one per second. Dropping it closes the connection.
#[derive(Debug)]
pub struct States {
    response: Response,
    cutter: Cutter,
}

impl Client {
    /// Requests the daemon's state, for as long as it is read.
    ///
    /// # Errors
    /// Fails when the server refuses, or is not drover.
    pub async fn states(&self) -> Result<States, ClientError> {
        let request = self.request(Method::GET, "/api/drover/events");
        let response = request.header("accept", "text/event-stream").send().await?;
        if !response.status().is_success() {
            return Err(error::from_response(response).await);
        }
        Ok(States {
            response,
            cutter: Cutter::default(),
        })
    }
}

impl States {
    /// Waits for the next state; `None` is the end.
    ///
    /// # Errors
    /// Fails when an event carries an error or is invalid, or when the connection breaks.
    pub async fn next(&mut self) -> Result<Option<DaemonState>, ClientError> {
        loop {
            while let Some(line) = self.cutter.line() {
                let Some(data) = line.strip_prefix(b"data:") else {
                    continue;
                };
                if let Some(message) = error::openai_message(data.trim_ascii()) {
                    return Err(ClientError::Stream(message));
                }
                return Ok(Some(serde_json::from_slice(data)?));
            }
            match self.response.chunk().await? {
                Some(bytes) => self.cutter.push(&bytes)?,
                None => return Ok(None),
            }
        }
    }
}
