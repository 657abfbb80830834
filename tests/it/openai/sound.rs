//! Audio, from the request to the answer, over every route that accepts it: a real model with an audio encoder of
//! random weights.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drover::model::gguf::audio_projector::{ROWS, audio_projector};
use serde_json::{Value, json};

use crate::support::real::{real, skip};
use crate::support::{Answer, TestServer};

/// Width of SmolLM2's input.
const WIDTH: u64 = 576;

const FLAC: &[u8] = include_bytes!("../../sound/tone.flac");
const MP3: &[u8] = include_bytes!("../../sound/tone.mp3");

/// A daemon with a model that accepts audio (`ears`) and one that does not (`deaf`).
async fn start() -> Option<TestServer> {
    let Some(model) = real("smollm2-135m") else {
        skip("no smollm2-135m in DROVER_TEST_MODELS");
        return None;
    };
    let server = TestServer::start().await;
    let model = server.upload(fs_err::read(model).unwrap()).await;
    let projector = server.upload(audio_projector(WIDTH).build()).await;
    let files = json!({"model.gguf": model, "mmproj.gguf": projector});
    let body = json!({"model": "ears", "files": files, "stream": false});
    server.post("/api/create", &body).await.ok();
    server.fake_model("deaf").await;
    Some(server)
}

/// A second of a sawtooth with a period of so many samples, as WAV.
fn wav(period: u16) -> Vec<u8> {
    let sample = |at: u16| i16::try_from(at % period * 40).unwrap().to_le_bytes();
    let data: Vec<u8> = (0..16_000).flat_map(sample).collect();
    let length = u32::try_from(data.len()).unwrap();
    let head = b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data";
    [
        b"RIFF",
        &(length + 36).to_le_bytes()[..],
        head,
        &length.to_le_bytes(),
        &data,
    ]
    .concat()
}

/// Longer than the shortest prefix that is worth sharing.
const QUESTION: &str =
    "Listen to this, please, and then tell me in one or two short sentences: what do you hear?";

async fn chat(server: &TestServer, model: &str, sounds: &[&[u8]]) -> Answer {
    let sounds: Vec<String> = sounds.iter().map(|sound| STANDARD.encode(sound)).collect();
    let message = json!({"role": "user", "content": QUESTION, "images": sounds});
    let body = json!({"model": model, "messages": [message], "stream": false,
        "options": {"temperature": 0, "num_predict": 8, "seed": 1}});
    server.post("/api/chat", &body).await
}

fn parts(sound: &[u8]) -> Value {
    let audio = json!({"data": STANDARD.encode(sound), "format": "wav"});
    let content =
        json!([{"type": "text", "text": QUESTION}, {"type": "input_audio", "input_audio": audio}]);
    json!({"model": "ears", "messages": [{"role": "user", "content": content}],
        "temperature": 0, "max_tokens": 8, "seed": 1})
}

#[tokio::test]
async fn a_model_with_an_ear_hears_on_every_route() {
    let Some(server) = start().await else { return };
    let shown = server.post("/api/show", &json!({"model": "ears"})).await;
    let capabilities = shown.ok().json()["capabilities"].clone();
    assert!(
        capabilities.as_array().unwrap().contains(&json!("audio")),
        "{capabilities}"
    );

    let counted = |answer: &Value| answer["prompt_eval_count"].as_u64().unwrap();
    let plain = chat(&server, "ears", &[]).await.ok().json();
    for sound in [&wav(40)[..], FLAC, MP3] {
        let answer = chat(&server, "ears", &[sound]).await.ok().json();
        assert_eq!(counted(&answer), counted(&plain) + ROWS as u64);
    }
    let both = chat(&server, "ears", &[&wav(40), &wav(77)])
        .await
        .ok()
        .json();
    assert_eq!(counted(&both), counted(&plain) + 2 * ROWS as u64);

    let heard = server
        .post("/v1/chat/completions", &parts(&wav(40)))
        .await
        .ok()
        .json();
    assert!(heard["usage"]["prompt_tokens"].as_u64().unwrap() > counted(&plain) + ROWS as u64);

    let file = wav(40);
    let form = |format: &'static str| {
        [
            ("model", None, &b"ears"[..]),
            ("file", Some("speech.wav"), &file),
            ("language", None, b"English"),
            ("response_format", None, format.as_bytes()),
        ]
    };
    let path = "/v1/audio/transcriptions";
    let whole = server.post_form(path, &form("json")).await.ok().json();
    let text = whole["text"].as_str().unwrap();
    assert_eq!(whole.as_object().unwrap().len(), 1);
    let plain = server.post_form(path, &form("text")).await.ok();
    assert_eq!(
        (
            plain.text.as_str(),
            plain.headers["content-type"].to_str().unwrap()
        ),
        (text, "text/plain")
    );
    let refused = server.post_form(path, &form("srt")).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["param"]),
        (400, &json!("response_format"))
    );
}

