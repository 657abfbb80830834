//! `ps`: the models in memory.

use jiff::Timestamp;

use super::list::short_id;
use crate::api::drover::BatchState;
use crate::api::ollama::{GpuState, ProcessModel, ProcessResponse};
use crate::cli::args::PsArgs;
use crate::cli::context::Context;
use crate::cli::program::Program;
use crate::cli::ui::table;
use crate::units;

/// Prints the loaded models whose names begin with the argument.
pub(crate) async fn run(context: &Context, args: &PsArgs) -> anyhow::Result<()> {
    let prefix = args.list.args.first().map_or("", String::as_str);
    let mut loaded = context.client.ps().await?;
    loaded.models.retain(|model| model.name.starts_with(prefix));
    if args.list.json {
        return context.ui.out_json(&loaded);
    }
    context.ui.out(&text(&loaded, Timestamp::now()))?;
    if context.program == Program::Drover && !loaded.batches.is_empty() {
        context.ui.out(&jobs(&loaded.batches))?;
    }
    if args.gpu {
        context.ui.out(&cards(&loaded.gpus))?;
    }
    if let Some(problem) = &loaded.gpu_problem {
        context.ui.talk(&format!("no GPU is used: {problem}"));
    }
    Ok(())
}

fn text(loaded: &ProcessResponse, now: Timestamp) -> String {
    let rows: Vec<Vec<String>> = loaded.models.iter().map(|model| row(model, now)).collect();
    table::listing(
        &["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"],
        &rows,
    )
}

/// The batch jobs.
fn jobs(batches: &[BatchState]) -> String {
    let rows = batches.iter().map(|batch| {
        let failed = match batch.failed {
            0 => String::new(),
            n => format!(", {n} failed"),
        };
        vec![
            batch.id.clone(),
            batch.model.clone(),
            batch.status.clone(),
            format!("{}/{}{failed}", batch.completed + batch.failed, batch.total),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let table = table::listing(&["BATCH", "MODEL", "STATUS", "DONE"], &rows);
    format!("\n{table}")
}

/// The graphics cards, or a line that says that there are none.
fn cards(cards: &[GpuState]) -> String {
    if cards.is_empty() {
        return "\nno NVIDIA card, or no driver for it\n".to_owned();
    }
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let rows = cards.iter().map(|card| {
        vec![
            card.name.clone(),
            format!("{}/{} MiB", card.used >> 20, card.total >> 20),
            known(card.busy_percent.map(|percent| format!("{percent}%"))),
            known(card.celsius.map(|celsius| format!("{celsius}°C"))),
            known(card.watts.map(|watts| format!("{watts:.0}W"))),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let table = table::listing(&["GPU", "MEMORY", "BUSY", "TEMPERATURE", "POWER"], &rows);
    format!("\n{table}")
}

fn row(model: &ProcessModel, now: Timestamp) -> Vec<String> {
    vec![
        model.name.clone(),
        short_id(&model.digest),
        units::format_bytes(model.size),
        processor(model.size, model.size_vram),
        model.context_length.to_string(),
        until(&model.expires_at, now),
    ]
}

fn processor(size: u64, vram: u64) -> String {
    if vram == 0 {
        return "100% CPU".to_owned();
    }
    if vram == size {
        return "100% GPU".to_owned();
    }
    if vram > size {
        return "Unknown".to_owned();
    }
    // Rounded to the nearest, halves up, since both numbers are positive.
    let on_cpu = (u128::from(size - vram) * 200 + u128::from(size)) / (u128::from(size) * 2);
    format!("{on_cpu}%/{}% CPU/GPU", 100 - on_cpu)
}

fn until(expires_at: &str, now: Timestamp) -> String {
    match expires_at.parse::<Timestamp>() {
        Ok(then) if then > now => units::relative_time(then, now),
        _ => "Stopping...".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_told_in_percent() {
        for (size, vram, expected) in [
            (100, 0, "100% CPU"),
            (0, 0, "100% CPU"),
            (100, 100, "100% GPU"),
            (100, 101, "Unknown"),
            (0, 1, "Unknown"),
            (200, 103, "49%/51% CPU/GPU"),
            (1000, 999, "0%/100% CPU/GPU"),
            (8_000_000_000, 2_000_000_000, "75%/25% CPU/GPU"),
        ] {
            assert_eq!(processor(size, vram), expected, "{size} {vram}");
        }
    }

    #[test]
    fn jobs_say_how_far_they_are() {
        let job = BatchState {
            id: "batch_1".to_owned(),
            model: "tiny".to_owned(),
            status: "in_progress".to_owned(),
            total: 10,
            completed: 3,
            failed: 1,
        };
        let text = jobs(&[job]);
        let line = text.lines().last().unwrap();
        assert!(line.trim_end().ends_with("4/10, 1 failed"), "{text}");
    }

    #[test]
    fn cards_say_what_they_know() {
        let card = GpuState {
            name: "RTX 4080".to_owned(),
            total: 16_376 << 20,
            used: 9_000 << 20,
            busy_percent: Some(87),
            celsius: Some(61),
            watts: None,
        };
        let text = cards(&[card]);
        assert!(text.contains("RTX 4080"), "{text}");
        let words: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(words[2..], ["9000/16376", "MiB", "87%", "61°C", "-"]);
        assert!(cards(&[]).contains("no NVIDIA card"));
    }

    #[test]
    fn a_past_expiry_means_stopping() {
        let now: Timestamp = "2026-08-21T12:00:00Z".parse().unwrap();
        assert_eq!(until("2026-08-21T11:59:59Z", now), "Stopping...");
        assert_eq!(until("0001-01-01T00:00:00Z", now), "Stopping...");
    }

    #[test]
    fn the_table_has_ollamas_columns() {
        let now: Timestamp = "2026-08-21T12:00:00Z".parse().unwrap();
        let model = ProcessModel {
            name: "gemma4:latest".to_owned(),
            digest: "0a1b2c3d4e5f6a7b".to_owned(),
            size: 8_100_000_000,
            size_vram: 8_100_000_000,
            context_length: 32768,
            expires_at: "2026-08-21T12:04:00.5Z".to_owned(),
            ..ProcessModel::default()
        };
        let expected = "\
NAME             ID              SIZE      PROCESSOR    CONTEXT    UNTIL              .
gemma4:latest    0a1b2c3d4e5f    8.1 GB    100% GPU     32768      4 minutes from now    .
";
        let text = text(
            &ProcessResponse {
                models: vec![model],
                ..ProcessResponse::default()
            },
            now,
        );
        assert_eq!(text.replace('\n', ".\n"), expected);
    }
}
