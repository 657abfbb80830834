//! How much of each memory a model and its draft model would take.

use super::backend::BackendError;
use crate::protocol::{MeasureParams, Measured};

/// Measures in the inference library, without allocating anything large.
pub(super) fn measure(params: &MeasureParams) -> Result<Measured, BackendError> {
    params.load.check().map_err(BackendError)?;
    #[cfg(any(test, feature = "fake"))]
    {
        use super::backend::fake::is_fake;
        if !cfg!(feature = "llama") || is_fake(&params.load.model.path) {
            return Err(BackendError("a fake takes no memory".to_owned()));
        }
    }
    #[cfg(feature = "llama")]
    {
        use super::backend::llama;
        use super::draft_model;
        let mut measured = llama::measure(&params.load, &params.shapes)?;
        if let Some(draft) = &params.load.draft {
            let load = draft_model::load_params(&params.load, draft);
            measured.add_draft(llama::measure(&load, &params.shapes)?);
        }
        Ok(measured)
    }
    #[cfg(not(feature = "llama"))]
    {
        Err(BackendError(
            "this build has no inference library".to_owned(),
        ))
    }
}
