//! Embeddings: limits of an input, empty ones, the legacy route.

use serde_json::{Value, json};

use crate::support::real::{real, skip};
use crate::support::{TestServer, models};

async fn server() -> TestServer {
    let server = TestServer::start().await;
    let file = models::embedder();
    server.create("m", file.build(), json!({})).await.ok();
    server
}

fn values(vector: &Value) -> impl Iterator<Item = f64> {
    let values = vector.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap())
}

#[tokio::test]
async fn an_input_has_as_many_tokens_as_it_is_given_down_to_none() {
    let server = server().await;
    let embed = async |input: &str, truncate: Option<bool>, num_ctx: i32| {
        let body = json!({"model": "m", "input": input, "truncate": truncate,
            "options": {"num_ctx": num_ctx}});
        server.post("/api/embed", &body).await
    };
    let vector = async |input, truncate, num_ctx| {
        let answer = embed(input, truncate, num_ctx).await.ok();
        answer.json()["embeddings"][0].clone()
    };
    // The fake model's tokens are bytes, after one that begins every text.
    let [three, two] = [vector("why", None, 64).await, vector("wh", None, 64).await];
    assert_eq!(vector("why is it?", None, 4).await, three);
    assert_eq!(vector("why is it?", Some(true), 3).await, two);
    assert_eq!(vector("why", Some(false), 4).await, three);
    for (truncate, num_ctx, error) in [
        (
            Some(false),
            3,
            "the input length exceeds the context length",
        ),
        (
            None,
            1,
            "input after truncation exceeds maximum context length",
        ),
        (
            Some(true),
            1,
            "input after truncation exceeds maximum context length",
        ),
        (
            Some(false),
            1,
            "input after truncation exceeds maximum context length",
        ),
    ] {
        let answer = embed("why", truncate, num_ctx).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, error));
    }
    // Without a number: the trained length.
    let long = "why ".repeat(100);
    let whole = vector(&long, None, 4096).await;
    for num_ctx in [0, -1] {
        assert_eq!(vector(&long, Some(false), num_ctx).await, whole);
    }
}

#[tokio::test]
async fn an_empty_input_beside_good_ones_has_a_vector_if_it_has_a_token() {
    let server = server().await;
    let body = json!({"model": "m", "input": ["", "a"], "options": {"num_ctx": 2}});
    let answer = server.post("/api/embed", &body).await.ok().json();
    assert_eq!(answer["embeddings"].as_array().unwrap().len(), 2);
    assert_eq!(answer["prompt_eval_count"], 3);

    let file = models::embedder().value("drover-fake.add_bos", 0);
    server.create("bare", file.build(), json!({})).await.ok();
    let body = json!({"model": "bare", "input": ["a", ""]});
    let answer = server.post("/api/embed", &body).await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (400, "Input content cannot be empty")
    );
}

#[tokio::test]
async fn the_legacy_route_gives_vectors_of_length_one_too() {
    let server = server().await;
    let body = json!({"model": "m", "prompt": "why is it?"});
    let answer = server.post("/api/embeddings", &body).await.ok().json();
    let legacy: Vec<f64> = values(&answer["embedding"]).collect();
    let square: f64 = legacy.iter().map(|value| value * value).sum();
    assert!((square - 1.0).abs() < 1e-5, "{answer}");
    let body = json!({"model": "m", "input": "why is it?"});
    let answer = server.post("/api/embed", &body).await.ok().json();
    let mut pairs = values(&answer["embeddings"][0]).zip(legacy);
    assert!(pairs.all(|(a, b)| (a - b).abs() < 1e-6), "{answer}");
}

/// The first values of unit vectors, computed by sentence-transformers in double precision.
const EXPECTED: [(&str, u64, [f64; 8]); 2] = [
    (
        "A panda eats bamboo in the forest.",
        10,
        [
            -0.034, -0.01527, -0.01102, 0.05194, 0.03101, -0.11164, -0.02272, -0.00057,
        ],
    ),
    (
        "The unbelievable tokenizers!",
        8,
        [
            -0.05211, 0.00274, 0.04485, -0.02009, -0.02158, -0.02367, 0.10415, 0.02505,
        ],
    ),
];

#[tokio::test]
async fn all_minilm_gives_the_vectors_of_its_authors() {
    let Some(model) = real("all-minilm") else {
        return skip("no all-MiniLM-L6-v2 in DROVER_TEST_MODELS");
    };
    let server = TestServer::start().await;
    let file = fs_err::read(&model).unwrap();
    server.create("all-minilm", file, json!({})).await.ok();
    for (text, n_tokens, expected) in EXPECTED {
        let body = json!({"model": "all-minilm", "input": text});
        let answer = server.post("/api/embed", &body).await.ok().json();
        assert_eq!(answer["prompt_eval_count"], n_tokens);
        // ggml rounds the activation function to half precision.
        for (value, expected) in values(&answer["embeddings"][0]).zip(expected) {
            assert!(
                (value - expected).abs() < 1e-3,
                "{text}: {value} {expected}"
            );
        }
        assert_eq!(values(&answer["embeddings"][0]).count(), 384);
    }
    let shown = server
        .post("/api/show", &json!({"model": "all-minilm"}))
        .await;
    assert_eq!(shown.ok().json()["capabilities"], json!(["embedding"]));
}
