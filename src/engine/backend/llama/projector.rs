//! Images and sound through libmtmd: the only place that calls it.
//!
//! A projector is a second model beside the text model. It turns an image or a sound into rows that the text
//! model takes in place of tokens. Both are decoded here, in Rust: clients' files are not passed to a C
//! library.
//!
//! *Invariant:* only the image thread uses it. It reads only the text model's vocabulary and width, which do
//! not change.

#![expect(unsafe_code, reason = "libmtmd is a C library")]

use std::ffi::{CStr, CString};
use std::path::Path;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_sys_2 as sys;
use sha2::{Digest, Sha256};

use super::context::model_ptr;
use super::encoder_cache::{self, EncoderCache};
use super::picture::{self, Picture};
use super::sound;
use crate::engine::backend::Room;
use crate::engine::media::{self, Media, Piece, Rows};
use crate::engine::prompt;
use crate::protocol::media::is_sound;
use crate::protocol::{Failure, FailureKind, PromptPart};

/// How to load a projector.
pub(super) struct Settings {
    pub(super) is_on_gpu: bool,
    pub(super) n_threads: i32,
    /// Most rows that the text model computes at once.
    pub(super) n_ubatch: usize,
    /// The fewest tokens of an image; 0 = what the file asks for.
    pub(super) min_image_tokens: u32,
}

/// A projector and the text model that it was loaded for.
pub(super) struct Projector {
    ptr: NonNull<sys::mtmd_context>,
    is_on_gpu: bool,
    n_ubatch: usize,
    /// Length of one row.
    n_embd: usize,
    encoder_cache: EncoderCache,
    /// Last, so that it is dropped after the context (`Drop` below).
    _model: Arc<LlamaModel>,
}

// SAFETY: the context is not bound to a thread, and the struct owns it.
unsafe impl Send for Projector {}

impl Projector {
    /// Loads a file; `None` when libmtmd could not (its log says why).
    pub(super) fn load(path: &Path, model: Arc<LlamaModel>, settings: &Settings) -> Option<Self> {
        let name = CString::new(path.to_str()?).ok()?;
        // SAFETY: no arguments.
        let mut params = unsafe { sys::mtmd_context_params_default() };
        params.use_gpu = settings.is_on_gpu;
        params.n_threads = settings.n_threads;
        params.print_timings = false;
        // The warmup encodes an image of the largest size, which takes long without a GPU.
        params.warmup = settings.is_on_gpu;
        if let Ok(n_tokens @ 1..) = i32::try_from(settings.min_image_tokens) {
            params.image_min_tokens = n_tokens;
        }
        // SAFETY: the path is a C string, the model is valid, the parameters are libmtmd's own with
        // values replaced.
        let ptr = unsafe { sys::mtmd_init_from_file(name.as_ptr(), model_ptr(&model), params) };
        // SAFETY: the model is valid.
        let n_embd = unsafe { sys::llama_model_n_embd_inp(model_ptr(&model)) };
        Some(Self {
            ptr: NonNull::new(ptr)?,
            is_on_gpu: settings.is_on_gpu,
            n_ubatch: settings.n_ubatch,
            n_embd: usize::try_from(n_embd).ok()?,
            encoder_cache: encoder_cache::new(),
            _model: model,
        })
    }

    /// Whether it can encode images.
    pub(super) fn can_see(&self) -> bool {
        // SAFETY: the context is valid.
        unsafe { sys::mtmd_support_vision(self.ptr.as_ptr()) }
    }

    pub(super) fn is_on_gpu(&self) -> bool {
        self.is_on_gpu
    }

    /// The sample rate for sound, if it can encode sound.
    fn hearing_rate(&self) -> Option<u32> {
        // SAFETY: the context is valid.
        let rate = unsafe { sys::mtmd_get_audio_sample_rate(self.ptr.as_ptr()) };
        u32::try_from(rate).ok().filter(|&rate| rate > 0)
    }

    /// Whether it can encode anything.
    pub(super) fn has_encoder(&self) -> bool {
        self.can_see() || self.hearing_rate().is_some()
    }

