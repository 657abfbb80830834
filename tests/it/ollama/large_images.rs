//! The memory that images take in the runner, with a small model of a real architecture.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use serde_json::json;

use crate::support::TestServer;
use crate::support::real::{shared, skip};

/// Bytes that the runner may take for the largest image, in addition to what it has: its pixels with a byte for each of
/// four channels, the scaled image with libmtmd's copy of it, and some reserve.
const MOST: u64 = (256 + 2 * 48 + 64) << 20;

#[tokio::test]
async fn an_image_takes_no_more_memory_than_its_limit() {
    let files = ["gemma3-upstream.gguf", "gemma3-upstream-projector.gguf"].map(shared);
    let [Some(model), Some(projector)] = files else {
        return skip("no gemma3 in the reference data");
    };
    let server = TestServer::start().await;
    let model = server.upload(fs_err::read(model).unwrap()).await;
    let projector = server.upload(fs_err::read(projector).unwrap()).await;
    let files = json!({"model.gguf": model, "mmproj.gguf": projector});
    let body = json!({"model": "eyes", "files": files, "stream": false});
    server.post("/api/create", &body).await.ok();
    let ask = async |image: &[u8]| {
        let body = json!({"model": "eyes", "prompt": "What is it?", "images": [STANDARD.encode(image)],
            "stream": false, "options": {"num_predict": 1, "num_ctx": 2048, "num_gpu": 0}});
        server.post("/api/generate", &body).await
    };
    let file = |image: DynamicImage, format| {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    ask(&file(RgbImage::new(64, 64).into(), ImageFormat::Png))
        .await
        .ok();
    let runner = server.runner().pid;
    let before = peak(runner);

    // Refused by its header: a few bytes that claim 400 megapixels.
    let mut lie = file(GrayImage::new(8, 8).into(), ImageFormat::Png);
    lie[16..24].copy_from_slice(&[20_000_u32.to_be_bytes(), 20_000_u32.to_be_bytes()].concat());
    let sum = crc32fast::hash(&lie[12..29]).to_be_bytes();
    lie[29..33].copy_from_slice(&sum);
    let answer = ask(&lie).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer
            .error()
            .contains("67 megapixels and 16384 pixels a side"),
        "{}",
        answer.error()
    );
    assert!(peak(runner) < before + (16 << 20));

    for (name, image, format) in [
        (
            "grey PNG",
            GrayImage::new(16_384, 4_096).into(),
            ImageFormat::Png,
        ),
        (
            "JPEG",
            RgbImage::new(9_216, 6_912).into(),
            ImageFormat::Jpeg,
        ),
    ] {
        let image: DynamicImage = image;
        ask(&file(image, format)).await.ok();
        let grown = peak(runner) - before;
        eprintln!("{name}: {} MiB", grown >> 20);
        assert!(grown < MOST, "{name}: {} MiB", grown >> 20);
    }
}

/// The most bytes that a process has had in memory.
fn peak(pid: u32) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib << 10
}
