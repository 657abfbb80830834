//! Decodes the sound that clients send to samples: one channel at the model's sample rate.
//!
//! A few bytes can claim to be hours of sound. So a file's header is checked first ([`check`]), and whatever it
//! says, the decoded samples are counted. A file that ends too early, such as an interrupted recording, is
//! decoded as far as it goes.

use std::io::Cursor;
use std::time::{Duration, Instant};

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _};
use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::common::Limit;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;

/// The longest sound in a file. Most models take half a minute in one piece, the longest thirty minutes.
const MAX_SECONDS: u64 = 30 * 60;

/// Most values of all channels that are decoded: half an hour of two channels at the sample rates of music.
const MAX_VALUES: usize = 200_000_000;

/// Sample rates from the cheapest telephone to the most expensive studio, and the channels of a cinema.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;
const MAX_CHANNELS: usize = 8;

/// The longest time that a file is decoded: a slow machine needs some seconds for the longest one.
const MAX_TIME: Duration = Duration::from_secs(60);

/// Frames that are resampled at a time.
const CHUNK: usize = 4096;

/// Most bytes of tags and pictures in a file that are read.
const MAX_TAGS: usize = 64 << 10;

/// Why a file cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum SoundError {
    #[error("invalid sound: it is none of WAV, MP3 and FLAC")]
    Unknown,
    #[error("invalid sound: {0}")]
    Broken(String),
    #[error("invalid sound: there is none in the file")]
    Empty,
    #[error(
        "the sound is too long: {minutes} minutes are the most, cut it into pieces",
        minutes = MAX_SECONDS / 60
    )]
    Long,
    #[error("the sound is too large: it has too many channels or samples, make it mono at 16 kHz")]
    Large,
    #[error(
        "invalid sound: a sample rate of {0} Hz is out of the range of {lowest} to {highest}",
        lowest = RATES.start(),
        highest = RATES.end()
    )]
    Rate(u32),
    #[error("invalid sound: {0} channels, {MAX_CHANNELS} are the most")]
    Channels(usize),
    #[error("the sound takes too long to decode: make it shorter")]
    Slow,
}

impl From<Error> for SoundError {
    fn from(error: Error) -> Self {
        match error {
            Error::Unsupported(what) => Self::Broken(format!("{what} is not supported")),
            Error::DecodeError(what) | Error::LimitError(what) => Self::Broken(what.to_owned()),
            Error::IoError(_) => Self::Broken("it ends too early".to_owned()),
            _ => Self::Broken("it changes its form".to_owned()),
        }
    }
}

/// Checks a file's header.
///
/// # Errors
/// The file is not sound, or of a kind that is not decoded.
pub(super) fn check(file: &[u8]) -> Result<(), SoundError> {
    Opened::new(file).map(drop)
}

/// Decodes a file to one channel at this rate.
///
/// # Errors
/// Those of [`check`], and errors that only decoding shows.
pub(super) fn decode(file: &[u8], rate: u32) -> Result<Vec<f32>, SoundError> {
    let begun = Instant::now();
    let mut opened = Opened::new(file)?;
    let mut mono = Vec::new();
    let mut values = Vec::new();
    let mut n_values = 0;
    let mut output = Output::new(opened.rate, rate)?;
    while let Some(buffer) = opened.next()? {
        let n_channels = buffer.num_planes();
        if buffer.spec().rate() != output.from {
            return Err(SoundError::Broken("its sample rate changes".to_owned()));
        }
        check_channels(n_channels)?;
        buffer.copy_to_vec_interleaved::<f32>(&mut values);
        n_values += values.len();
        if n_values > MAX_VALUES {
            return Err(SoundError::Large);
        }
        if begun.elapsed() > MAX_TIME {
            return Err(SoundError::Slow);
        }
        mono.clear();
        mono.extend(values.chunks_exact(n_channels).map(average));
        output.push(&mono)?;
    }
    let samples = output.finish()?;
    if samples.is_empty() {
        return Err(SoundError::Empty);
    }
    Ok(samples)
}

/// The mean of all channels. NaN and infinities become silence.
fn average(frame: &[f32]) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "there are few channels")]
    let mean = frame.iter().sum::<f32>() / frame.len() as f32;
    if mean.is_finite() {
        mean.clamp(-1.0, 1.0)
    } else {
        0.0
    }
}

fn check_channels(n: usize) -> Result<(), SoundError> {
    if (1..=MAX_CHANNELS).contains(&n) {
        return Ok(());
    }
    Err(SoundError::Channels(n))
}

/// A file whose header was read.
struct Opened<'a> {
    format: Box<dyn FormatReader + 'a>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    rate: u32,
}

