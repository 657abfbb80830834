//! Reads views back, in any order and in portions of any size.

use std::io::{Read as _, Seek as _, SeekFrom};

use proptest::prelude::*;

use super::*;

/// Halves of a byte, as two numbers.
struct Halves;

impl Convert for Halves {
    fn to_f32(&self, kind: u32, blocks: &[u8], numbers: &mut [f32]) -> bool {
        let halves = blocks.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        numbers
            .iter_mut()
            .zip(halves)
            .for_each(|(number, half)| *number = half.into());
        kind == 1
    }
}

fn original(pieces: Pieces, conversion: Conversion) -> Segment {
    Segment::Original { pieces, conversion }
}

fn whole(file: &[u8], view: &View) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reader = Reader::new(file, view, Halves);
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, view.n_bytes());
    bytes
}

fn steps(steps: &[(u64, u64)]) -> Vec<Step> {
    let steps = steps.iter();
    steps
        .map(|&(count, stride)| Step { count, stride })
        .collect()
}

#[test]
fn pieces_come_in_the_order_of_their_loops() {
    let file: Vec<u8> = (0..24).collect();
    // Two heads of twice three rows of two bytes: the halves of a head are interleaved.
    let pieces = Pieces {
        start: 0,
        length: 2,
        steps: steps(&[(2, 12), (3, 2), (2, 6)]),
    };
    assert_eq!(pieces.end(), 24);
    let view = View {
        segments: vec![original(pieces, Conversion::None)],
    };
    let rows = [0, 6, 2, 8, 4, 10, 12, 18, 14, 20, 16, 22];
    let expected: Vec<u8> = rows.iter().flat_map(|row| [*row, row + 1]).collect();
    assert_eq!(whole(&file, &view), expected);
}

#[test]
fn segments_join_where_they_touch() {
    let mut view = View::default();
    for segment in [
        Segment::Bytes(vec![1]),
        Segment::Bytes(vec![2]),
        Segment::range(0, 2),
        Segment::range(2, 2),
        Segment::range(3, 1),
        Segment::Zeros(1),
        Segment::Zeros(2),
        Segment::range(0, 0),
    ] {
        view.push(segment);
    }
    let expected = [
        Segment::Bytes(vec![1, 2]),
        Segment::range(0, 4),
        Segment::range(3, 1),
        Segment::Zeros(3),
    ];
    assert_eq!(view.segments, expected);
    assert_eq!(whole(&[5, 6, 7, 8], &view), [1, 2, 5, 6, 7, 8, 8, 0, 0, 0]);
}

#[test]
fn blocks_are_converted() {
    // Numbers 0 to 15 twice, neighbors in a byte, become number i beside number i + 16.
    let neighbours = (0..16).map(|i| (2 * i % 16) | ((2 * i + 1) % 16) << 4);
    let block: Vec<u8> = [99].into_iter().chain(neighbours).collect();
    let conversion = Conversion::Mxfp4;
    let view = View {
        segments: vec![original(Pieces::range(0, 17), conversion)],
    };
    let expected: Vec<u8> = [99]
        .into_iter()
        .chain((0..16).map(|i| i | i << 4))
        .collect();
    assert_eq!(whole(&block, &view), expected);

    let conversion = Conversion::ToF32 {
        kind: 1,
        block: 2,
        n_bytes: 1,
    };
    let view = View {
        segments: vec![original(Pieces::range(1, 2), conversion)],
    };
    let numbers = [1.0f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
    assert_eq!(whole(&[0, 0x21, 0x43], &view), numbers);
}

#[test]
fn what_is_not_there_is_an_error() {
    let view = View {
        segments: vec![Segment::range(2, 4)],
    };
    let mut buffer = [0; 4];
    let reader = Reader::new([1, 2, 3].as_slice(), &view, Halves);
    let error = reader.read_at(&mut buffer, 0).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    let conversion = Conversion::ToF32 {
        kind: 0,
        block: 1,
        n_bytes: 1,
    };
    let view = View {
        segments: vec![original(Pieces::range(0, 3), conversion)],
    };
    let reader = Reader::new([1, 2, 3].as_slice(), &view, Halves);
    let error = reader.read_at(&mut buffer, 0).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    assert_eq!(reader.read_at(&mut buffer, 12).unwrap(), 0);
}

fn any_segment() -> impl Strategy<Value = Segment> {
    let step = (1..4u64, 0..20u64).prop_map(|(count, stride)| Step { count, stride });
    let pieces = (0..40u64, 1..30u64, prop::collection::vec(step, 0..3));
    let pieces = pieces.prop_map(|(start, length, steps)| Pieces {
        start,
        length,
        steps,
    });
    let conversion = prop_oneof![
        Just(Conversion::None),
        Just(Conversion::Mxfp4),
        Just(Conversion::ToF32 {
            kind: 1,
            block: 4,
            n_bytes: 2,
        }),
    ];
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Segment::Bytes),
        (0..9u64).prop_map(Segment::Zeros),
        (pieces, conversion).prop_map(|(pieces, conversion)| original(pieces, conversion)),
    ]
}

proptest! {
    /// A view has the same bytes wherever and in whatever portions it is read, also after a round trip through
    /// JSON.
    #[test]
    fn every_place_has_its_byte(
        segments in prop::collection::vec(any_segment(), 0..6),
        places in prop::collection::vec((0..600u64, 0..80usize), 1..8),
    ) {
        let file: Vec<u8> = (0..200).collect();
        let view = View { segments };
        let all = whole(&file, &view);
        let json = serde_json::to_vec(&view).unwrap();
        let view: View = serde_json::from_slice(&json).unwrap();
        let mut reader = Reader::new(file.as_slice(), &view, Halves);
        for (place, length) in places {
            let mut buffer = vec![0; length];
            reader.seek(SeekFrom::Start(place)).unwrap();
            let count = reader.read(&mut buffer).unwrap();
            let start = usize::try_from(place).unwrap().min(all.len());
            let end = (start + length).min(all.len());
            prop_assert_eq!(&buffer[..count], &all[start..end]);
        }
    }
}
