//! Images among the steps: each is evaluated in calls of its own, between those of everybody else.

use std::sync::Arc;

use super::backend::{Backend, Decoded};
use super::core::Engine;
use super::media::Media;
use super::prompt;
use super::slot::seq;
use super::step::Batch;

impl<B: Backend> Engine<B> {
    /// Evaluates one image, that of the oldest sequence which has come to one; returns its rows.
    pub(super) fn see(&mut self) -> usize {
        while let Some((slot, media)) = self.next_image() {
            let position = self.slots.next_position(slot);
            match self.backend.decode_media(seq(slot), position, &media) {
                Ok(Decoded::Done) => {
                    self.slots.record_media(slot, &media.tokens);
                    self.park(&[slot]);
                    return media.tokens.len();
                }
                Ok(Decoded::NoSpace) => {
                    self.make_space(&Batch::default(), 0);
                }
                Err(error) => {
                    if let Some(sequence) = self.release(slot) {
                        self.fail(sequence.id, prompt::broken(&error));
                    }
                    // Nobody knows what a failed call has left behind.
                    self.slots.clear(&mut self.backend, slot);
                }
            }
        }
        0
    }

    fn next_image(&self) -> Option<(usize, Arc<Media>)> {
        let running = self.running.iter().enumerate();
        let waiting = running.filter_map(|(slot, sequence)| {
            let sequence = sequence.as_ref().filter(|s| s.follows.is_none())?;
            let media = sequence.gallery.at(self.slots.len(slot))?;
            Some((sequence.seniority(), slot, media))
        });
        let (_, slot, media) = waiting.min_by_key(|(seniority, ..)| *seniority)?;
        Some((slot, Arc::clone(media)))
    }
}