#[tokio::test]
async fn the_same_sound_is_not_evaluated_again_and_another_one_is() {
    let Some(server) = start().await else { return };
    let ask = async |sound: &[u8]| {
        let answer = server
            .post("/v1/chat/completions", &parts(sound))
            .await
            .ok()
            .json();
        let usage = &answer["usage"];
        let cached = usage["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap();
        (
            usage["prompt_tokens"].as_u64().unwrap(),
            cached,
            answer["choices"][0]["message"]["content"].clone(),
        )
    };
    let (n_prompt, n_cached, text) = ask(&wav(40)).await;
    assert_eq!(n_cached, 0);
    assert_eq!(ask(&wav(40)).await, (n_prompt, n_prompt - 1, text));
    // The text before it is the same.
    let (_, n_cached, _) = ask(&wav(77)).await;
    assert!(
        n_cached > 0 && n_cached < n_prompt - ROWS as u64,
        "{n_cached} of {n_prompt}"
    );
}

#[tokio::test]
async fn what_cannot_be_heard_is_refused_in_the_routes_own_words() {
    let Some(server) = start().await else { return };
    let mut ten_hours = FLAC.to_vec();
    ten_hours[22..26].copy_from_slice(&(44_100_u32 * 36_000).to_be_bytes());
    let mut fast = wav(40);
    fast[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
    for (sound, words) in [
        (&ten_hours[..], "30 minutes are the most"),
        (&fast, "sample rate"),
        (&wav(40)[..30], "invalid sound"),
        (b"OggS\0\x02", "none of WAV, MP3 and FLAC"),
    ] {
        let answer = chat(&server, "ears", &[sound]).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.error().contains(words), "{}", answer.text);
        let answer = server.post("/v1/chat/completions", &parts(sound)).await;
        let error = &answer.json()["error"];
        assert_eq!(
            (answer.status, &error["type"]),
            (400, &json!("invalid_request_error"))
        );
        assert!(
            error["message"].as_str().unwrap().contains(words),
            "{error}"
        );
        let form = [
            ("model", None, &b"ears"[..]),
            ("file", Some("a.wav"), sound),
        ];
        let answer = server.post_form("/v1/audio/transcriptions", &form).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(
            answer.json()["error"]["message"]
                .as_str()
                .unwrap()
                .contains(words)
        );
    }
    // The daemon still works, and so does the next request.
    chat(&server, "ears", &[&wav(40)]).await.ok();

    let answer = chat(&server, "deaf", &[&wav(40)]).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.error().contains("does not support audio"),
        "{}",
        answer.text
    );
    let form = [
        ("model", None, &b"deaf"[..]),
        ("file", Some("a.wav"), &wav(40)),
    ];
    let answer = server.post_form("/v1/audio/transcriptions", &form).await;
    assert!(
        answer.text.contains("does not support audio"),
        "{}",
        answer.text
    );
    let answer = server
        .post("/v1/audio/transcriptions", &json!({"model": "ears"}))
        .await;
    let message = &answer.json()["error"]["message"];
    assert_eq!(
        (answer.status, message),
        (
            400,
            &json!(
                "failed to parse multipart form: request Content-Type isn't multipart/form-data"
            )
        )
    );
}