impl<'a> Opened<'a> {
    fn new(file: &'a [u8]) -> Result<Self, SoundError> {
        if file.starts_with(b"OggS") || file.starts_with(b"FORM") {
            return Err(SoundError::Unknown);
        }
        let source = Box::new(Cursor::new(file));
        let stream = MediaSourceStream::new(source, MediaSourceStreamOptions::default());
        let tags = MetadataOptions::default()
            .limit_tag_bytes(Limit::Maximum(MAX_TAGS))
            .limit_visual_bytes(Limit::Maximum(MAX_TAGS));
        let probe = symphonia::default::get_probe();
        let format = probe.probe(&Hint::new(), stream, FormatOptions::default(), tags);
        let format = format.map_err(|error| match error {
            Error::Unsupported(_) | Error::IoError(_) => SoundError::Unknown,
            error => error.into(),
        })?;
        let track = format
            .default_track(TrackType::Audio)
            .ok_or(SoundError::Empty)?;
        let params = track
            .codec_params
            .as_ref()
            .and_then(|params| params.audio());
        let params = params.ok_or(SoundError::Empty)?;
        let rate = params.sample_rate.unwrap_or(0);
        if !RATES.contains(&rate) {
            return Err(SoundError::Rate(rate));
        }
        if let Some(channels) = &params.channels {
            check_channels(channels.count())?;
        }
        // A program that streams into a WAV file does not know its length, and writes any number.
        let is_said = !file.starts_with(b"RIFF");
        let n_frames = track.num_frames.filter(|_| is_said).unwrap_or(0);
        if n_frames / u64::from(rate) > MAX_SECONDS {
            return Err(SoundError::Long);
        }
        let decoders = symphonia::default::get_codecs();
        let decoder = decoders.make_audio_decoder(params, &AudioDecoderOptions::default())?;
        Ok(Self {
            track: track.id,
            rate,
            decoder,
            format,
        })
    }

    /// The next samples, up to where the file ends. Broken packets are skipped.
    fn next(&mut self) -> Result<Option<GenericAudioBufferRef<'_>>, SoundError> {
        loop {
            let packet = match self.format.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None)
                | Err(Error::IoError(_) | Error::DecodeError(_) | Error::ResetRequired) => {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            if packet.track_id != self.track {
                continue;
            }
            match self.decoder.decode(&packet) {
                Ok(_) => break,
                Err(Error::DecodeError(_) | Error::IoError(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(self.decoder.last_decoded()))
    }
}

/// Samples that are being resampled.
struct Output {
    from: u32,
    to: u32,
    resampler: Option<Fft<f32>>,
    /// Samples that wait for a whole chunk.
    waiting: Vec<f32>,
    n_in: u64,
    samples: Vec<f32>,
}

impl Output {
    fn new(from: u32, to: u32) -> Result<Self, SoundError> {
        let resampler =
            (from != to).then(|| Fft::new(from as usize, to as usize, CHUNK, 1, FixedSync::Both));
        let resampler = resampler.transpose();
        Ok(Self {
            from,
            to,
            resampler: resampler.map_err(|error| SoundError::Broken(error.to_string()))?,
            waiting: Vec::new(),
            n_in: 0,
            samples: Vec::new(),
        })
    }

    fn push(&mut self, samples: &[f32]) -> Result<(), SoundError> {
        self.n_in += samples.len() as u64;
        if self.n_in / u64::from(self.from) > MAX_SECONDS {
            return Err(SoundError::Long);
        }
        if self.resampler.is_none() {
            self.samples.extend_from_slice(samples);
            return Ok(());
        }
        self.waiting.extend_from_slice(samples);
        self.resample()
    }

    /// Resamples the waiting samples that make whole chunks.
    fn resample(&mut self) -> Result<(), SoundError> {
        let Some(resampler) = &mut self.resampler else {
            return Ok(());
        };
        let mut begin = 0;
        loop {
            let n = resampler.input_frames_next();
            let Some(chunk) = self.waiting.get(begin..begin + n).filter(|_| n > 0) else {
                break;
            };
            let chunk = InterleavedSlice::new(chunk, 1, n);
            let chunk = chunk.map_err(|error| SoundError::Broken(error.to_string()))?;
            let resampled = resampler.process(&chunk, None);
            let resampled = resampled.map_err(|error| SoundError::Broken(error.to_string()))?;
            self.samples.extend(resampled.take_data());
            begin += n;
        }
        self.waiting.drain(..begin);
        Ok(())
    }

    /// Returns all samples, of the same duration as the input.
    fn finish(mut self) -> Result<Vec<f32>, SoundError> {
        let Some(resampler) = &self.resampler else {
            return Ok(self.samples);
        };
        let n_late = resampler.output_delay();
        let n_out = (self.n_in * u64::from(self.to)).div_ceil(u64::from(self.from));
        let n_out = usize::try_from(n_out).unwrap_or(usize::MAX);
        let n_all = n_late.saturating_add(n_out);
        // The resampler's remaining output comes when it is fed silence.
        while self.samples.len() < n_all {
            let n = self
                .resampler
                .as_ref()
                .map_or(CHUNK, |resampler| resampler.input_frames_next());
            let n_before = self.samples.len();
            self.waiting.resize(n.max(self.waiting.len()), 0.0);
            self.resample()?;
            if self.samples.len() == n_before {
                break;
            }
        }
        self.samples.truncate(n_all);
        self.samples.drain(..n_late.min(self.samples.len()));
        Ok(self.samples)
    }
}

#[cfg(test)]
mod tests;