    /// Prepares a sound: in pieces if it is long, with the model's own special tokens around them.
    fn sound(&self, file: &[u8], id: &str) -> Result<Chunks, Failure> {
        let rate = self.hearing_rate().ok_or_else(deaf)?;
        let samples = sound::decode(file, rate).map_err(|error| invalid(&error.to_string()))?;
        let bitmap = Bitmap::of_sound(&samples, id).ok_or_else(|| internal("out of memory"))?;
        // The samples were copied.
        drop(samples);
        self.chunks(&sys::mtmd_input_part {
            text: std::ptr::null(),
            bitmap: bitmap.0.as_ptr(),
        })
    }

    /// Prepares an image: in pieces if it is large, with the model's own special tokens around them.
    fn image(&self, file: &[u8], id: &str) -> Result<Chunks, Failure> {
        if !self.can_see() {
            return Err(blind());
        }
        let picture = Picture::decode(file).map_err(|error| invalid(&error.to_string()))?;
        let bitmap = Bitmap::new(&picture, id).ok_or_else(|| internal("out of memory"))?;
        // The picture was copied, and is large.
        drop(picture);
        self.chunks(&sys::mtmd_input_part {
            text: std::ptr::null(),
            bitmap: bitmap.0.as_ptr(),
        })
    }

    /// Cuts a part of a prompt. Parts are cut one by one, so that only one of a prompt's images is in memory.
    fn chunks(&self, part: &sys::mtmd_input_part) -> Result<Chunks, Failure> {
        let chunks = Chunks::new().ok_or_else(|| internal("out of memory"))?;
        let mut parts = [&raw const *part];
        // SAFETY: what the part points to lives in the caller; `chunks` is empty and ours.
        let code = unsafe {
            sys::mtmd_tokenize_from_parts(
                self.ptr.as_ptr(),
                chunks.0.as_ptr(),
                parts.as_mut_ptr(),
                parts.len(),
                false,
            )
        };
        if code == 0 {
            return Ok(chunks);
        }
        Err(invalid(
            "an image or a sound of this prompt cannot be prepared for the model",
        ))
    }

    /// Encodes an image or a sound, given as the base64 of its file.
    pub(super) fn encode_file(&mut self, text: &str, room: Room) -> Result<Vec<Piece>, Failure> {
        self.take_in(&file(text)?, room)
    }

    /// Encodes an image or a sound, or takes it from the cache.
    fn take_in(&mut self, file: &[u8], room: Room) -> Result<Vec<Piece>, Failure> {
        let id = STANDARD.encode(Sha256::digest(file));
        if let Some(pieces) = self.encoder_cache.get(&id).cloned() {
            return Ok(pieces);
        }
        let chunks = if is_sound(file) {
            self.sound(file, &id)?
        } else {
            self.image(file, &id)?
        };
        // Check this before encoding, which can take minutes.
        let n_rows: usize = chunks.iter().map(Chunk::n_rows).sum();
        prompt::check_length(room.n_taken + n_rows, room.n_ctx)?;
        let mut pieces = Vec::with_capacity(chunks.len());
        let mut ordinal = 0;
        for chunk in chunks.iter() {
            pieces.push(if let Some(tokens) = chunk.text() {
                Piece::Tokens(tokens.to_vec())
            } else {
                let media = self.encode(chunk, fingerprint(&id, ordinal))?;
                ordinal += 1;
                Piece::Media(Arc::new(media))
            });
        }
        self.encoder_cache.insert(id, pieces.clone());
        Ok(pieces)
    }

