//! Sound, with a tiny encoder of random weights: the results must equal those of libmtmd's own helper.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llama_cpp_2::mtmd::{
    MtmdBitmap, MtmdContext, MtmdContextParams, MtmdInputText, mtmd_default_marker,
};

use super::images::{ROOM, evaluate, files, read, text};
use super::*;
use crate::engine::backend::Room;
use crate::engine::media::Piece;
use crate::model::gguf::Metadata;
use crate::model::gguf::audio_projector::{ROWS, audio_projector};
use crate::protocol::{FailureKind, PromptPart};

/// A text model, and an audio projector that fits it.
fn hearing() -> Option<(PathBuf, tempfile::NamedTempFile)> {
    let (model, _) = files("mistral3")?;
    let header = Metadata::read(&mut fs_err::File::open(&model).unwrap()).unwrap();
    let n_embd = header.get(".embedding_length").unwrap().as_u64().unwrap();
    let mut file = tempfile::NamedTempFile::with_suffix(".gguf").unwrap();
    file.write_all(&audio_projector(n_embd).build()).unwrap();
    Some((model, file))
}

/// Seconds of a tone.
fn tone(frequency: f32, seconds: usize) -> Vec<f32> {
    let sample = |at: usize| (at as f32 * frequency * 2.0 * std::f32::consts::PI / 16_000.0).sin();
    let whole = |sample: f32| (sample * 16_384.0).round() / 32_768.0;
    (0..16_000 * seconds).map(|at| whole(sample(at))).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "samples are below 1")]
fn whole(sample: f32) -> i16 {
    (sample * 32_768.0) as i16
}

/// A WAV file of one channel of 16 bits.
fn wav(samples: &[f32]) -> PromptPart {
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|sample| whole(*sample).to_le_bytes())
        .collect();
    let length = u32::try_from(data.len()).unwrap();
    let head = [
        &b"RIFF"[..],
        &(length + 36).to_le_bytes(),
        b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data",
    ]
    .concat();
    PromptPart::Media(STANDARD.encode([&head[..], &length.to_le_bytes(), &data].concat()))
}

fn reference(model: &Path, projector: &Path, samples: &[f32]) -> Vec<f32> {
    let backend = devices::start().unwrap();
    let settings = LlamaModelParams::default().with_n_gpu_layers(0);
    let model = LlamaModel::load_from_file(backend, model, &settings).unwrap();
    let settings = LlamaContextParams::default()
        .with_n_ctx(std::num::NonZeroU32::new(4096))
        .with_n_batch(256)
        .with_n_ubatch(256)
        .with_n_threads(1)
        .with_n_threads_batch(1);
    let mut context = model.new_context(backend, settings).unwrap();
    let settings = MtmdContextParams {
        use_gpu: false,
        n_threads: 1,
        ..MtmdContextParams::default()
    };
    let projector = projector.to_str().unwrap();
    let mut encoder = MtmdContext::init_from_file(projector, &model, &settings).unwrap();
    let sound = MtmdBitmap::from_audio_data(samples).unwrap();
    let prompt = MtmdInputText {
        text: format!("a b{} b a", mtmd_default_marker()),
        add_special: true,
        parse_special: true,
    };
    let chunks = encoder.tokenize(prompt, &[&sound]).unwrap();
    chunks
        .eval_chunks(&mut encoder, &mut context, 0, 0, 256, true)
        .unwrap();
    context.get_logits_ith(-1).to_vec()
}

fn load_with(model: PathBuf, projector: PathBuf) -> Llama {
    load(&LoadParams {
        projector: Some(ProjectorParams::original(projector)),
        n_ctx_pool: 4096,
        n_slots: 4,
        n_batch: 256,
        n_ubatch: 256,
        ..params(model)
    })
}

fn tokens(pieces: &[Piece]) -> Vec<Vec<Token>> {
    let media = pieces.iter().filter_map(|piece| match piece {
        Piece::Media(media) => Some(media.tokens.clone()),
        Piece::Tokens(_) => None,
    });
    media.collect()
}

#[test]
fn what_is_heard_is_what_libmtmd_hears() {
    let _one = one_at_a_time();
    let Some((model, projector)) = hearing() else {
        return;
    };
    let mut llama = load_with(model.clone(), projector.path().to_owned());
    let mut reader = llama.take_encoder().unwrap();
    let samples = tone(440.0, 2);
    let prompt = [text("a b"), wav(&samples), text(" b a")];
    let pieces = read(&llama, reader.as_mut(), &prompt);
    let ours = evaluate(&mut llama, 0, &pieces);
    let theirs = reference(&model, projector.path(), &samples);
    let pairs = ours.iter().zip(&theirs);
    let differs = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(differs < 1e-4, "{differs}");

    // The cache identifies a sound by its content, in pieces of half a minute.
    let heard = tokens(&pieces);
    assert_eq!((heard.len(), heard[0].len()), (1, ROWS));
    assert_eq!(tokens(&read(&llama, reader.as_mut(), &prompt)), heard);
    let other = [text("a b"), wav(&tone(660.0, 45)), text(" b a")];
    let other = read(&llama, reader.as_mut(), &other);
    assert_eq!(tokens(&other).len(), 2);
    assert!(
        tokens(&other)
            .iter()
            .all(|piece| piece.len() == ROWS && *piece != heard[0])
    );
    assert_ne!(evaluate(&mut llama, 1, &other), ours);
}

#[test]
fn who_cannot_hear_or_see_says_so() {
    let _one = one_at_a_time();
    let Some((model, projector)) = hearing() else {
        return;
    };
    let (_, eye) = files("mistral3").unwrap();
    let sound = wav(&tone(440.0, 1));
    let picture = PromptPart::Media(STANDARD.encode(b"\x89PNG\r\n\x1a\n"));
    for (projector, part, words) in [
        (eye, &sound, "cannot hear"),
        (projector.path().to_owned(), &picture, "cannot see"),
    ] {
        let mut llama = load_with(model.clone(), projector);
        let mut reader = llama.take_encoder().unwrap();
        let PromptPart::Media(file) = part else {
            panic!("no file")
        };
        let failure = reader.encode_file(file, ROOM).unwrap_err();
        assert!(failure.message.contains(words), "{failure:?}");
    }
    // A sound that does not fit is refused before it is encoded.
    let mut llama = load_with(model.clone(), projector.path().to_owned());
    let mut reader = llama.take_encoder().unwrap();
    let PromptPart::Media(file) = &sound else {
        panic!("no sound")
    };
    let room = |n_ctx| Room { n_taken: 10, n_ctx };
    let failure = reader.encode_file(file, room(10 + ROWS)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::ContextExceeded);
    assert!(reader.encode_file(file, room(11 + ROWS)).is_ok());
    // A file that is not sound is refused before anything is encoded.
    let mut llama = load_with(model, projector.path().to_owned());
    let reader = llama.take_encoder().unwrap();
    let lie = PromptPart::Media(STANDARD.encode(b"OggS\0\x02"));
    let failure = reader.check(&[sound, lie]).unwrap_err();
    assert!(
        failure.message.contains("none of WAV, MP3 and FLAC"),
        "{failure:?}"
    );
}
