//! Measures how much of each memory a model would take: weights, contexts and projectors are made without their
//! buffers.

use std::sync::Arc;

use super::context::Context;
use super::projector_file::ProjectorFile;
use super::weights::Buffers;
use super::{devices, load, log, memory, weights};
use crate::engine::backend::BackendError;
use crate::protocol::{HOST, LoadParams, Measured, MemoryUse, PoolShape};

/// Measures a model with its adapters and projector, for each of these shapes. A draft model is measured
/// separately.
///
/// # Errors
/// llama.cpp cannot read the model.
pub(crate) fn measure(params: &LoadParams, shapes: &[PoolShape]) -> Result<Measured, BackendError> {
    devices::start()?;
    log::start();
    let model = Arc::new(weights::load(params, Buffers::Imagined, |_| {})?);
    let companions = companions(params);
    let uses = shapes.iter().map(|shape| {
        let settings = load::settings(&params.in_shape(*shape));
        let mut found = memory::of_context(&Context::new(Arc::clone(&model), &settings)?);
        found.add(&companions);
        Some(found)
    });
    Ok(Measured(uses.collect()))
}

/// What the projector and the adapters take.
fn companions(params: &LoadParams) -> MemoryUse {
    let mut found = MemoryUse::default();
    let is_whole = params.n_gpu_layers < 0;
    let gpus = devices::gpus();
    let main = params.gpus.first().map_or(0, |gpu| gpu.index);
    let gpu = gpus.get(main).filter(|_| is_whole);
    let place = gpu.map_or(HOST, |gpu| &gpu.name);
    for adapter in &params.adapters {
        let size = fs_err::metadata(&adapter.path).map_or(0, |file| file.len());
        found.on(place).weights += size;
    }
    let projector = params.projector.as_ref();
    let file = projector.and_then(|projector| ProjectorFile::open_header(&projector.file).ok());
    let measured = file.and_then(|file| memory::of_projector(file.path(), gpu.is_some()));
    if let Some(projector) = measured {
        found.add(&projector);
    }
    found
}
