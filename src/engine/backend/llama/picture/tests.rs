//! Files of five formats: valid ones, and ones whose headers claim too much.

use image::{Rgba, RgbaImage};

use super::*;

fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn said(file: &[u8]) -> String {
    let decoded = Picture::decode(file).unwrap_err().to_string();
    // Reading only the size gives the same error, unless decoding is needed to find it.
    if let Err(error) = size(file) {
        assert_eq!(error.to_string(), decoded);
    }
    decoded
}

#[test]
fn the_usual_formats_are_read() {
    let image = DynamicImage::from(RgbImage::from_pixel(4, 2, image::Rgb([200, 100, 50])));
    let lossless = [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP];
    for format in lossless {
        let picture = Picture::decode(&file(&image, format)).unwrap();
        assert_eq!(picture.size(), (4, 2), "{format:?}");
        assert_eq!(picture.pixels()[..3], [200, 100, 50], "{format:?}");
    }
    for format in [ImageFormat::Jpeg, ImageFormat::Gif] {
        let file = file(&image, format);
        assert_eq!(size(&file).unwrap(), (4, 2), "{format:?}");
        let picture = Picture::decode(&file).unwrap();
        assert_eq!(picture.size(), (4, 2), "{format:?}");
    }
}

#[test]
fn what_is_transparent_is_white() {
    let mut image = RgbaImage::from_pixel(2, 1, Rgba([10, 20, 30, 0]));
    image.put_pixel(1, 0, Rgba([10, 20, 30, 255]));
    let picture = Picture::decode(&file(&image.into(), ImageFormat::Png)).unwrap();
    assert_eq!(picture.pixels(), [255, 255, 255, 10, 20, 30]);
}

#[test]
fn anything_else_is_refused_in_words() {
    assert!(said(b"%PDF-1.7").contains("none of PNG, JPEG"));
    let png = file(&RgbImage::new(30, 30).into(), ImageFormat::Png);
    assert!(said(&png[..png.len() / 2]).starts_with("invalid image"));
    assert!(said(b"").contains("none of PNG, JPEG"));
}

/// A GIF file with a screen and a frame of these sizes.
fn gif(screen: [u16; 2], frame: [u16; 2]) -> Vec<u8> {
    let sides = |sides: [u16; 2]| sides.map(u16::to_le_bytes).concat();
    let head = [b"GIF89a", &sides(screen)[..], &[0x80, 0, 0], &[0; 6]].concat();
    let frame = [&[0x2c, 0, 0, 0, 0], &sides(frame)[..], &[0]].concat();
    [head, frame, vec![2, 2, 0x4c, 0x01, 0, 0x3b]].concat()
}

fn png(width: u32, height: u32, bits: u8, color: u8) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes()].concat();
    let header = [&header[..], &[bits, color, 0, 0, 0]].concat();
    let chunk = |name: &[u8; 4], data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        let named = [&name[..], data].concat();
        let sum = crc32fast::hash(&named).to_be_bytes();
        [&length[..], &named, &sum].concat()
    };
    let chunks = [chunk(b"IHDR", &header), chunk(b"IDAT", b"")];
    [&b"\x89PNG\r\n\x1a\n"[..], &chunks.concat()].concat()
}

fn jpeg(width: u16, height: u16) -> Vec<u8> {
    jpeg_frame(0xc0, width, height)
}

fn jpeg_frame(marker: u8, width: u16, height: u16) -> Vec<u8> {
    let mut file = file(&RgbImage::new(8, 8).into(), ImageFormat::Jpeg);
    let at = file.windows(2).position(|mark| mark == [0xff, 0xc0]);
    let at = at.unwrap() + 5;
    file[at - 4] = marker;
    file[at..at + 2].copy_from_slice(&height.to_be_bytes());
    file[at + 2..at + 4].copy_from_slice(&width.to_be_bytes());
    file
}

fn bmp(width: i32, height: i32) -> Vec<u8> {
    let mut file = file(&RgbImage::new(1, 1).into(), ImageFormat::Bmp);
    file[18..22].copy_from_slice(&width.to_le_bytes());
    file[22..26].copy_from_slice(&height.to_le_bytes());
    file
}

