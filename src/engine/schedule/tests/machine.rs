//! A fake backend for the schedule: it keeps only tokens, and fails at random.

use std::collections::BTreeSet;

use super::{N_BATCH, N_POOL};
use crate::engine::row::{Row, SeqId};
use crate::engine::schedule::commit::{Called, Decoded, Outcome, Sampled, SampledToken};
use crate::engine::schedule::embedding::Embedded;
use crate::engine::schedule::offers::{Offer, Offers, Place};
use crate::engine::schedule::plan::{CacheOp, DecodeCall, StepPlan};
use crate::engine::schedule::prefix;
use crate::protocol::Token;

/// A backend that keeps only tokens, and a host cache.
pub(super) struct Machine {
    pub(super) random: fastrand::Rng,
    /// One in this many calls and cache operations fails; 0 = none.
    pub(super) trouble: u32,
    pub(super) window: Option<usize>,
    pub(super) seqs: Vec<Vec<Token>>,
    /// Shared cells: a sequence shares the first `.1` cells of sequence `.0`.
    pub(super) shares: Vec<Option<(usize, usize)>>,
    pub(super) host: Vec<Vec<Token>>,
    /// The prefixes in `host` that are in memory; the others have to be fetched.
    pub(super) fetched: Vec<Vec<Token>>,
}

impl Offers for Machine {
    fn find(&self, prompt: &[Token]) -> Option<Offer<'_>> {
        let offers = self.host.iter().map(|tokens| {
            let n_common = prefix::reusable(prompt, tokens);
            let is_whole = self.window.is_none() || n_common == tokens.len();
            Offer {
                tokens,
                n_reuse: if is_whole { n_common } else { 0 },
                place: if self.fetched.contains(tokens) {
                    Place::Memory
                } else {
                    Place::File
                },
            }
        });
        let offers = offers.filter(|offer| offer.n_reuse > 0);
        offers.max_by_key(|offer| offer.n_reuse)
    }
}

/// The model: the next token of a text depends on all of it.
fn next(tokens: &[Token]) -> Token {
    let sum = tokens.iter().fold(7_i64, |sum, &token| {
        (sum * 31 + i64::from(token)).rem_euclid(1_000_003)
    });
    Token::try_from(sum % 26).unwrap()
}

fn letter(token: Token) -> u8 {
    b'a' + u8::try_from(token.rem_euclid(26)).unwrap()
}

/// The answer to a request if nothing fails.
pub(super) fn answer(prompt: &[Token], n: usize) -> String {
    let mut tokens = prompt.to_vec();
    for _ in 0..n {
        let token = next(&tokens);
        tokens.push(token);
    }
    let said = tokens[prompt.len()..].iter();
    said.map(|&token| char::from(letter(token))).collect()
}

impl Machine {
    fn goes_wrong(&mut self) -> bool {
        self.trouble > 0 && self.random.u32(0..self.trouble) == 0
    }

    pub(super) fn n_cells(&self) -> usize {
        let shared = |index: usize| {
            let of = self.shares[index];
            of.map_or(0, |(_, n)| n.min(self.seqs[index].len()))
        };
        let own = (0..self.seqs.len()).map(|index| self.seqs[index].len() - shared(index));
        own.sum()
    }

    fn empty(&mut self, seq: SeqId) {
        let index = seq as usize;
        // Sequences that shared its cells keep them.
        for other in &mut self.shares {
            other.take_if(|(of, _)| *of == index);
        }
        self.seqs[index].clear();
        self.shares[index] = None;
    }

    /// Applies cache operations as the executor does.
    pub(super) fn apply(&mut self, ops: &[CacheOp], lost: &mut BTreeSet<SeqId>) {
        for op in ops {
            match op {
                CacheOp::Clear { seq } => {
                    self.empty(*seq);
                    lost.remove(seq);
                }
                CacheOp::Cut { seq, from } => {
                    if lost.contains(seq) {
                        continue;
                    }
                    let is_past = |window| self.seqs[*seq as usize].len() > window;
                    assert!(!self.window.is_some_and(is_past), "it cannot be cut there");
                    if self.goes_wrong() {
                        self.empty(*seq);
                        lost.insert(*seq);
                    } else {
                        self.seqs[*seq as usize].truncate(*from as usize);
                    }
                }
                CacheOp::Copy { from, to, len } => {
                    assert!(self.seqs[*to as usize].is_empty() || lost.contains(to));
                    if lost.contains(from) {
                        self.empty(*to);
                        lost.insert(*to);
                        continue;
                    }
                    let tokens = self.seqs[*from as usize][..*len as usize].to_vec();
                    self.shares[*to as usize] = Some((*from as usize, tokens.len()));
                    self.seqs[*to as usize] = tokens;
                    lost.remove(to);
                }
                CacheOp::Shift { seq, from, to } => {
                    if lost.contains(seq) || self.goes_wrong() {
                        self.empty(*seq);
                        lost.insert(*seq);
                    } else {
                        self.seqs[*seq as usize].drain(*from as usize..*to as usize);
                    }
                }
                CacheOp::Save { seq, tokens } => {
                    if !lost.contains(seq) {
                        assert_eq!(&self.seqs[*seq as usize], tokens);
                        self.host.push(tokens.clone());
                        if self.random.bool() {
                            self.fetched.push(tokens.clone());
                        }
                        if self.host.len() > 5 {
                            self.host.remove(0);
                        }
                    }
                }
                CacheOp::Load {
                    seq, tokens, spare, ..
                } => {
                    let kept = self.host.iter().position(|kept| kept == tokens);
                    let kept = kept.map(|index| self.host.remove(index));
                    self.empty(*seq);
                    match kept {
                        Some(tokens) if !self.goes_wrong() => {
                            lost.remove(seq);
                            self.seqs[*seq as usize] = tokens;
                        }
                        _ => {
                            lost.insert(*seq);
                            for &other in spare {
                                self.empty(other);
                                lost.insert(other);
                            }
                        }
                    }
                }
            }
        }
    }

