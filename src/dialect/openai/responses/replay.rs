//! Streams a stored response again, from its steps.

use std::sync::Arc;

use serde_json::Value;

use super::step::{Ending, Step, Steps};
use super::stored;
use super::tools::Names;
use super::writer::Style;
use crate::api::openai::responses::{Response, Status};
use crate::error::{ErrorKind, RequestError};
use crate::seal::Seal;

/// What a stream is made from.
#[derive(Debug)]
pub struct Replay {
    /// The response before its first step.
    pub response: Response,
    pub style: Style,
    pub steps: Vec<Arc<Step>>,
    pub ending: Ending,
}

/// The steps of a response as they are stored.
pub fn kept(style: &Style, steps: Vec<Arc<Step>>, ending: &Ending) -> String {
    let steps = Steps {
        summarizes: style.summarizes,
        seals: style.seal.is_some(),
        steps: steps.iter().map(AsRef::as_ref).collect::<Vec<&Step>>(),
        ending: ending.clone(),
    };
    // Encoding fails only for maps with keys that are not strings.
    serde_json::to_string(&steps).unwrap_or_default()
}

impl Replay {
    /// Reads a stored response.
    ///
    /// # Errors
    /// Another program has changed the file.
    pub fn read(body: &str, steps: &str, seal: &Seal) -> Result<Self, RequestError> {
        let broken = |error: serde_json::Error| {
            let message = format!("what was stored cannot be read: {error}");
            RequestError::new(ErrorKind::Internal, message)
        };
        let response: Response = serde_json::from_value(stored(body)?).map_err(broken)?;
        let steps: Steps<Step> = serde_json::from_value(stored(steps)?).map_err(broken)?;
        let style = Style {
            summarizes: steps.summarizes,
            seal: steps.seals.then(|| seal.clone()),
            names: Names::of(&response.tools),
        };
        let response = Response {
            status: Status::Queued,
            completed_at: None,
            incomplete_details: None,
            output: Vec::new(),
            error: None,
            usage: None,
            ..response
        };
        Ok(Self {
            response,
            style,
            steps: steps.steps.into_iter().map(Arc::new).collect(),
            ending: steps.ending,
        })
    }
}

/// A stored response with another status.
///
/// # Errors
/// Another program has changed the file.
pub fn with_status(body: &str, status: Status) -> Result<Value, RequestError> {
    let mut response = stored(body)?;
    if let Some(fields) = response.as_object_mut() {
        let status = serde_json::to_value(status).unwrap_or_default();
        fields.insert("status".to_owned(), status);
    }
    Ok(response)
}
