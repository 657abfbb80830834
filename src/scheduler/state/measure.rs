//! Decides which models are measured before they are placed, and keeps the measurements.

use std::collections::HashMap;
use std::path::PathBuf;

use super::State;
use crate::device::Snapshot;
use crate::protocol::{KvCacheType, MeasureParams, Measured, MemoryUse};
use crate::scheduler::ModelSpec;
use crate::scheduler::costs::Measurement;
use crate::scheduler::event::Effect;
use crate::scheduler::load;
use crate::scheduler::placement::{self, LoadPlan, Policy, Request};

/// A model for the CPU that needs less than this part of the available memory (one in this many) is not
/// measured.
const SMALL_SHARE: u64 = 4;

/// Measurements that are remembered.
const MOST: usize = 256;

/// What a measurement depends on, besides the settings and the machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::scheduler) struct MeasureKey {
    weights: PathBuf,
    projector: Option<PathBuf>,
    adapters: Vec<PathBuf>,
    draft: Option<PathBuf>,
    kv_cache_type: KvCacheType,
    on_gpu: bool,
    n_ubatches: Vec<u32>,
}

impl MeasureKey {
    pub(super) fn new(spec: &ModelSpec, on_gpu: bool, policy: &Policy) -> Self {
        let projector = spec.projector.as_ref();
        let adapters = spec.adapters.iter().map(|adapter| adapter.path.clone());
        Self {
            weights: spec.weights.path.clone(),
            projector: projector.map(|params| params.file.path.clone()),
            adapters: adapters.collect(),
            draft: spec.draft(policy).map(|draft| draft.weights.path.clone()),
            kv_cache_type: policy.kv_cache_type,
            on_gpu,
            n_ubatches: placement::n_ubatches(spec, on_gpu),
        }
    }

    /// The parameters of the measurement. The measured load has all layers on the GPU, whether they fit or not,
    /// or none.
    pub(in crate::scheduler) fn params(
        &self,
        spec: &ModelSpec,
        policy: &Policy,
        snapshot: &Snapshot,
    ) -> Option<MeasureParams> {
        let mut spec = spec.clone();
        if spec.options.num_gpu != 0 {
            spec.options.num_gpu = i32::MAX;
        }
        let request = Request {
            spec: &spec,
            policy,
            measurement: None,
            reserved_bytes: 0,
            must: true,
        };
        let mut plan = placement::plan(&request, snapshot)?;
        if !plan.cards.is_empty() {
            plan.n_gpu_layers = -1;
            plan.n_cpu_moe = 0;
            plan.cards.truncate(1);
        }
        Some(MeasureParams::new(
            &load::params(&spec, &plan, policy),
            Measurement::shapes(&self.n_ubatches),
        ))
    }
}

/// The measurements that are known or pending.
#[derive(Debug, Default)]
pub(super) struct Measurements(HashMap<MeasureKey, Answer>);

#[derive(Debug)]
enum Answer {
    /// There is no answer yet.
    Pending,
    /// `None` = there was no answer: the estimate stands.
    Known(Option<Measurement>),
}

impl Measurements {
    /// Known measurements are kept, because loads have corrected them; `fit` measures again each time.
    pub(super) fn note(&mut self, key: MeasureKey, measured: Option<&Measured>) {
        if matches!(self.0.get(&key), Some(Answer::Known(Some(_)))) {
            return;
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, answer| matches!(answer, Answer::Pending));
        }
        let known = measured.map(|found| Measurement::new(&key.n_ubatches, found, key.on_gpu));
        self.0.insert(key, Answer::Known(known));
    }

    /// Corrects a measurement by what a loaded model really took, if it is on one GPU with all layers.
    pub(super) fn learn(&mut self, key: &MeasureKey, plan: &LoadPlan, taken: &MemoryUse) {
        let [card] = &*plan.cards else { return };
        let (Some(Answer::Known(Some(known))), Some(taken)) =
            (self.0.get_mut(key), taken.get(&card.name))
        else {
            return;
        };
        if plan.n_gpu_layers < 0 && plan.n_cpu_moe == 0 {
            known.correct(plan.shape, card.bytes, taken.total());
        }
    }
}

impl State {
    /// The measurement of a model, if there is one.
    pub(super) fn measurement(&self, spec: &ModelSpec, policy: &Policy) -> Option<&Measurement> {
        let keys = [true, false].map(|on_gpu| MeasureKey::new(spec, on_gpu, policy));
        let known = |key| match self.measurements.0.get(&key)? {
            Answer::Known(known) => known.as_ref(),
            Answer::Pending => None,
        };
        keys.into_iter().find_map(known)
    }

    /// Whether a queued model waits for its measurement; requests it if needed.
    pub(super) fn waits_for_measurement(
        &mut self,
        index: usize,
        snapshot: &Snapshot,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let policy = &self.limits.policy;
        let spec = &self.entries[index].spec;
        if !policy.measures {
            return false;
        }
        let on_gpu = spec.options.num_gpu != 0 && !snapshot.gpus.is_empty();
        let is_small = || {
            let small = snapshot.system_available_bytes / SMALL_SHARE;
            placement::least_bytes(spec, policy) < small
        };
        if !on_gpu && is_small() {
            return false;
        }
        let key = MeasureKey::new(spec, on_gpu, policy);
        match self.measurements.0.get(&key) {
            Some(Answer::Pending) => return true,
            Some(Answer::Known(_)) => return false,
            None => {}
        }
        let Some(params) = key.params(spec, policy, snapshot) else {
            return false;
        };
        self.measurements.0.insert(key.clone(), Answer::Pending);
        effects.push(Effect::Measure {
            key: Box::new(key),
            params: Box::new(params),
        });
        true
    }
}
