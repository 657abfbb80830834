//! Gets a lease on a runner for a prepared model.

use std::time::{Duration, Instant};

use super::context::Context;
use super::error::{ErrorKind as Kind, RequestError};
use super::permit::Meter;
use super::prepare::Prepared;
use super::spec;
use super::types::RequestOptions;
use super::waiting::Waiting;
use crate::metrics::{Awaiting, account};
use crate::model::Options;
use crate::protocol::Priority;
use crate::scheduler::{AcquireError, Lease};
use crate::units::whole_seconds;

/// A lease and how long it took to get.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) lease: Lease,
    pub(super) load: Duration,
    /// The model's name in the store.
    pub(super) model: String,
    /// For the tokens of the answer.
    pub(super) meter: Meter,
    pub(super) waiting: Waiting,
}

/// Waits until the model is loaded.
pub(super) async fn load(
    context: &Context,
    prepared: &Prepared,
    options: &Options,
    common: &RequestOptions,
) -> Result<Loaded, RequestError> {
    let started = Instant::now();
    let mut spec = spec::build(prepared, options);
    spec.is_job = common.priority == Priority::Batch;
    spec.origin = common.client.split('/').next().unwrap_or_default().into();
    let model = prepared.model.name.short();
    let awaiting = Awaiting::of(&model);
    common.waiting.loading();
    let meter = Meter::of(context, &common.client, common.is_job)?;
    let lease = context
        .scheduler
        .acquire(spec, common.keep_alive)
        .await
        .map_err(acquire_error)?;
    drop(awaiting);
    common.waiting.loaded();
    let load = started.elapsed();
    account::note(|facts| {
        facts.is_loaded = true;
        facts.load = facts.load.max(load);
    });
    Ok(Loaded {
        lease,
        load,
        model,
        meter,
        waiting: common.waiting.clone(),
    })
}

/// The longest time after which clients are told to retry; OpenAI's clients ignore longer ones.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

fn acquire_error(error: AcquireError) -> RequestError {
    if let AcquireError::Overloaded { wait: Some(wait) } = error {
        let seconds = whole_seconds(wait.min(LONGEST_WAIT)).max(1);
        return RequestError::new(Kind::Overloaded, error.to_string()).retry_after(seconds);
    }
    let kind = match &error {
        AcquireError::Overloaded { .. } | AcquireError::ShuttingDown | AcquireError::NoGpu(_) => {
            Kind::Overloaded
        }
        AcquireError::Canceled => Kind::Canceled,
        AcquireError::LoadFailed(_) | AcquireError::LoadTimeout(_) => Kind::Internal,
    };
    RequestError::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_says_when_to_come_back() {
        let after = |wait: Option<u64>| {
            let wait = wait.map(Duration::from_millis);
            acquire_error(AcquireError::Overloaded { wait }).retry_after
        };
        assert_eq!(after(None), None);
        assert_eq!(after(Some(0)), Some(1));
        assert_eq!(after(Some(2001)), Some(3));
        assert_eq!(after(Some(1_000_000)), Some(60));
    }
}