    /// Encodes a piece of an image or of a sound.
    fn encode(&self, chunk: Chunk<'_>, fingerprint: u64) -> Result<Media, Failure> {
        let (n_rows, n_positions) = (chunk.n_rows(), chunk.n_positions());
        // SAFETY: the context and the chunk are valid.
        let is_seen_at_once =
            unsafe { sys::mtmd_decode_use_non_causal(self.ptr.as_ptr(), chunk.ptr) };
        if is_seen_at_once && n_rows > self.n_ubatch {
            return Err(invalid(&format!(
                "an image of {n_rows} tokens is more than a batch of {}: set num_batch to {n_rows} or more",
                self.n_ubatch
            )));
        }
        if n_rows == 0 {
            return Err(invalid("an image or a sound of this prompt is empty"));
        }
        let grid = self.grid(chunk, n_rows)?;
        // SAFETY: the context and the chunk are valid.
        let code = unsafe { sys::mtmd_encode_chunk(self.ptr.as_ptr(), chunk.ptr) };
        // SAFETY: the context is valid.
        let output = unsafe { sys::mtmd_get_output_embd(self.ptr.as_ptr()) };
        if code != 0 || output.is_null() {
            return Err(internal("the image or sound could not be encoded"));
        }
        // SAFETY: after a successful call the output has this many values, by libmtmd's contract; they
        // are copied before the next call.
        let embeddings = unsafe { slice::from_raw_parts(output, n_rows * self.n_embd) }.to_vec();
        Ok(Media {
            tokens: media::tokens(fingerprint, n_rows, n_positions),
            rows: Rows {
                embeddings,
                is_seen_at_once,
                grid,
            },
        })
    }

    /// The positions of the rows of an image or a sound, for models with positions in several dimensions.
    fn grid(&self, chunk: Chunk<'_>, n_rows: usize) -> Result<Vec<[i32; 3]>, Failure> {
        // SAFETY: the context is valid.
        if !unsafe { sys::mtmd_decode_use_mrope(self.ptr.as_ptr()) } {
            return Ok(Vec::new());
        }
        if chunk.is_sound() {
            // One after the other in every dimension, as text.
            let places = (0..i32::try_from(n_rows).unwrap_or(i32::MAX)).map(|row| [row; 3]);
            return Ok(places.collect());
        }
        // SAFETY: the chunk is valid; null if it is no image.
        let image = unsafe { sys::mtmd_input_chunk_get_tokens_image(chunk.ptr) };
        if image.is_null() {
            return Err(internal("an image without places"));
        }
        let place = |row, begin| {
            // SAFETY: the image is valid and has more rows than `row`.
            let place = unsafe { sys::mtmd_image_tokens_get_decoder_pos(image, begin, row) };
            [place.t, place.y, place.x].map(u32::cast_signed)
        };
        // Positions must be relative to the image's begin, so that it may be anywhere in the prompt.
        let last = n_rows - 1;
        if place(last, 1) != place(last, 0).map(|at| at + 1) {
            return Err(internal(
                "this kind of model cannot see images in drover yet",
            ));
        }
        Ok((0..n_rows).map(|row| place(row, 0)).collect())
    }
}

/// Refuses files that no projector accepts, before anything is computed.
pub(super) fn check(parts: &[PromptPart]) -> Result<(), Failure> {
    let mut sum = picture::Sum::default();
    for part in parts {
        if let PromptPart::Media(text) = part {
            let file = file(text)?;
            if is_sound(&file) {
                sound::check(&file).map_err(|error| invalid(&error.to_string()))?;
                continue;
            }
            let size = picture::size(&file);
            let added = size.and_then(|size| sum.add(size));
            added.map_err(|error| invalid(&error.to_string()))?;
        }
    }
    Ok(())
}

/// The file in a part of a prompt.
fn file(text: &str) -> Result<Vec<u8>, Failure> {
    let file = STANDARD.decode(text);
    file.map_err(|_| invalid("illegal base64 data in an image"))
}

impl Drop for Projector {
    fn drop(&mut self) {
        // SAFETY: made by `load`, freed once, before the model.
        unsafe { sys::mtmd_free(self.ptr.as_ptr()) };
    }
}

/// A number for a chunk of an image: the same content always has the same number.
fn fingerprint(digest: &str, ordinal: u32) -> u64 {
    let bytes = Sha256::new()
        .chain_update(digest)
        .chain_update(ordinal.to_le_bytes())
        .finalize();
    let (first, _) = bytes.split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*first)
}

fn invalid(message: &str) -> Failure {
    Failure {
        kind: FailureKind::Invalid,
        message: message.to_owned(),
    }
}

fn deaf() -> Failure {
    invalid("this model cannot hear: its projector has no encoder for sound that llama.cpp knows")
}

