//! Where a model would be loaded, without loading it.

use super::context::Context;
use super::error::{ErrorKind as Kind, RequestError};
use super::prepare::{self, Route, merge_options};
use super::spec;
use super::types::RequestOptions;
use crate::protocol::KvCacheType;
use crate::scheduler::{Fit, FitQuestion};

/// A model, and settings that replace the server's.
#[derive(Debug, Clone, Default)]
pub struct FitRequest {
    pub common: RequestOptions,
    pub n_slots: Option<u32>,
    pub kv_cache_type: Option<KvCacheType>,
}

pub(super) async fn run(context: &Context, request: FitRequest) -> Result<Fit, RequestError> {
    let prepared = prepare::find(context, &request.common, Route::Chat).await?;
    let options = merge_options(&prepared, &request.common)?;
    let question = FitQuestion {
        spec: spec::build(&prepared, &options),
        n_slots: request.n_slots,
        kv_cache_type: request.kv_cache_type,
    };
    let fit = context.scheduler.fit(question).await;
    fit.ok_or_else(|| RequestError::new(Kind::Overloaded, "the server is shutting down"))
}
