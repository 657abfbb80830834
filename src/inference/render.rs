//! From a conversation to a prompt: by our own code, or by a worker that runs the model's template.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::error::{ErrorKind, RequestError, internal, mistaken};
use crate::chat::{Message, Think, ToolDefinition};
use crate::families::BuiltinRenderer;
use crate::renderer::{RenderInput, chatml, go, keep_from};
use crate::workers::{Conversation, Subject, Template, WorkError, Workers};

/// A conversation that is to be rendered.
#[derive(Debug, Default)]
pub(super) struct RenderRequest {
    pub(super) messages: Vec<Message>,
    pub(super) tools: Vec<ToolDefinition>,
    pub(super) think: Option<Think>,
    /// Else it is one prompt, of generate.
    pub(super) is_chat: bool,
    /// The same for workers, encoded once for all that is tried to make it fit.
    subject: OnceCell<Arc<Subject>>,
}

impl RenderRequest {
    pub(super) fn new(
        messages: Vec<Message>,
        tools: Vec<ToolDefinition>,
        think: Option<Think>,
    ) -> Self {
        Self {
            messages,
            tools,
            think,
            is_chat: true,
            subject: OnceCell::new(),
        }
    }

    /// Encodes it on the blocking pool: a long history takes milliseconds.
    pub(super) async fn subject(
        self: &Arc<Self>,
        workers: &Workers,
    ) -> Result<Arc<Subject>, RequestError> {
        let encode = async || {
            let (request, workers) = (Arc::clone(self), workers.clone());
            let encoded = tokio::task::spawn_blocking(move || {
                workers.conversation(&Conversation {
                    messages: &request.messages,
                    tools: &request.tools,
                    think: request.think,
                })
            });
            let subject = encoded
                .await
                .map_err(|error| internal(error.to_string()))?
                .map_err(error)?;
            Ok(Arc::new(subject))
        };
        self.subject.get_or_try_init(encode).await.cloned()
    }
}

/// What makes the prompts of a model.
#[derive(Debug)]
pub(super) enum Maker {
    Builtin(&'static BuiltinRenderer),
    /// No template says how chats are made: they are in ChatML, and a prompt goes to the model as it is,
    /// or as a TEMPLATE has it that is not wanted for chats.
    Untaught(Option<Arc<Template>>),
    /// The model's own template.
    Template(Arc<Template>),
    /// There is one, but it cannot be used: the text says why.
    Broken(String),
}

impl Maker {
    /// Makes a prompt of the messages from `from` on; system messages all stay. `model` is for
    /// messages.
    pub(super) async fn render(
        &self,
        workers: &Workers,
        model: &str,
        request: &Arc<RenderRequest>,
        from: usize,
    ) -> Result<String, RequestError> {
        let render = match self {
            Self::Builtin(entry) => entry.render,
            Self::Untaught(_) if request.is_chat => chatml::render,
            Self::Untaught(None) => go::prompt_alone,
            Self::Broken(reason) => return Err(internal(reason.clone())),
            Self::Template(template) | Self::Untaught(Some(template)) => {
                let subject = request.subject(workers).await?;
                let rendered = workers.render(template, &subject, from).await;
                return rendered.map_err(|error| of_model(model, error));
            }
        };
        let request = Arc::clone(request);
        let rendered = tokio::task::spawn_blocking(move || {
            render(&RenderInput {
                messages: &keep_from(&request.messages, from),
                tools: &request.tools,
                think: request.think,
                now: None,
            })
        });
        rendered
            .await
            .map_err(|error| internal(error.to_string()))?
            .map_err(|error| mistaken(error.to_string()))
    }
}

/// Names the model whose template is to blame, and a way out where there is one.
pub(super) fn of_model(model: &str, failure: WorkError) -> RequestError {
    let hint = "create a model from it with a TEMPLATE of your own";
    match failure {
        WorkError::Unparsable(_)
        | WorkError::TooSlow(_)
        | WorkError::TooDeep
        | WorkError::TooLarge
        | WorkError::Ended => internal(format!("model '{model}': {failure}; {hint}")),
        failure => error(failure),
    }
}

/// What a client is told.
pub(super) fn error(failure: WorkError) -> RequestError {
    let kind = match &failure {
        WorkError::TooMany | WorkError::Stopping => ErrorKind::Overloaded,
        // The template refuses the conversation, or it is more than a prompt can be made of.
        WorkError::Failed(_) | WorkError::TooSlow(_) | WorkError::TooDeep | WorkError::TooLarge => {
            ErrorKind::Mistaken
        }
        WorkError::Unparsable(_) | WorkError::Ended | WorkError::Start => ErrorKind::Internal,
    };
    RequestError::new(kind, failure.to_string())
}
