//! Images, with tiny models of the real architectures and random weights: the results must equal those of
//! libmtmd's own helper.

use std::io::Cursor;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, Rgb, RgbImage};
use llama_cpp_2::mtmd::{
    MtmdBitmap, MtmdContext, MtmdContextParams, MtmdInputText, mtmd_default_marker,
};

use super::*;
use crate::engine::backend::{Ends, Room};
use crate::engine::media::Piece;
use crate::protocol::{Failure, FailureKind, PromptPart};

/// Room for any prompt of these tests.
pub(super) const ROOM: Room = Room {
    n_taken: 0,
    n_ctx: 4096,
};

/// The families, in order: non-causal attention within an image, and sliding-window layers; one row after the
/// other; positions in three dimensions.
const FAMILIES: [&str; 3] = ["gemma3", "mistral3", "qwen25vl"];

/// A model and its projector, from the reference data.
#[expect(clippy::disallowed_methods, reason = "where the test data is")]
pub(super) fn files(family: &str) -> Option<(PathBuf, PathBuf)> {
    let root = std::env::var("DROVER_TESTDATA").unwrap_or_else(|_| "../shared/testdata".to_owned());
    let folder = PathBuf::from(root).join("gguf");
    let model = folder.join(format!("{family}-upstream.gguf"));
    let projector = folder.join(format!("{family}-upstream-projector.gguf"));
    if model.is_file() && projector.is_file() {
        return Some((model, projector));
    }
    eprintln!("skipped: no {family} in {}", folder.display());
    None
}

fn seeing(family: &str) -> Option<Llama> {
    let (model, projector) = files(family)?;
    let min_image_tokens = if family == "qwen25vl" { 1024 } else { 0 };
    Some(load(&LoadParams {
        projector: Some(ProjectorParams {
            min_image_tokens,
            ..ProjectorParams::original(projector)
        }),
        n_ctx_pool: 4096,
        n_slots: 4,
        n_batch: 256,
        n_ubatch: 256,
        ..params(model)
    }))
}

/// A picture of stripes, whose colors depend on the seed.
pub(super) fn stripes(seed: u8, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = u8::try_from((x * 7 + y * 13) % 256).unwrap();
        Rgb([
            wave.wrapping_mul(seed),
            wave ^ seed,
            seed.wrapping_add(wave),
        ])
    })
}

pub(super) fn part(image: &RgbImage) -> PromptPart {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    PromptPart::Media(STANDARD.encode(bytes.into_inner()))
}

pub(super) fn text(text: &str) -> PromptPart {
    PromptPart::Text(text.to_owned())
}

/// Prepares a prompt, part by part.
pub(super) fn read(
    llama: &Llama,
    reader: &mut dyn MediaEncoder,
    prompt: &[PromptPart],
) -> Vec<Piece> {
    reader.check(prompt).unwrap();
    let preparer = llama.preparer();
    let Ends { before, after } = preparer.ends().clone();
    let [before, after] = [before, after].map(Piece::Tokens);
    let parts = prompt.iter().flat_map(|part| match part {
        PromptPart::Media(image) => reader.encode_file(image, ROOM).unwrap(),
        PromptPart::Text(text) => vec![Piece::Tokens(preparer.tokenize(text, true).unwrap())],
        PromptPart::Tokens(tokens) => vec![Piece::Tokens(tokens.clone())],
    });
    let mut pieces: Vec<Piece> = vec![before];
    for piece in parts.chain([after]) {
        match (pieces.last_mut(), piece) {
            (Some(Piece::Tokens(before)), Piece::Tokens(tokens)) => before.extend(tokens),
            (_, piece) => pieces.push(piece),
        }
    }
    pieces
}

/// Encodes an image.
fn see(reader: &mut dyn MediaEncoder, image: &PromptPart) -> Result<Vec<Piece>, Failure> {
    let PromptPart::Media(image) = image else {
        panic!("no image")
    };
    reader.encode_file(image, ROOM)
}

/// Evaluates a prompt's pieces from their beginning; returns the logits at the end.
pub(super) fn evaluate(llama: &mut Llama, seq: SeqId, pieces: &[Piece]) -> Vec<f32> {
    let mut position = 0;
    let mut last = 0;
    for piece in pieces {
        match piece {
            Piece::Tokens(tokens) => {
                last = feed(llama, seq, position, tokens);
                position += tokens.len();
            }
            Piece::Media(media) => {
                let at = u32::try_from(position).unwrap();
                assert_eq!(llama.decode_media(seq, at, media), Ok(Decoded::Done));
                position += media.tokens.len() - crate::engine::media::n_still(&media.tokens);
            }
        }
    }
    llama.logits(last).unwrap().to_vec()
}