/// An extended WebP file of one pixel with these further chunks.
fn webp(flags: u8, chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let head: (&[u8; 4], &[u8]) = (b"VP8X", &[flags, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut body = b"WEBP".to_vec();
    for (name, data) in std::iter::once(&head).chain(chunks) {
        body.extend_from_slice(*name);
        body.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        body.extend_from_slice(data);
    }
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&b"RIFF"[..], &length, &body].concat()
}

/// The header of a frame, and some of its data.
fn frame(side: u16) -> Vec<u8> {
    let sides = [side.to_le_bytes(), side.to_le_bytes()].concat();
    [&[0x10, 8, 0, 0x9d, 0x01, 0x2a], &sides[..], &[0; 400]].concat()
}

#[test]
fn large_images_are_refused_by_their_headers() {
    let animated = |side| {
        let length = u32::try_from(frame(side).len()).unwrap().to_le_bytes();
        [&[0; 16], &b"VP8 "[..], &length, &frame(side)].concat()
    };
    for (name, file) in [
        ("GIF", gif([65_535, 65_535], [65_535, 65_535])),
        ("PNG", png(20_000, 20_000, 1, 0)),
        ("PNG", png(12_000, 12_000, 1, 0)),
        // Few pixels, but too many bytes.
        ("PNG", png(8_192, 8_192, 16, 6)),
        ("PNG", png(u32::MAX >> 1, 1, 1, 0)),
        ("JPEG", jpeg(65_535, 65_535)),
        ("BMP", bmp(30_000, -30_000)),
        ("WebP", webp(0, &[(b"VP8 ", &frame(16_383))])),
        (
            "WebP",
            webp(2, &[(b"ANIM", &[0; 6]), (b"ANMF", &animated(16_383))]),
        ),
    ] {
        let said = said(&file);
        assert!(size(&file).is_err(), "{name} is not decoded first");
        assert!(
            said.contains("is too large: make it smaller"),
            "{name}: {said}"
        );
    }
    // As large as a good camera's.
    for (width, height) in [(8_192, 6_144), (16_382, 3_900)] {
        assert_eq!(size(&png(width, height, 8, 2)).unwrap(), (width, height));
    }
    assert_eq!(size(&jpeg(9_000, 6_000)).unwrap(), (9_000, 6_000));
}

#[test]
fn a_frame_larger_than_its_screen_is_refused() {
    let said = said(&gif([100, 100], [65_535, 65_535]));
    assert!(said.contains("is too large"), "{said}");
}

#[test]
fn long_and_empty_images_are_refused() {
    for file in [png(16_000, 10, 8, 2), bmp(3, 800), gif([1, 300], [1, 300])] {
        let said = said(&file);
        assert!(said.contains("at most 200 times the other"), "{said}");
    }
    assert!(size(&png(200, 1, 8, 2)).is_ok());
    assert!(said(&gif([0, 5], [0, 5])).contains("no pixels"));
}

/// The decoder would allocate four gigabytes for it.
#[test]
fn what_goes_on_after_the_end_of_its_file_is_refused() {
    let mut file = webp(8, &[(b"VP8 ", &frame(1)), (b"EXIF", &[0; 4])]);
    let at = file.len() - 8;
    file[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(said(&file).contains("ends too early"));
}

#[test]
fn the_images_of_a_request_are_counted_together() {
    let mut sum = Sum::default();
    let n_taken = (0..100).take_while(|_| sum.add((4_000, 3_000)).is_ok());
    assert_eq!(n_taken.count(), 22);
}

#[test]
fn kept_inputs_of_the_fuzz_target_are_decoded_or_refused() {
    const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/image");
    let mut n_decoded = 0;
    for entry in fs_err::read_dir(KEPT).unwrap() {
        let file = fs_err::read(entry.unwrap().path()).unwrap();
        n_decoded += usize::from(Picture::decode(&file).is_ok());
    }
    assert!(n_decoded > 3, "{n_decoded}");
}

/// A PNG file of these bits, with further chunks.
fn png_of(
    size: (u32, u32),
    [bits, color, interlaced]: [u8; 3],
    chunks: &[(&[u8; 4], &[u8])],
    lines: &[u8],
) -> Vec<u8> {
    let (width, height) = size;
    let header = [
        &width.to_be_bytes()[..],
        &height.to_be_bytes(),
        &[bits, color, 0, 0, interlaced],
    ]
    .concat();
    // Stored, not compressed.
    let length = u16::try_from(lines.len()).unwrap();
    let (mut a, mut b) = (1_u32, 0);
    for &byte in lines {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    let lengths = [length.to_le_bytes(), (!length).to_le_bytes()].concat();
    let sum = (b << 16 | a).to_be_bytes();
    let data = [&[0x78, 1, 1], &lengths[..], lines, &sum].concat();
    let first: (&[u8; 4], &[u8]) = (b"IHDR", &header);
    let last: [(&[u8; 4], &[u8]); 2] = [(b"IDAT", &data), (b"IEND", b"")];
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, data) in std::iter::once(&first).chain(chunks).chain(&last) {
        let named = [&name[..], data].concat();
        file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        file.extend(&named);
        file.extend(crc32fast::hash(&named).to_be_bytes());
    }
    file
}

#[test]
fn every_way_to_say_a_colour_is_read() {
    let (grey, rgb, palette, grey_alpha, rgb_alpha) = (0, 2, 3, 4, 6);
    let colours: &[(&[u8; 4], &[u8])] =
        &[(b"PLTE", &[9, 8, 7, 200, 100, 50]), (b"tRNS", &[255, 0])];
    let (black, white) = ([0, 0, 0], [255, 255, 255]);
    for (name, kind, chunks, line, expected) in [
        (
            "1 bit",
            [1, grey, 0],
            &[][..],
            &[0, 0b0100_0000][..],
            [black, white],
        ),
        (
            "2 bits",
            [2, grey, 0],
            &[],
            &[0, 0b0111_0000],
            [[85; 3], white],
        ),
        ("8 bits", [8, grey, 0], &[], &[0, 7, 9], [[7; 3], [9; 3]]),
        (
            "16 bits",
            [16, grey, 0],
            &[],
            &[0, 7, 0, 9, 0],
            [[7; 3], [9; 3]],
        ),
        (
            "colours of 16 bits",
            [16, rgb, 0],
            &[],
            &[0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0],
            [[1, 2, 3], [4, 5, 6]],
        ),
        (
            "a palette with a hole",
            [1, palette, 0],
            colours,
            &[0, 0b0100_0000],
            [[9, 8, 7], white],
        ),
        (
            "grey and alpha",
            [8, grey_alpha, 0],
            &[],
            &[0, 50, 255, 50, 0],
            [[50; 3], white],
        ),
        (
            "half a colour",
            [8, rgb_alpha, 0],
            &[],
            &[0, 0, 0, 0, 255, 0, 0, 0, 127],
            [black, [128; 3]],
        ),
    ] {
        let file = png_of((2, 1), kind, chunks, line);
        let picture = Picture::decode(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(picture.pixels(), expected.concat(), "{name}");
    }
    // Three of seven passes have pixels.
    let passes = [0, 1, 0, 2, 0, 3, 4];
    let picture = Picture::decode(&png_of((2, 2), [8, grey, 1], &[], &passes)).unwrap();
    assert_eq!(picture.pixels(), [[1; 3], [2; 3], [3; 3], [4; 3]].concat());
}

#[test]
fn of_several_frames_the_first_one_counts() {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    for colour in [[255, 0, 0, 255], [0, 255, 0, 255]] {
        let frame = image::Frame::new(RgbaImage::from_pixel(3, 3, Rgba(colour)));
        encoder.encode_frame(frame).unwrap();
    }
    drop(encoder);
    let picture = Picture::decode(&bytes).unwrap();
    assert!(picture.pixels()[0] > 200 && picture.pixels()[1] < 50);
}

/// The decoder would keep 380 megabytes of coefficients.
#[test]
fn what_is_kept_until_the_last_scan_counts() {
    let said = said(&jpeg_frame(0xc2, 9_000, 7_000));
    assert!(said.contains("more than 536 MB of memory"), "{said}");
    assert!(size(&jpeg_frame(0xc2, 6_000, 4_000)).is_ok());
    let mut many = file(&RgbImage::new(8, 8).into(), ImageFormat::Jpeg);
    let at = many
        .windows(2)
        .position(|mark| mark == [0xff, 0xda])
        .unwrap();
    let scan = many[at..many.len() - 2].to_vec();
    many.splice(at..at, scan.repeat(100));
    assert!(self::said(&many).contains("100 scans, this one has 101"));
}

#[test]
fn a_large_photograph_is_scaled_to_what_is_of_use() {
    let grey = |width, height| {
        let image = image::GrayImage::from_fn(width, height, |x, _| {
            image::Luma([if x % 2 == 0 { 0 } else { 200 }])
        });
        Picture(on_white(shrunk(image.into())))
    };
    let picture = grey(8_192, 4_096);
    assert_eq!(picture.size(), (4_096, 2_048));
    assert_eq!(picture.pixels()[..6], [100; 6]);
    assert_eq!(grey(4_096, 4_096).size(), (4_096, 4_096));
}