fn blind() -> Failure {
    invalid("this model cannot see: its projector has no encoder for images")
}

fn internal(message: &str) -> Failure {
    Failure {
        kind: FailureKind::Internal,
        message: message.to_owned(),
    }
}

/// An image's pixels, or a sound's samples, owned by libmtmd.
struct Bitmap(NonNull<sys::mtmd_bitmap>);

impl Bitmap {
    fn new(picture: &Picture, id: &str) -> Option<Self> {
        let id = CString::new(id).ok()?;
        let (width, height) = picture.size();
        // SAFETY: the pixels are three bytes each, as many as the sides say; they are copied.
        let ptr = unsafe { sys::mtmd_bitmap_init(width, height, picture.pixels().as_ptr()) };
        Self::named(ptr, &id)
    }

    fn of_sound(samples: &[f32], id: &str) -> Option<Self> {
        let id = CString::new(id).ok()?;
        // SAFETY: the pointer and the length are those of `samples`; they are copied.
        let ptr = unsafe { sys::mtmd_bitmap_init_from_audio(samples.len(), samples.as_ptr()) };
        Self::named(ptr, &id)
    }

    fn named(ptr: *mut sys::mtmd_bitmap, id: &CStr) -> Option<Self> {
        let ptr = NonNull::new(ptr)?;
        // SAFETY: the bitmap was just made; the text is copied.
        unsafe { sys::mtmd_bitmap_set_id(ptr.as_ptr(), id.as_ptr()) };
        Some(Self(ptr))
    }
}

impl Drop for Bitmap {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { sys::mtmd_bitmap_free(self.0.as_ptr()) };
    }
}

/// A prompt in pieces.
struct Chunks(NonNull<sys::mtmd_input_chunks>);

impl Chunks {
    fn new() -> Option<Self> {
        // SAFETY: no arguments.
        NonNull::new(unsafe { sys::mtmd_input_chunks_init() }).map(Self)
    }

    fn len(&self) -> usize {
        // SAFETY: the list is valid.
        unsafe { sys::mtmd_input_chunks_size(self.0.as_ptr()) }
    }

    fn iter(&self) -> impl Iterator<Item = Chunk<'_>> {
        (0..self.len()).map(|index| Chunk {
            // SAFETY: the index is in the list; the chunk lives as long as that.
            ptr: unsafe { sys::mtmd_input_chunks_get(self.0.as_ptr(), index) },
            _of: self,
        })
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { sys::mtmd_input_chunks_free(self.0.as_ptr()) };
    }
}

/// One piece of a prompt.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    ptr: *const sys::mtmd_input_chunk,
    _of: &'a Chunks,
}

impl<'a> Chunk<'a> {
    /// The tokens, if it is text.
    fn text(self) -> Option<&'a [sys::llama_token]> {
        // SAFETY: the chunk is valid.
        let kind = unsafe { sys::mtmd_input_chunk_get_type(self.ptr) };
        if kind != sys::MTMD_INPUT_CHUNK_TYPE_TEXT {
            return None;
        }
        let mut n_tokens = 0;
        // SAFETY: the chunk is valid and one of text.
        let tokens = unsafe { sys::mtmd_input_chunk_get_tokens_text(self.ptr, &raw mut n_tokens) };
        if tokens.is_null() {
            return Some(&[]);
        }
        // SAFETY: the chunk has `n_tokens` tokens, which live as long as the list.
        Some(unsafe { slice::from_raw_parts(tokens, n_tokens) })
    }

    fn is_sound(self) -> bool {
        // SAFETY: the chunk is valid.
        let kind = unsafe { sys::mtmd_input_chunk_get_type(self.ptr) };
        kind == sys::MTMD_INPUT_CHUNK_TYPE_AUDIO
    }

    fn n_rows(self) -> usize {
        // SAFETY: the chunk is valid.
        unsafe { sys::mtmd_input_chunk_get_n_tokens(self.ptr) }
    }

    fn n_positions(self) -> usize {
        // SAFETY: the chunk is valid.
        let n = unsafe { sys::mtmd_input_chunk_get_n_pos(self.ptr) };
        usize::try_from(n).unwrap_or(0)
    }
}