/// The same prompt, evaluated by libmtmd's helper.
fn reference(family: &str, before: &str, image: &RgbImage, after: &str) -> Vec<f32> {
    let (model, projector) = files(family).unwrap();
    let backend = devices::start().unwrap();
    let settings = LlamaModelParams::default().with_n_gpu_layers(0);
    let model = LlamaModel::load_from_file(backend, &model, &settings).unwrap();
    let settings = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(4096))
        .with_n_batch(256)
        .with_n_ubatch(256)
        .with_n_threads(1)
        .with_n_threads_batch(1);
    let mut context = model.new_context(backend, settings).unwrap();
    let settings = MtmdContextParams {
        use_gpu: false,
        n_threads: 1,
        image_min_tokens: if family == "qwen25vl" { 1024 } else { -1 },
        ..MtmdContextParams::default()
    };
    let projector = projector.to_str().unwrap();
    let mut encoder = MtmdContext::init_from_file(projector, &model, &settings).unwrap();
    let bitmap = MtmdBitmap::from_image_data(image.width(), image.height(), image.as_raw());
    let prompt = MtmdInputText {
        text: format!("{before}{}{after}", mtmd_default_marker()),
        add_special: true,
        parse_special: true,
    };
    let chunks = encoder.tokenize(prompt, &[&bitmap.unwrap()]).unwrap();
    chunks
        .eval_chunks(&mut encoder, &mut context, 0, 0, 256, true)
        .unwrap();
    context.get_logits_ith(-1).to_vec()
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn what_is_seen_is_what_libmtmd_sees() {
    let _one = one_at_a_time();
    for family in FAMILIES {
        let Some(mut llama) = seeing(family) else {
            continue;
        };
        let mut reader = llama.take_encoder().unwrap();
        let image = stripes(3, 70, 50);
        let prompt = [text("a b"), part(&image), text(" b a")];
        let pieces = read(&llama, reader.as_mut(), &prompt);
        let ours = evaluate(&mut llama, 0, &pieces);
        let theirs = reference(family, "a b", &image, " b a");
        let differs = difference(&ours, &theirs);
        assert!(differs < 1e-4, "{family}: {differs}");
        // The image affects only the tokens directly after it: later it is outside the tiny window.
        let other = [text("a b"), part(&stripes(90, 70, 50)), text(" b a")];
        let mut both = [&prompt, &other].map(|prompt| {
            let mut pieces = read(&llama, reader.as_mut(), prompt);
            if let Some(Piece::Tokens(tokens)) = pieces.last_mut() {
                tokens.truncate(1);
            }
            pieces
        });
        let [first, second] = both.each_mut().map(|pieces| {
            llama.remove(1, 0, None);
            evaluate(&mut llama, 1, pieces)
        });
        let matters = difference(&first, &second);
        assert!(matters > 1e-3, "{family}: {matters}");
        // Another sequence is not affected by any of this.
        let again = evaluate(&mut llama, 2, &pieces);
        let differs = difference(&ours, &again);
        assert!(differs < 1e-2, "{family}: {differs} of {matters}");
    }
}

#[test]
fn an_image_comes_back_from_a_state_and_is_shared_with_a_copy() {
    let _one = one_at_a_time();
    for family in FAMILIES {
        let Some(mut llama) = seeing(family) else {
            continue;
        };
        let mut reader = llama.take_encoder().unwrap();
        let prompt = [text("a b"), part(&stripes(3, 70, 50)), text(" b a")];
        let pieces = read(&llama, reader.as_mut(), &prompt);
        evaluate(&mut llama, 0, &pieces);
        let end = llama.context.positions(0).unwrap().1 + 1;
        let state = llama.save(0).unwrap();
        assert!(llama.load(1, &state, end), "{family}");
        llama.copy(0, 2, end);
        let begin = usize::try_from(end).unwrap();
        let [original, loaded, copied] = [0, 1, 2].map(|seq| {
            let last = feed(&mut llama, seq, begin, &[10, 11]);
            llama.logits(last).unwrap().to_vec()
        });
        let differs = difference(&original, &loaded).max(difference(&original, &copied));
        assert!(differs < 1e-2, "{family}: {differs}");
    }
}

