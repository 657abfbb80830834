//! The text that Prometheus scrapes.

use super::*;

/// The value of the line that starts with `line`.
fn value(line: &str) -> f64 {
    let text = text().unwrap();
    let found = text.lines().find_map(|known| known.strip_prefix(line));
    let found = found.unwrap_or_else(|| panic!("no {line} in {text}"));
    found.trim().parse().unwrap()
}

#[test]
fn requests_are_counted_by_route_and_status() {
    request("/api/test", 200, "answers", Duration::from_millis(30));
    request("/api/test", 200, "answers", Duration::from_millis(2));
    request("/api/test", 499, "", Duration::from_secs(1));
    assert_eq!(
        value(r#"drover_requests_total{route="/api/test",status="200"}"#),
        2.0
    );
    assert_eq!(
        value(r#"drover_requests_total{route="/api/test",status="499"}"#),
        1.0
    );
    let bucket = r#"drover_request_duration_seconds_bucket{le="0.025",route="/api/test",status="200",model="answers"}"#;
    assert_eq!(value(bucket), 1.0);
    assert!(open_text().unwrap().ends_with("# EOF\n"));
    let in_flight = r#"drover_requests_in_flight{route="/api/test"}"#;
    let one = InFlight::new("/api/test");
    assert_eq!(value(in_flight), 1.0);
    drop(one);
    assert_eq!(value(in_flight), 0.0);
}

#[test]
fn steps_add_up_and_gauges_fall_when_the_runner_ends() {
    let metrics = ModelMetrics::new("m:\"odd\"");
    let step = Step {
        n_prompt: 10,
        n_cached: 3,
        n_generated: 2,
        n_running: 2,
        n_waiting: 1,
        time: Duration::from_millis(7),
        ..Step::default()
    };
    metrics.step(&step);
    metrics.step(&step);
    let of = |name: &str| value(&format!(r#"drover_{name}{{model="m:\"odd\""}}"#));
    assert_eq!(of("prompt_tokens_total"), 20.0);
    assert_eq!(of("prompt_tokens_cached_total"), 6.0);
    assert_eq!(of("generated_tokens_total"), 4.0);
    assert_eq!(
        (of("sequences_running"), of("sequences_waiting")),
        (2.0, 1.0)
    );
    assert_eq!(of("step_duration_seconds_count"), 2.0);
    drop(metrics);
    assert_eq!(
        (of("sequences_running"), of("sequences_waiting")),
        (0.0, 0.0)
    );
    // The model's next runner continues the count.
    ModelMetrics::new("m:\"odd\"").step(&step);
    assert_eq!(of("prompt_tokens_total"), 30.0);
}

#[test]
fn what_is_loaded_is_counted_as_long_as_it_is() {
    let of = |name: &str| value(&format!(r#"{name}{{model="loads"}}"#));
    let mut metrics = ModelMetrics::new("loads");
    metrics.load_failed();
    let held = Held {
        bytes: 1000,
        vram_bytes: 600,
        n_cells: 64,
    };
    metrics.loaded(held, Duration::from_millis(300));
    metrics.step(&Step {
        n_cells: 16,
        n_kept: 8,
        n_running: 1,
        n_waiting: 2,
        ..Step::default()
    });
    let waits = Awaiting::of("loads");
    assert_eq!(of("drover_model_bytes"), 1000.0);
    assert_eq!(of("drover_model_vram_bytes"), 600.0);
    assert_eq!(of("drover_kv_cells"), 64.0);
    let theirs = |name: &str| value(&format!(r#"vllm:{name}{{model_name="loads",engine="0"}}"#));
    assert_eq!(theirs("kv_cache_usage_perc"), 0.25);
    assert_eq!(theirs("num_requests_running"), 1.0);
    assert_eq!(theirs("num_requests_waiting"), 3.0);
    drop(waits);
    metrics.idle();
    assert_eq!(
        (of("drover_kv_cells_used"), of("drover_kv_cells_kept")),
        (0.0, 24.0)
    );
    assert_eq!(theirs("num_requests_waiting"), 0.0);
    metrics.ended(false);
    drop(metrics);
    assert_eq!(of("drover_model_bytes"), 0.0);
    assert_eq!(
        (of("drover_kv_cells"), of("drover_kv_cells_kept")),
        (0.0, 0.0)
    );
    assert_eq!(
        (
            of("drover_model_loads_total"),
            of("drover_model_load_failures_total")
        ),
        (1.0, 1.0)
    );
    assert_eq!(
        (
            of("drover_runner_crashes_total"),
            of("drover_model_unloads_total")
        ),
        (1.0, 0.0)
    );
    assert_eq!(of("drover_model_load_seconds_count"), 1.0);
}

#[test]
fn an_answer_leaves_its_times_and_its_end() {
    let finish = Finish {
        outcome: Outcome::Length,
        n_prompt: 12,
        n_cached: 4,
        n_generated: 3,
        queue: Duration::from_millis(400),
        prefill: Duration::from_secs(1),
        decode: Duration::from_secs(2),
    };
    let received = std::time::Instant::now();
    let mut answer = Generation::new("answers", Class::Interactive, received, 12);
    for n in [1, 0, 2] {
        answer.tokens(n);
    }
    answer.finished(&finish);
    drop(answer);
    drop(Generation::new("answers", Class::Batch, received, 12));
    let mut failed = Generation::new("answers", Class::Batch, received, 12);
    failed.failed();
    drop(failed);
    let of = |name: &str| value(&format!(r#"{name}{{model="answers",class="interactive"}}"#));
    assert_eq!(of("drover_time_to_first_token_seconds_count"), 1.0);
    assert_eq!(of("drover_inter_token_seconds_count"), 1.0);
    assert_eq!(of("drover_queue_seconds_sum"), 0.4);
    let theirs = |name: &str| {
        value(&format!(
            r#"vllm:{name}{{model_name="answers",engine="0",class="interactive"}}"#
        ))
    };
    assert_eq!(theirs("time_to_first_token_seconds_count"), 1.0);
    assert_eq!(theirs("request_time_per_output_token_seconds_sum"), 1.0);
    assert_eq!(theirs("request_inference_time_seconds_sum"), 3.0);
    assert_eq!(theirs("request_generation_tokens_sum"), 3.0);
    let ends = |end: &str| {
        value(&format!(
            r#"drover_answers_total{{model="answers",outcome="{end}"}}"#
        ))
    };
    assert_eq!(
        ["stop", "length", "abort", "error"].map(ends),
        [0.0, 1.0, 1.0, 1.0]
    );
}

#[test]
fn models_without_end_share_one_name() {
    let mut models = std::collections::HashMap::new();
    let first = model::among(&mut models, "first");
    for n in 0..400 {
        model::among(&mut models, &format!("made-{n}"));
    }
    assert_eq!(models.len(), model::MOST_MODELS + 1);
    let late = model::among(&mut models, "late");
    assert_eq!(late.name, "(others)");
    assert!(std::sync::Arc::ptr_eq(
        &first,
        &model::among(&mut models, "first")
    ));
    assert_eq!(model::label(""), "");
}

#[test]
fn the_process_says_how_it_is() {
    for name in [
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
        "process_open_fds ",
        "process_start_time_seconds ",
    ] {
        assert!(value(name) > 0.0, "{name}");
    }
}
