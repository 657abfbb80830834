//! Files of three formats: valid ones, and ones whose headers claim too much.

use super::*;

const FLAC: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/sound/tone.flac"
));
const MP3: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sound/tone.mp3"));

/// A WAV file with this format (1 = integers, 3 = floats) and data.
fn wav(form: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
    let block = channels * (bits / 8);
    let format = [
        &form.to_le_bytes()[..],
        &channels.to_le_bytes(),
        &rate.to_le_bytes(),
        &rate.wrapping_mul(u32::from(block)).to_le_bytes(),
        &block.to_le_bytes(),
        &bits.to_le_bytes(),
    ];
    let length = u32::try_from(data.len()).unwrap();
    [
        &b"RIFF"[..],
        &(length + 36).to_le_bytes(),
        b"WAVEfmt \x10\0\0\0",
        &format.concat(),
        b"data",
        &length.to_le_bytes(),
        data,
    ]
    .concat()
}

fn said(file: &[u8]) -> String {
    let decoded = decode(file, 16_000).unwrap_err().to_string();
    // Checking only the header gives the same error, unless decoding is needed to find it.
    if let Err(error) = check(file) {
        assert_eq!(error.to_string(), decoded);
    }
    decoded
}

/// The amplitude of this frequency in a sound.
fn amplitude(samples: &[f32], rate: f32, frequency: f32) -> f32 {
    let angle = |at: usize| 2.0 * std::f32::consts::PI * frequency * at as f32 / rate;
    let part = |wave: fn(f32) -> f32| -> f32 {
        let products = samples
            .iter()
            .enumerate()
            .map(|(at, sample)| sample * wave(angle(at)));
        products.sum()
    };
    2.0 * part(f32::sin).hypot(part(f32::cos)) / samples.len() as f32
}