#[test]
fn an_image_that_is_shown_again_is_not_encoded_again() {
    let _one = one_at_a_time();
    let Some(mut llama) = seeing("gemma3") else {
        return;
    };
    let mut reader = llama.take_encoder().unwrap();
    let image = part(&stripes(3, 64, 64));
    let mut show = |image: &PromptPart| {
        let pieces = read(&llama, reader.as_mut(), &[image.clone(), text("a")]);
        let media = pieces.into_iter().find_map(|piece| match piece {
            Piece::Media(media) => Some(media),
            Piece::Tokens(_) => None,
        });
        media.unwrap()
    };
    let (first, second) = (show(&image), show(&image));
    assert!(Arc::ptr_eq(&first, &second));
    let other = show(&part(&stripes(4, 64, 64)));
    assert_ne!(first.tokens, other.tokens);
    assert_eq!(first.tokens.len(), 16);
}

/// Sizes that libmtmd handles itself: none within the limits may end the process.
#[test]
fn images_of_odd_shapes_are_seen_or_refused() {
    let _one = one_at_a_time();
    for family in FAMILIES {
        let Some(mut llama) = seeing(family) else {
            continue;
        };
        let mut reader = llama.take_encoder().unwrap();
        for (width, height) in [(1, 1), (1, 200), (200, 1), (3, 500), (1999, 10), (2, 1)] {
            let image = part(&RgbImage::new(width, height));
            let seen = see(reader.as_mut(), &image);
            if let Err(failure) = seen {
                assert_eq!(failure.kind, FailureKind::Invalid, "{width}x{height}");
            }
        }
        let again = see(reader.as_mut(), &part(&stripes(3, 70, 50))).unwrap();
        assert!(again.iter().any(|piece| matches!(piece, Piece::Media(_))));
    }
}

#[test]
fn images_that_are_too_large_together_are_refused_undecoded() {
    let _one = one_at_a_time();
    let Some(mut llama) = seeing("gemma3") else {
        return;
    };
    let reader = llama.take_encoder().unwrap();
    // A complete GIF file whose header says 5600x5600 pixels.
    let file = b"GIF89a\xe0\x15\xe0\x15\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0";
    let image = || PromptPart::Media(STANDARD.encode(file));
    let check = |n_images| {
        let mut prompt: Vec<_> = (0..n_images).map(|_| image()).collect();
        prompt.push(text("a"));
        reader.check(&prompt)
    };
    assert!(check(8).is_ok());
    let failure = check(9).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
    let message = failure.message;
    assert!(message.contains("too large together"), "{message}");
}

#[test]
fn an_image_is_whole_in_the_cache_or_not_at_all() {
    let _one = one_at_a_time();
    for family in FAMILIES {
        let Some((model, projector)) = files(family) else {
            continue;
        };
        let mut llama = load(&LoadParams {
            projector: Some(ProjectorParams::original(projector)),
            n_ctx_pool: 256,
            n_slots: 2,
            n_batch: 64,
            n_ubatch: 64,
            ..params(model)
        });
        let mut reader = llama.take_encoder().unwrap();
        let pieces = read(
            &llama,
            reader.as_mut(),
            &[part(&stripes(3, 32, 32)), text("a")],
        );
        let Some(Piece::Media(media)) =
            pieces.iter().find(|piece| matches!(piece, Piece::Media(_)))
        else {
            panic!("{family}: no image")
        };
        let n_rows = media.tokens.len();
        // Fills the cache so that the image does not fit.
        let n_free = 256_usize.saturating_sub(n_rows / 2 + 1);
        let filler: Vec<Token> = (0..n_free).map(|_| 10).collect();
        feed(&mut llama, 0, 0, &filler);
        assert_eq!(
            llama.decode_media(1, 0, media),
            Ok(Decoded::NoSpace),
            "{family}"
        );
        assert_eq!(llama.context.positions(1), None, "{family}");
    }
}

#[test]
fn a_projector_of_another_model_costs_the_eyes_only() {
    let _one = one_at_a_time();
    let (Some((model, _)), Some((_, other))) = (files("gemma3"), files("mistral3")) else {
        return;
    };
    let mut llama = load(&LoadParams {
        projector: Some(ProjectorParams::original(other)),
        ..params(model)
    });
    assert!(llama.take_encoder().is_none());
    let tokens = tokens(&llama, "a b");
    let last = feed(&mut llama, 0, 0, &tokens);
    assert!(llama.logits(last).is_some());
}
