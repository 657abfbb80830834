//! Renders a conversation to a prompt: with our own code, or in a worker that runs the model's template.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::error::{ErrorKind, RequestError, internal, mistaken};
use super::types::RequestOptions;
use crate::chat::{Message, Think, ToolDefinition};
use crate::families::BuiltinRenderer;
use crate::renderer::{RenderInput, chatml, go, keep_from};
use crate::workers::{Claim, Conversation, Subject, Template, WorkError, Workers};

/// A conversation to render.
#[derive(Debug, Default)]
pub(super) struct RenderRequest {
    pub(super) messages: Vec<Message>,
    pub(super) tools: Vec<ToolDefinition>,
    pub(super) think: Option<Think>,
    /// False for the single prompt of a generate request.
    pub(super) is_chat: bool,
    /// The client and priority for the queue of the workers.
    pub(super) claim: Claim,
    /// The conversation encoded for workers, once for all attempts to make it fit.
    subject: OnceCell<Arc<Subject>>,
}

impl RenderRequest {
    pub(super) fn new(
        messages: Vec<Message>,
        tools: Vec<ToolDefinition>,
        think: Option<Think>,
        claim: Claim,
    ) -> Self {
        Self {
            messages,
            tools,
            think,
            is_chat: true,
            claim,
            subject: OnceCell::new(),
        }
    }

    /// Encodes the conversation on the blocking pool: a long history takes milliseconds.
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

/// The claim of a request to a worker.
pub(super) fn claim(common: &RequestOptions) -> Claim {
    Claim {
        client: common.client.clone(),
        priority: common.priority,
    }
}

/// How a model's prompts are rendered.
#[derive(Debug)]
pub(super) enum Maker {
    Builtin(&'static BuiltinRenderer),
    /// The model has no template for chats: they use ChatML. A single prompt is used unchanged, or rendered
    /// by a TEMPLATE that is not used for chats.
    Untaught(Option<Arc<Template>>),
    /// The model's own template.
    Template(Arc<Template>),
    /// There is a template, but it cannot be used; the text says why.
    Broken(String),
}

impl Maker {
    /// Renders the messages from `from` on; all system messages stay. `model` is for error messages.
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
                let rendered = workers
                    .render(template, &subject, &request.claim, from)
                    .await;
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

/// Makes an error that names the model whose template failed, and a workaround if there is one.
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

/// Returns the error for the client.
pub(super) fn error(failure: WorkError) -> RequestError {
    let kind = match &failure {
        WorkError::TooMany | WorkError::Stopping => ErrorKind::Overloaded,
        // The template refuses the conversation, or the conversation exceeds a limit.
        WorkError::Failed(_) | WorkError::TooSlow(_) | WorkError::TooDeep | WorkError::TooLarge => {
            ErrorKind::Mistaken
        }
        WorkError::Unparsable(_) | WorkError::Ended | WorkError::Start => ErrorKind::Internal,
    };
    RequestError::new(kind, failure.to_string())
}