#[test]
fn samples_are_read_as_they_are() {
    for (name, file, expected) in [
        (
            "16 bits",
            wav(1, 1, 16_000, 16, &[0, 0, 0, 0x40, 0, 0xc0, 0xff, 0x7f]),
            vec![0.0, 0.5, -0.5, 32_767.0 / 32_768.0],
        ),
        (
            "8 bits",
            wav(1, 1, 16_000, 8, &[128, 192, 64, 0]),
            vec![0.0, 0.5, -0.5, -1.0],
        ),
        (
            "24 bits",
            wav(1, 1, 16_000, 24, &[0, 0, 0x40, 0, 0, 0xc0]),
            vec![0.5, -0.5],
        ),
        (
            "floats",
            wav(
                3,
                1,
                16_000,
                32,
                &[0.25_f32, f32::NAN, -7.0].map(f32::to_le_bytes).concat(),
            ),
            vec![0.25, 0.0, -1.0],
        ),
        (
            "two channels",
            wav(1, 2, 16_000, 16, &[0, 0x40, 0, 0, 0, 0xc0, 0, 0x40]),
            vec![0.25, 0.0],
        ),
    ] {
        check(&file).unwrap();
        assert_eq!(decode(&file, 16_000).unwrap(), expected, "{name}");
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a sine is at most 1")]
fn whole(sine: f64) -> i16 {
    (sine * 16_384.0) as i16
}

#[test]
fn other_rates_are_changed_and_nothing_is_moved() {
    let second = |rate: u32| {
        let sample = |at: u32| {
            let angle = 2.0 * std::f64::consts::PI * 440.0 * f64::from(at) / f64::from(rate);
            let loud = whole(angle.sin());
            loud.to_le_bytes()
        };
        wav(
            1,
            1,
            rate,
            16,
            &(0..rate).flat_map(sample).collect::<Vec<u8>>(),
        )
    };
    let plain = decode(&second(16_000), 16_000).unwrap();
    for rate in [8_000, 11_025, 22_050, 44_100, 44_101, 48_000, 192_000] {
        let samples = decode(&second(rate), 16_000).unwrap();
        assert_eq!(samples.len(), 16_000, "{rate}");
        let middle = plain[1_000..15_000].iter().zip(&samples[1_000..15_000]);
        let furthest = middle.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest < 0.02, "{rate}: {furthest}");
    }
}

#[test]
fn compressed_files_are_heard() {
    // Half a second of 440 Hz, half as loud on the right as on the left.
    for (name, file) in [("FLAC", FLAC), ("MP3", MP3)] {
        check(file).unwrap();
        let samples = decode(file, 16_000).unwrap();
        assert!(
            (7_900..9_500).contains(&samples.len()),
            "{name}: {}",
            samples.len()
        );
        let middle = &samples[2_000..6_000];
        assert!(
            (amplitude(middle, 16_000.0, 440.0) - 0.375).abs() < 0.02,
            "{name}"
        );
        assert!(amplitude(middle, 16_000.0, 660.0) < 0.02, "{name}");
    }
}

#[test]
fn a_file_that_was_broken_off_is_heard_as_far_as_it_goes() {
    let whole = wav(1, 1, 16_000, 16, &[0; 32_000]);
    assert_eq!(
        decode(&whole[..whole.len() / 2], 16_000).unwrap().len(),
        7_989
    );
    // As written by a program that does not know how long the stream will be.
    let mut endless = whole;
    for at in [4, 40] {
        endless[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    }
    assert_eq!(decode(&endless, 16_000).unwrap().len(), 16_000);
    for (name, file) in [("FLAC", FLAC), ("MP3", MP3)] {
        let samples = decode(&file[..file.len() / 2], 16_000).unwrap();
        assert!(
            (2_000..6_000).contains(&samples.len()),
            "{name}: {}",
            samples.len()
        );
    }
}

#[test]
fn what_is_no_sound_is_refused_in_words() {
    for file in [
        &b"OggS\0\x02"[..],
        b"FORM\0\0\0\0AIFF",
        b"%PDF-1.7",
        b"",
        b"ID3\x04\0\0\0\0\0\x0a",
    ] {
        assert!(
            said(file).contains("none of WAV, MP3 and FLAC"),
            "{}",
            said(file)
        );
    }
    for file in [
        &FLAC[..20],
        b"RIFF\x24\0\0\0WAVEfmt ",
        &wav(1, 1, 16_000, 16, &[]),
        &wav(1, 1, 16_000, 16, &[])[..30],
    ] {
        let said = said(file);
        assert!(said.starts_with("invalid sound: "), "{said}");
    }
    for rate in [0, 1, 3_999, 384_001, u32::MAX] {
        let said = said(&wav(1, 1, rate, 16, &[0; 64]));
        assert!(said.starts_with("invalid sound: "), "{rate}: {said}");
    }
    let said = said(&wav(1, 17, 16_000, 16, &[0; 340]));
    assert!(said.starts_with("invalid sound: "), "{said}");
}

/// A FLAC file whose header claims this many samples.
fn saying(n_samples: u64) -> Vec<u8> {
    let mut file = FLAC.to_vec();
    // After the signature and the block's header: sizes, a rate of 20 bits, channels, bits, 36 bits of length.
    let at = 8 + 10 + 3;
    file[at] = file[at] & 0xf0 | u8::try_from(n_samples >> 32 & 15).unwrap();
    file[at + 1..at + 5].copy_from_slice(
        &u32::try_from(n_samples & 0xffff_ffff)
            .unwrap()
            .to_be_bytes(),
    );
    file
}

#[test]
fn what_is_too_long_is_refused_by_its_header_or_when_it_gets_there() {
    assert!(check(&saying(44_100 * 60)).is_ok());
    let ten_hours = saying(44_100 * 36_000);
    assert!(check(&ten_hours).is_err());
    assert!(said(&ten_hours).contains("30 minutes are the most"));
    let long = wav(1, 1, 4_000, 8, &vec![128; 4_000 * 60 * 31]);
    assert!(check(&long).is_ok());
    assert!(said(&long).contains("30 minutes are the most"));
}

#[test]
fn whatever_is_changed_in_a_file_it_is_heard_or_refused() {
    let whole = wav(1, 2, 22_050, 16, &[7; 4_000]);
    let mut random = fastrand::Rng::with_seed(3);
    let (mut n_heard, mut n_refused) = (0, 0);
    for round in 0..300 {
        let mut file = [FLAC, MP3, &whole][round % 3].to_vec();
        // The mistakes that matter are in headers.
        let n_near = [64, 512, file.len()][random.usize(0..3)].min(file.len());
        for _ in 0..random.usize(1..6) {
            file[random.usize(0..n_near)] = random.u8(..);
        }
        if random.bool() {
            file.truncate(random.usize(0..=file.len()));
        }
        let begun = Instant::now();
        match std::panic::catch_unwind(|| decode(&file, 16_000)) {
            Ok(Ok(samples)) => {
                n_heard += 1;
                assert!(samples.iter().all(|sample| sample.is_finite()));
            }
            // The worker that decodes catches this, too.
            Ok(Err(_)) | Err(_) => n_refused += 1,
        }
        assert!(
            begun.elapsed() < MAX_TIME + Duration::from_secs(5),
            "round {round}"
        );
    }
    assert!(
        n_heard > 50 && n_refused > 20,
        "{n_heard} heard, {n_refused} refused"
    );
}

#[test]
fn kept_inputs_of_the_fuzz_target_are_decoded_or_refused() {
    const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/sound");
    let mut heard = Vec::new();
    for entry in fs_err::read_dir(KEPT).unwrap() {
        let entry = entry.unwrap();
        if decode(&fs_err::read(entry.path()).unwrap(), 16_000).is_ok() {
            heard.push(entry.file_name().into_string().unwrap());
        }
    }
    heard.sort();
    assert_eq!(heard, ["tone.flac", "tone.mp3", "tone.wav"]);
}