    fn extend(&mut self, rows: &[Row], lost: &BTreeSet<SeqId>) -> Called<()> {
        let rows: Vec<&Row> = rows.iter().filter(|row| !lost.contains(&row.seq)).collect();
        if self.goes_wrong() {
            return Called::Failed("as it happens".to_owned());
        }
        if self.n_cells() + rows.len() > N_POOL || self.goes_wrong() && self.goes_wrong() {
            return Called::NoSpace;
        }
        for row in rows {
            let seq = &mut self.seqs[row.seq as usize];
            assert_eq!(
                seq.len(),
                row.position as usize,
                "a row goes on where its sequence ends"
            );
            seq.push(row.token);
        }
        Called::Done(())
    }

    pub(super) fn execute(&mut self, plan: &StepPlan) -> Outcome {
        let mut lost = BTreeSet::new();
        let mut outcome = Outcome::default();
        for tokens in &plan.fetch {
            // A damaged file is gone.
            if self.goes_wrong() {
                self.host.retain(|kept| kept != tokens);
            } else {
                self.fetched.push(tokens.clone());
            }
        }
        if let Some(call) = &plan.embed {
            self.apply(&call.cache, &mut lost);
            let is_broken_off = call.may_break_off && self.goes_wrong();
            let called = (!is_broken_off).then(|| self.extend(&call.rows, &lost));
            outcome.embed = Some(match called {
                None => Embedded::Interrupted,
                Some(Called::Done(())) => {
                    let vectors = call.outputs.iter().map(|&row| {
                        let seq = &self.seqs[call.rows[row].seq as usize];
                        #[expect(clippy::cast_precision_loss, reason = "short texts")]
                        Some(vec![1.0, seq.len() as f32])
                    });
                    Embedded::Done(vectors.collect())
                }
                Some(Called::NoSpace) => Embedded::NoSpace,
                Some(Called::Failed(message)) => Embedded::Failed(message),
            });
        }
        self.apply(&plan.cache, &mut lost);
        if let Some(call) = &plan.decode {
            // An interrupted call leaves nothing.
            if !(call.is_for_jobs && self.goes_wrong()) {
                self.decode(call, &lost, &mut outcome);
            }
        }
        if let Some(window) = self.window {
            let floor = |tokens: &Vec<Token>| match tokens.len() {
                len if len > window => u32::try_from(len).unwrap(),
                _ => 0,
            };
            outcome.floors = self.seqs.iter().map(floor).collect();
        }
        outcome.lost = lost.iter().map(|&seq| seq as usize).collect();
        outcome
    }

    fn decode(&mut self, call: &DecodeCall, lost: &BTreeSet<SeqId>, outcome: &mut Outcome) {
        assert!(!call.rows.is_empty() && call.rows.len() <= N_BATCH);
        let mut has_drafts = false;
        let called = match self.extend(&call.rows, lost) {
            Called::NoSpace => Called::NoSpace,
            Called::Failed(message) => Called::Failed(message),
            Called::Done(()) => {
                let mut sampled = Vec::new();
                for segment in &call.segments {
                    let seq = u32::try_from(segment.slot).unwrap();
                    if segment.is_sampled && !lost.contains(&seq) {
                        sampled.push(self.sample(segment.slot, segment.n_draft));
                    }
                }
                has_drafts = sampled.iter().any(|sampled| sampled.n_drafted > 0);
                Called::Done(sampled)
            }
        };
        outcome.decode = Some(Decoded {
            prompts: Vec::new(),
            called,
            n_rows: call.rows.len(),
            has_drafts,
            ms: self.random.f64() * 100.0,
        });
    }

    /// Samples some drafts, of which the last may be wrong.
    fn sample(&mut self, slot: usize, n_most: usize) -> Sampled {
        let n_drafted = self.random.usize(0..=n_most.min(3));
        let n_confirmed = self.random.usize(0..=n_drafted);
        let mut sampled = Sampled {
            slot,
            n_drafted,
            n_confirmed,
            ..Sampled::default()
        };
        let mut text = self.seqs[slot].clone();
        for index in 0..=n_confirmed {
            let token = next(&text);
            text.push(token);
            if index < n_confirmed {
                self.seqs[slot].push(token);
            }
            sampled.tokens.push(SampledToken {
                token,
                is_end: false,
                bytes: vec![letter(token)],
                logprob: None,
            });
        }
        if n_confirmed < n_drafted && self.goes_wrong() {
            self.empty(u32::try_from(slot).unwrap());
            sampled.is_lost = true;
        }
        if self.goes_wrong() {
            sampled.failed = Some("as it happens".to_owned());
        }
        sampled
    }
}
