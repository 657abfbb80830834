//! The encoder of a loaded model: a projector that is loaded at the start, or with the first image.
//!
//! A projector in a separate file is loaded with its model, so that a broken one is noticed at once. A
//! projector inside the model's file must be written to memory to be loaded, which takes a moment and hundreds
//! of megabytes that text requests do not need, so it is loaded with the first image.

use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;

use super::log;
use super::projector::{self, Projector};
use super::projector_file::ProjectorFile;
use crate::engine::backend::{MediaEncoder, Room};
use crate::engine::media::Piece;
use crate::protocol::{Failure, FailureKind, HOST, LoadedInfo, ProjectorParams, PromptPart};
use crate::view::Form;

/// How to load a projector.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) n_threads: i32,
    /// Most rows that the text model computes at once.
    pub(super) n_ubatch: usize,
    /// The whole model is on a GPU, so that the projector may be there, too.
    pub(super) may_be_on_gpu: bool,
}

pub(super) struct Encoder {
    params: ProjectorParams,
    model: Arc<LlamaModel>,
    settings: Settings,
    state: State,
}

enum State {
    /// No image has come yet.
    Waiting,
    Loaded(Projector),
    /// It cannot be loaded.
    Broken(String),
}

impl Encoder {
    /// Makes the encoder; `None` if the projector cannot be used. Without it the model still handles text.
    pub(super) fn new(
        params: &ProjectorParams,
        model: &Arc<LlamaModel>,
        settings: Settings,
        info: &mut LoadedInfo,
    ) -> Option<Self> {
        let mut encoder = Self {
            params: params.clone(),
            model: Arc::clone(model),
            settings,
            state: State::Waiting,
        };
        let n_bytes = match &params.file.form {
            Form::View(view) => view.n_bytes(),
            Form::Original | Form::Overrides(_) => {
                if encoder.projector().is_err() {
                    tracing::warn!(
                        "the model can neither see nor hear, its projector is of no use"
                    );
                    return None;
                }
                fs_err::metadata(&params.file.path).map_or(0, |file| file.len())
            }
        };
        info.size_bytes += n_bytes;
        let is_on_gpu = match &encoder.state {
            State::Loaded(projector) => projector.is_on_gpu(),
            _ => settings.may_be_on_gpu,
        };
        info.vram_bytes += if is_on_gpu { n_bytes } else { 0 };
        let gpu = info.gpus.first().filter(|_| is_on_gpu);
        let device = gpu.map_or(HOST, String::as_str).to_owned();
        info.memory.on(&device).projector += n_bytes;
        Some(encoder)
    }

    /// Returns the projector; loads it first if needed.
    fn projector(&mut self) -> Result<&mut Projector, String> {
        if matches!(self.state, State::Waiting) {
            self.state = match self.load() {
                Ok(projector) => State::Loaded(projector),
                Err(reason) => {
                    tracing::warn!("{reason}");
                    State::Broken(reason)
                }
            };
        }
        match &mut self.state {
            State::Loaded(projector) => Ok(projector),
            State::Broken(reason) => Err(reason.clone()),
            State::Waiting => Err("the projector is not loaded".to_owned()),
        }
    }

    /// Loads the projector: on the GPU if the whole model is there and has left room.
    fn load(&self) -> Result<Projector, String> {
        let name = self.params.file.path.display();
        let file = ProjectorFile::open(&self.params.file).map_err(|error| error.to_string())?;
        let mut reason = String::new();
        for is_on_gpu in [true, false] {
            if is_on_gpu && !self.settings.may_be_on_gpu {
                continue;
            }
            log::start();
            let settings = projector::Settings {
                is_on_gpu,
                n_threads: self.settings.n_threads,
                n_ubatch: self.settings.n_ubatch,
                min_image_tokens: self.params.min_image_tokens,
            };
            if let Some(projector) =
                Projector::load(file.path(), Arc::clone(&self.model), &settings)
            {
                if projector.has_encoder() {
                    return Ok(projector);
                }
                return Err(format!(
                    "the projector `{name}` has no encoder for images or sound"
                ));
            }
            let cause = log::cause().map_or_else(String::new, |cause| format!(": {cause}"));
            let place = if is_on_gpu { "the GPU" } else { "the CPU" };
            reason = format!("could not load the projector `{name}` on {place}{cause}");
            if is_on_gpu {
                tracing::warn!("{reason}");
            }
        }
        Err(reason)
    }
}

impl MediaEncoder for Encoder {
    fn check(&self, parts: &[PromptPart]) -> Result<(), Failure> {
        projector::check(parts)
    }

    fn encode_file(&mut self, file: &str, room: Room) -> Result<Vec<Piece>, Failure> {
        let projector = self.projector().map_err(|message| Failure {
            kind: FailureKind::Internal,
            message,
        })?;
        projector.encode_file(file, room)
    }
}
