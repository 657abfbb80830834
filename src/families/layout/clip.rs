//! The header of a projector whose tensors are among a model's weights.

use super::edit::{Edit, bounded_layers};
use super::invalid;
use super::tensor::Tensor;
use super::value::New;
use crate::model::gguf::GgufError;

/// The prefixes of tensors that belong to a projector.
pub(super) const PREFIXES: &[&str] = &["v.", "mm.", "a.", "s."];

/// The mean and spread of colors of OpenAI's CLIP, for llama.cpp's projector loader.
pub(in crate::families) const OPENAI_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
pub(in crate::families) const OPENAI_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// A projector's header under construction.
pub struct Clip<'a> {
    pub(in crate::families) edit: Edit<'a>,
}

impl<'a> Clip<'a> {
    /// Begins with the tensors and without keys.
    pub(super) fn of(mut edit: Edit<'a>) -> Self {
        edit.rename_architecture("clip");
        edit.set("general.type", "mmproj");
        Self { edit }
    }

    /// Marks it as an image encoder, and names llama.cpp's code for it.
    pub(in crate::families) fn set_image_projector(&mut self, kind: &str) {
        self.edit.set("clip.has_vision_encoder", New::Bool(true));
        self.edit.set("clip.vision.projector_type", kind);
    }

    /// Marks it as an audio encoder, and names llama.cpp's code for it.
    pub(in crate::families) fn set_audio_projector(&mut self, kind: &str) {
        self.edit.set("clip.has_audio_encoder", New::Bool(true));
        self.edit.set("clip.audio.projector_type", kind);
    }

    /// Sets a key of the image encoder.
    pub(in crate::families) fn set(&mut self, key: &str, new: impl Into<New>) {
        self.edit.set(&format!("clip.vision.{key}"), new);
    }

    /// Copies numbers of the model's image encoder, which have the same names there. They must exist.
    pub(in crate::families) fn copy(&mut self, keys: &[&str]) -> Result<(), GgufError> {
        self.copy_from("vision", "vision", keys)
    }

    /// Copies numbers of one of the model's encoders.
    pub(in crate::families) fn copy_from(
        &mut self,
        from: &str,
        to: &str,
        keys: &[&str],
    ) -> Result<(), GgufError> {
        for key in keys {
            let number = self.edit.required(&format!(".{from}.{key}"))?;
            self.edit.set(&format!("clip.{to}.{key}"), number);
        }
        Ok(())
    }

    /// Sets the epsilon of the image encoder's norms to the file's value, or to `or`.
    pub(in crate::families) fn epsilon_or(&mut self, or: f32) {
        const EPSILON: &str = "attention.layer_norm_epsilon";
        let found = self.edit.float(&format!(".vision.{EPSILON}"));
        self.set(EPSILON, found.unwrap_or(or));
    }

    /// Sets the output's width to that of the text model.
    pub(in crate::families) fn projects_to_text(&mut self) -> Result<(), GgufError> {
        let width = self.edit.required(".embedding_length")?;
        self.set("projection_dim", width);
        Ok(())
    }

    /// Sets the mean and the spread of colors.
    pub(in crate::families) fn colors(&mut self, mean: [f32; 3], std: [f32; 3]) {
        self.set("image_mean", New::F32s(mean.to_vec()));
        self.set("image_std", New::F32s(std.to_vec()));
    }

    /// Sets mean and spread to the file's values, or to these.
    pub(in crate::families) fn colors_or(&mut self, mean: [f32; 3], std: [f32; 3]) {
        let of = |key: &str, or: [f32; 3]| {
            let found = self.edit.floats(&format!(".vision.{key}"));
            if found.len() >= 3 { found } else { or.to_vec() }
        };
        let (mean, std) = (of("image_mean", mean), of("image_std", std));
        self.set("image_mean", New::F32s(mean));
        self.set("image_std", New::F32s(std));
    }

    pub(in crate::families) fn uses_gelu(&mut self) {
        self.edit.set("clip.use_gelu", New::Bool(true));
    }

    pub(in crate::families) fn uses_silu(&mut self) {
        self.edit.set("clip.use_silu", New::Bool(true));
    }

    /// Interleaves the two halves of each head's rows, as llama.cpp wants them for rotary positions in two dimensions.
    pub(in crate::families) fn interleave_heads(
        tensor: &mut Tensor,
        n_head: u32,
    ) -> Result<(), GgufError> {
        let uneven = || invalid("the heads of the image encoder do not share its width");
        let [row, n_rows] = tensor.shape.as_slice().try_into().map_err(|_| uneven())?;
        let n_head = u64::from(n_head);
        if n_head == 0 || !u64::is_multiple_of(n_rows, n_head.saturating_mul(2)) {
            return Err(uneven());
        }
        let half = n_rows / n_head / 2;
        let steps = [(n_head, 2 * half * row), (half, row), (2, half * row)];
        tensor.rearrange(0, row, &steps, vec![row, n_rows])
    }

    /// The number of the image encoder's layers, checked.
    pub(in crate::families) fn n_layers(&self) -> Result<u32, GgufError> {
        bounded_layers(self.edit.required(".vision.block_count")?)
    }

    /// Adds the embedding row of a text model's token as a tensor in single precision; zeros if the model has no such
    /// token.
    pub(in crate::families) fn add_token_row(
        &mut self,
        token: &[u8],
        name: &str,
    ) -> Result<(), GgufError> {
        let tokens = self.edit.texts("tokenizer.ggml.tokens")?;
        let id = tokens.iter().position(|known| **known == *token);
        let source = self.edit.source();
        let mut all = source.metadata.tensors.iter().zip(&source.layout.tensors);
        let embeddings = all.find(|(info, _)| info.name == "token_embd.weight");
        let row = match (id, embeddings) {
            (Some(id), Some((info, layout))) => {
                let mut row = Tensor::original(info, layout).one_row(name, id as u64)?;
                row.make_f32()?;
                row
            }
            _ => Tensor::zeros(name, self.edit.required(".embedding_length")?.into()),
        };
        self.edit.add(row);
        Ok(())
    }

    /// The side of a square with as many patches as a tensor has rows.
    pub(in crate::families) fn square_side(&self, tensor: &str) -> Result<u32, GgufError> {
        let n = self.edit.required_side(tensor, 1)?;
        let side = n.isqrt();
        if side * side == n {
            return Ok(side);
        }
        Err(invalid(format!(
            "tensor `{tensor}` has no square number of rows"
        )))
    }
}
