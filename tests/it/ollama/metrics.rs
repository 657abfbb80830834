//! `GET /metrics`: the effect of requests and steps.

use serde_json::json;

use crate::support::TestServer;

/// The value of a metric; 0 if it does not exist yet.
pub(super) async fn value(server: &TestServer, line: &str) -> f64 {
    let text = server.get("/metrics").await.ok().text;
    let found = text.lines().find_map(|known| known.strip_prefix(line));
    found.map_or(0.0, |value| value.trim().parse().unwrap())
}

#[tokio::test]
async fn requests_and_steps_are_counted() {
    let server = TestServer::start().await;
    server.fake_model("llama3").await;
    let of_model = |name: &str| format!(r#"drover_{name}{{model="llama3:latest"}}"#);
    let body = json!({"model": "llama3", "prompt": "one two three four", "stream": false,
        // One token a step: with a seed there are no drafts.
        "options": {"seed": 1}});
    let answer = server.post("/api/generate", &body).await.ok().json();
    let n_prompt = answer["prompt_eval_count"].as_f64().unwrap();
    let n_generated = answer["eval_count"].as_f64().unwrap();
    assert_eq!(
        value(&server, &of_model("prompt_tokens_total")).await,
        n_prompt
    );
    assert_eq!(
        value(&server, &of_model("generated_tokens_total")).await,
        n_generated
    );
    // Repeated, all but the last token comes from the cache.
    server.post("/api/generate", &body).await.ok();
    assert_eq!(
        value(&server, &of_model("prompt_tokens_cached_total")).await,
        n_prompt - 1.0
    );
    assert!(value(&server, &of_model("step_duration_seconds_count")).await >= n_generated);
    assert_eq!(value(&server, &of_model("sequences_running")).await, 0.0);

    server.post("/api/generate", &json!({})).await;
    server.get("/nowhere/at/all").await;
    let of_route =
        |route, status| format!(r#"drover_requests_total{{route="{route}",status="{status}"}}"#);
    assert_eq!(value(&server, &of_route("/api/generate", 200)).await, 2.0);
    assert_eq!(value(&server, &of_route("-", 404)).await, 1.0);
    let kind = |answer: &crate::support::Answer| {
        answer.headers["content-type"].to_str().unwrap().to_owned()
    };
    let answer = server.get("/metrics").await;
    assert_eq!(kind(&answer), "text/plain; version=0.0.4; charset=utf-8");
    assert!(
        answer
            .text
            .contains("# TYPE drover_requests_total counter\n")
    );
    let request = server.http.get(format!("{}/metrics", server.url));
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let answer = request.header("Accept", accept).send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(answer.text().await.unwrap().ends_with("# EOF\n"));
}

/// What dashboards and the endpoint picker of Kubernetes' inference extension read.
#[tokio::test]
async fn the_names_of_vllm_are_there() {
    let server = TestServer::start().await;
    server.fake_model("llama3").await;
    let busy = json!({"model": "llama3", "prompt": "[[slow 20]] [[repeat 2000]] word"});
    let mut stream = server.stream("/api/generate", &busy).await;
    for _ in 0..3 {
        stream.next().await.unwrap();
    }
    let gauge = |name: &str| format!(r#"vllm:{name}{{model_name="llama3:latest",engine="0"}}"#);
    assert_eq!(value(&server, &gauge("num_requests_running")).await, 1.0);
    assert_eq!(value(&server, &gauge("num_requests_waiting")).await, 0.0);
    let usage = value(&server, &gauge("kv_cache_usage_perc")).await;
    assert!(usage > 0.0 && usage < 1.0, "{usage}");
    drop(stream);
    let body = json!({"model": "llama3", "prompt": "one two three four", "stream": false});
    server.post("/api/generate", &body).await.ok();
    for (name, least) in [
        ("prompt_tokens_total", 1.0),
        ("generation_tokens_total", 1.0),
        ("prefix_cache_queries_total", 1.0),
        ("prefix_cache_hits_total", 0.0),
    ] {
        assert!(value(&server, &gauge(name)).await >= least, "{name}");
    }
    for name in [
        "time_to_first_token_seconds",
        "inter_token_latency_seconds",
        "time_per_output_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_prefill_time_seconds",
        "request_decode_time_seconds",
        "request_inference_time_seconds",
    ] {
        let labels = r#"{model_name="llama3:latest",engine="0",class="interactive"}"#;
        let line = format!("vllm:{name}_count{labels}");
        assert!(value(&server, &line).await >= 1.0, "{name}");
    }
    let success = r#"vllm:request_success_total{model_name="llama3:latest",engine="0",finished_reason="stop"}"#;
    assert_eq!(value(&server, success).await, 1.0);
    let loaded = |name: &str| format!(r#"drover_{name}{{model="llama3:latest"}}"#);
    assert!(value(&server, &loaded("model_bytes")).await > 0.0);
    assert!(value(&server, &loaded("kv_cells")).await > 0.0);
    assert_eq!(value(&server, &loaded("model_loads_total")).await, 1.0);
    let unload = json!({"model": "llama3", "keep_alive": 0});
    server.post("/api/generate", &unload).await.ok();
    server.no_runners().await;
    assert_eq!(value(&server, &loaded("model_unloads_total")).await, 1.0);
    assert_eq!(value(&server, &loaded("model_bytes")).await, 0.0);
}

/// The names of metrics in a text, without the suffixes of histograms.
fn names(text: &str) -> std::collections::BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_' || c == ':' || c.is_ascii_digit();
    let words = text.split(|c: char| !is_part(c));
    let ours = words.filter(|word| {
        ["drover_", "process_", "vllm:"]
            .iter()
            .any(|begin| word.starts_with(begin))
    });
    ours.map(|word| word.trim_end_matches("_bucket").to_owned())
        .collect()
}

#[tokio::test]
async fn what_the_board_and_the_alerts_ask_for_exists() {
    let server = TestServer::start().await;
    server.fake_model("llama3").await;
    let body = json!({"model": "llama3", "prompt": "[[slow 20]] [[abort 20]] [[repeat 99]] word"});
    server.post("/api/generate", &body).await.ok();
    let text = server.get("/metrics").await.ok().text;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/monitoring");
    let read = |name: &str| fs_err::read_to_string(folder.join(name)).unwrap();
    let board: serde_json::Value = serde_json::from_str(&read("drover.json")).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let asked: String = targets
        .map(|target| format!("{} ", target["expr"].as_str().unwrap()))
        .collect();
    let asked = names(&format!("{asked} {}", read("alerts.yml")));
    assert!(asked.len() > 20, "{asked:?}");
    for name in asked
        .iter()
        .filter(|name| !name.starts_with("drover_batch_requests_total"))
    {
        let has = |line: &str| {
            let rest = line.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) || rest.starts_with("_bucket{"))
        };
        assert!(text.lines().any(has), "{name} is not in\n{text}");
    }
}
