//! `POST /api/create`: makes a model; a missing base model is pulled first.

use axum::extract::State;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::{invalid_name, progress, wanted};
use crate::api::ollama::{CreateRequest, Progress};
use crate::create::{self, quantize::Job};
use crate::dialect::ollama;
use crate::model::ModelName;
use crate::model::name::Source;
use crate::protocol::QuantizeParams;
use crate::registry::{Asker, Steps, Wish};
use crate::runner_client;
use crate::server::access::Access;
use crate::server::error::{ApiError, OllamaError};
use crate::server::extract::OllamaJson;
use crate::server::gate::Pass;
use crate::server::origin::Origin;
use crate::server::state::App;
use crate::store::StoreError;

/// How many steps may wait for a slow client; then the work waits, too.
const QUEUE: usize = 16;

/// The last step of a pull.
const SUCCESS: &str = "success";

pub(super) async fn create(
    State(app): State<App>,
    access: Access,
    origin: Origin,
    asker: Asker,
    OllamaJson(mut request): OllamaJson<CreateRequest>,
) -> Result<Response, OllamaError> {
    let requested = wanted(
        std::mem::take(&mut request.model),
        std::mem::take(&mut request.name),
    );
    let wants_draft = !request.draft_quantize.is_empty() && request.draft_files.is_empty();
    let stream = request.stream;
    let request = ollama::create(request);
    create::validate(&request)?;
    if wants_draft {
        return Err(ApiError::invalid("--draft-quantize requires a DRAFT model").into());
    }
    let name = ModelName::parse(&requested).map_err(|_| invalid_name())?;
    access.check(&name)?;
    if let Some(from) = base(request.from.as_deref().unwrap_or_default()) {
        access.check(&from)?;
    }
    let missing = missing(&app, request.from.as_deref().unwrap_or_default()).await?;
    let creation = Creation {
        app: App::clone(&app),
        origin,
        name,
        request,
    };
    let stage = match missing {
        None => creation.start().await?,
        Some(name) => {
            let pass = app.gates.transfers.enter(origin).await?;
            let steps = app.registry.pull(Wish {
                name,
                insecure: false,
                asker,
            });
            Stage::Pull(steps, pass, Box::new(creation))
        }
    };
    let steps = stream::unfold(stage, Stage::next);
    Ok(progress::answer(&app, &access, stream, Box::pin(steps)).await?)
}

/// The base model, if it is missing. (An invalid name is refused later, with another error.)
async fn missing(app: &App, from: &str) -> Result<Option<ModelName>, ApiError> {
    let Some(name) = base(from) else {
        return Ok(None);
    };
    let store = app.store.clone();
    let looked = app.block(move || match store.model(&name) {
        Err(StoreError::NotFound(_)) => Some(name),
        _ => None,
    });
    Ok(looked.await?)
}

/// The base model's name, if `from` is a valid one.
fn base(from: &str) -> Option<ModelName> {
    match ModelName::split_source(from).ok()? {
        (from, Source::Local | Source::Unspecified) => ModelName::parse(&from).ok(),
        (_, Source::Cloud) => None,
    }
}

/// A model to make.
struct Creation {
    app: App,
    origin: Origin,
    name: ModelName,
    request: create::CreateRequest,
}

impl Creation {
    /// Starts when a pass of the gate is free.
    async fn start(self) -> Result<Stage, ApiError> {
        let pass = self.app.gates.creations.enter(self.origin).await?;
        let steps = start(&self.app, self.name, self.request, pass);
        Ok(Stage::Create(steps))
    }
}

/// The current step, and the next one.
enum Stage {
    Pull(Steps, Pass, Box<Creation>),
    Create(mpsc::Receiver<Result<Progress, ApiError>>),
    Failed,
}

impl Stage {
    async fn next(mut self) -> Option<(Result<Progress, ApiError>, Self)> {
        loop {
            self = match self {
                Self::Pull(mut steps, pass, creation) => match steps.next().await {
                    // That was the pull; the model is not yet made.
                    Some(Ok(step)) if step.status == SUCCESS => Self::Pull(steps, pass, creation),
                    Some(Ok(step)) => return Some((Ok(step), Self::Pull(steps, pass, creation))),
                    Some(Err(error)) => return Some((Err(error.into()), Self::Failed)),
                    None => match creation.start().await {
                        Ok(stage) => stage,
                        Err(error) => return Some((Err(error), Self::Failed)),
                    },
                },
                Self::Create(mut steps) => {
                    let step = steps.recv().await?;
                    return Some((step, Self::Create(steps)));
                }
                Self::Failed => return None,
            };
        }
    }
}

/// Makes the model on the blocking pool. The work continues when the client leaves, since all blobs are present.
fn start(
    app: &App,
    name: ModelName,
    request: create::CreateRequest,
    pass: Pass,
) -> mpsc::Receiver<Result<Progress, ApiError>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let store = app.store.clone();
    let (exe, tasks) = (app.exe.clone(), app.tasks.clone());
    let runtime = tokio::runtime::Handle::current();
    app.block(move || {
        let _pass = pass;
        // It runs in a separate process; this thread may block on it.
        let quantizer = |job: Job, progress: &mut (dyn FnMut(f32) + Send)| {
            let params = QuantizeParams {
                source: job.source,
                target: job.target,
                file_type: job.file_type,
                tensor_types: job.tensor_types,
            };
            let (sender, fractions) = std::sync::mpsc::sync_channel(QUEUE);
            let (exe, tracker) = (exe.clone(), tasks.clone());
            let work = async move {
                let mut report = |fraction| {
                    // If the channel is full, this fraction is dropped: the next one says more.
                    let _ = sender.try_send(fraction);
                };
                runner_client::quantize(exe, params, &tracker, &mut report).await
            };
            let work = tasks.spawn_on(work, &runtime);
            fractions.iter().for_each(progress);
            let outcome = runtime.block_on(work).map_err(|error| error.to_string())?;
            outcome.map_err(|error| error.to_string())
        };
        let tell = |step| {
            // The client has left.
            let _ = sender.blocking_send(step);
        };
        let mut status = |status: create::Status| {
            tell(Ok(Progress {
                status: status.status,
                digest: status.digest,
                total: status.total,
                completed: status.completed,
            }));
        };
        let outcome = create::create(&store, &name, &request, &quantizer, &mut status);
        if let Err(error) = outcome {
            tell(Err(error.into()));
        }
    });
    receiver
}
