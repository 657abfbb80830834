//! `list`: the models on disk.

use jiff::Timestamp;

use crate::api::ollama::{ListResponse, ListedModel};
use crate::cli::args::ListArgs;
use crate::cli::context::Context;
use crate::cli::ui::table;
use crate::units;

/// Prints the models whose names begin with the argument, case ignored.
pub(crate) async fn run(context: &Context, args: &ListArgs) -> anyhow::Result<()> {
    let prefix = args.args.first().map_or("", String::as_str);
    let models = filter(context.client.list().await?, prefix);
    if args.json {
        return context.ui.out_json(&models);
    }
    context.ui.out(&text(&models, Timestamp::now()))?;
    Ok(())
}

fn filter(mut list: ListResponse, prefix: &str) -> ListResponse {
    let prefix = prefix.to_lowercase();
    list.models
        .retain(|model| model.name.to_lowercase().starts_with(&prefix));
    list
}

/// The table, as it would be at `now`.
pub(crate) fn text(list: &ListResponse, now: Timestamp) -> String {
    let rows: Vec<Vec<String>> = list.models.iter().map(|model| row(model, now)).collect();
    table::listing(&["NAME", "ID", "SIZE", "MODIFIED"], &rows)
}

fn row(model: &ListedModel, now: Timestamp) -> Vec<String> {
    let is_stub = !model.remote_model.is_empty();
    let size = if is_stub {
        "-".to_owned()
    } else {
        units::format_bytes(model.size)
    };
    let modified = relative(&model.modified_at, now);
    vec![model.name.clone(), short_id(&model.digest), size, modified]
}

/// The first twelve digits of a digest.
pub(super) fn short_id(digest: &str) -> String {
    digest
        .trim_start_matches("sha256:")
        .chars()
        .take(12)
        .collect()
}

/// A time from the API relative to `now`; the zero time and invalid text are `Never`.
fn relative(text: &str, now: Timestamp) -> String {
    match text.parse::<Timestamp>() {
        Ok(then) if !text.starts_with("0001-") => units::relative_time(then, now),
        _ => "Never".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> ListedModel {
        ListedModel {
            name: name.to_owned(),
            ..ListedModel::default()
        }
    }

    #[test]
    fn the_prefix_ignores_case() {
        let list = ListResponse {
            models: vec![model("Llama:1b"), model("qwen:1b")],
        };
        assert_eq!(filter(list.clone(), "lLa").models.len(), 1);
        assert_eq!(filter(list, "").models.len(), 2);
    }

    #[test]
    fn the_table_has_ollamas_columns() {
        let now: Timestamp = "2026-08-21T12:00:00Z".parse().unwrap();
        let local = ListedModel {
            modified_at: "2026-08-19T12:00:00+00:00".to_owned(),
            size: 2_019_393_189,
            digest: "a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72".to_owned(),
            ..model("llama3.2:latest")
        };
        let stub = ListedModel {
            remote_model: "x".to_owned(),
            modified_at: "0001-01-01T00:00:00Z".to_owned(),
            ..model("big:cloud")
        };
        let text = text(
            &ListResponse {
                models: vec![local, stub],
            },
            now,
        );
        let expected = "\
NAME               ID              SIZE      MODIFIED   .
llama3.2:latest    a80c4f17acd5    2.0 GB    2 days ago    .
big:cloud                          -         Never         .
";
        assert_eq!(text.replace('\n', ".\n"), expected);
    }
}
