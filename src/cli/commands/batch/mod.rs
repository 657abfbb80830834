//! `batch`: sends many requests from a file, and writes the answers to another file.

mod input;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::Timestamp;

use crate::api::openai::BatchObject;
use crate::cli::args::BatchArgs;
use crate::cli::program::Program;
use crate::cli::ui::{Ui, table};
use crate::client::Client;
use crate::config::{ClientConfig, HostSpec};
use crate::units;
use input::Input;
use watch::Outcome;

/// The address of `--host openai`, if no variable sets another.
const OPENAI: &str = "https://api.openai.com";

/// What a command of this group needs.
struct Batch<'a> {
    ui: Ui,
    client: Client,
    program: Program,
    args: &'a BatchArgs,
}

/// Runs, lists, shows or cancels jobs.
pub(crate) async fn run(
    ui: Ui,
    config: &ClientConfig,
    program: Program,
    args: &BatchArgs,
) -> anyhow::Result<ExitCode> {
    let batch = Batch {
        ui,
        client: client(config, args.host.as_deref())?,
        program,
        args,
    };
    let words: Vec<&str> = args.args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", what] => batch.run(what).await,
        ["list" | "ls"] => batch.list().await,
        ["show", id] => batch.show(id).await,
        ["cancel", id] => batch.cancel(id).await,
        ["run" | "show" | "cancel", rest @ ..] => {
            anyhow::bail!("accepts 1 arg(s), received {}", rest.len())
        }
        ["list" | "ls", rest @ ..] => anyhow::bail!("accepts 0 arg(s), received {}", rest.len()),
        [other, ..] => anyhow::bail!(
            "unknown action {other:?}; there are `{0} batch run`, `list`, `show` and `cancel`",
            program.name()
        ),
        [] => anyhow::bail!("say what: run FILE, list, show ID or cancel ID"),
    }
}

/// A client for the daemon, or for the server that `--host` names, which alone gets the key in `OPENAI_API_KEY`.
fn client(config: &ClientConfig, host: Option<&str>) -> anyhow::Result<Client> {
    let Some(host) = host else {
        return Ok(Client::new(&config.host)?.with_key(config.api_key.clone()));
    };
    let host = match host {
        "openai" => config.openai_base.as_deref().unwrap_or(OPENAI),
        host => host,
    };
    // The paths of requests contain `/v1` already.
    let host = host.trim_end_matches('/');
    let host = HostSpec::parse(host.strip_suffix("/v1").unwrap_or(host));
    Ok(Client::new(&host)?.with_key(config.openai_key.clone()))
}

impl Batch<'_> {
    async fn run(&self, what: &str) -> anyhow::Result<ExitCode> {
        if self.args.json && self.args.output.is_none() && !self.args.detach {
            anyhow::bail!("--json prints the job: say with -o where the answers go");
        }
        let is_resumed = what.starts_with("batch_") && !Path::new(what).exists();
        let batch = if is_resumed {
            self.client.batch(what).await?
        } else {
            self.begin(what).await?
        };
        if self.args.detach {
            return self.print(&batch);
        }
        match watch::until_ended(self.ui, &self.client, batch).await? {
            Outcome::Ended(batch) => self.finish(&batch).await,
            Outcome::Detached(batch) => {
                let (name, id) = (self.program.name(), &batch.id);
                self.ui.talk(&format!(
                    "The job goes on. `{name} batch run {id}` waits for it and gets the answers, \
                     `{name} batch cancel {id}` ends it."
                ));
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    /// Uploads the requests and creates the job.
    async fn begin(&self, file: &str) -> anyhow::Result<BatchObject> {
        let (path, args) = (PathBuf::from(file), self.args);
        let wishes = input::Wishes {
            prompt: args.prompt.clone(),
            system: args.system.clone(),
            model: args.model.clone(),
            max_tokens: args.max_tokens,
            endpoint: args.endpoint.clone(),
        };
        let reading = tokio::task::spawn_blocking(move || Input::open(&path, &wishes));
        let input = reading.await?;
        let input = input.map_err(|error| anyhow::anyhow!("{file}: {error:#}"))?;
        let reader = tokio::fs::File::from_std(input.file);
        let uploading = self
            .client
            .upload_batch(&input.name, input.bytes, reader, |_| {});
        let uploaded = uploading.await?;
        let creating = self.client.create_batch(&uploaded.id, &input.endpoint);
        let batch = creating.await?;
        self.ui.talk(&format!("batch {}", batch.id));
        Ok(batch)
    }

    /// Downloads the results.
    async fn finish(&self, batch: &BatchObject) -> anyhow::Result<ExitCode> {
        if let Some(errors) = &batch.errors {
            for error in &errors.data {
                let line = error
                    .line
                    .map_or_else(String::new, |line| format!("line {line}: "));
                let message = error.message.as_deref().unwrap_or_default();
                self.ui.talk(&format!("{line}{message}"));
            }
        }
        match (&batch.output_file_id, &self.args.output) {
            (Some(file), Some(path)) => self.download(file, path).await?,
            (Some(file), None) => {
                let mut stdout = tokio::io::stdout();
                self.client.download_file(file, &mut stdout).await?;
            }
            (None, _) => {}
        }
        if let Some(file) = &batch.error_file_id {
            let path = errors_path(self.args.output.as_deref(), &batch.id);
            self.download(file, &path).await?;
            self.ui
                .talk(&format!("what was not answered is in {}", path.display()));
        }
        if self.args.json {
            self.ui.out_json(batch)?;
        }
        let counts = &batch.request_counts;
        self.ui.talk(&format!(
            "{}: {} of {} answered, {} failed",
            batch.status, counts.completed, counts.total, counts.failed
        ));
        let is_well = batch.status == "completed" && counts.failed == 0;
        Ok(if is_well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// Downloads to a temporary file next to `path`, then renames it.
    async fn download(&self, file: &str, path: &Path) -> anyhow::Result<()> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let shown = |error: std::io::Error| anyhow::anyhow!("{}: {error}", path.display());
        let temporary = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(shown)?;
        let mut writer = tokio::fs::File::from_std(temporary.reopen()?);
        self.client.download_file(file, &mut writer).await?;
        writer.sync_all().await?;
        temporary
            .persist(path)
            .map_err(|error| shown(error.error))?;
        Ok(())
    }

    async fn list(&self) -> anyhow::Result<ExitCode> {
        let page = self.client.batches().await?;
        if self.args.json {
            self.ui.out_json(&page)?;
            return Ok(ExitCode::SUCCESS);
        }
        let now = Timestamp::now();
        let rows: Vec<Vec<String>> = page.data.iter().map(|batch| row(batch, now)).collect();
        let headers = [
            "ID", "STATUS", "MODEL", "DONE", "FAILED", "TOTAL", "CREATED",
        ];
        self.ui.out(&table::listing(&headers, &rows))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn show(&self, id: &str) -> anyhow::Result<ExitCode> {
        let batch = self.client.batch(id).await?;
        self.print(&batch)
    }

    async fn cancel(&self, id: &str) -> anyhow::Result<ExitCode> {
        let batch = self.client.cancel_batch(id).await?;
        self.print(&batch)
    }

    fn print(&self, batch: &BatchObject) -> anyhow::Result<ExitCode> {
        if self.args.json {
            self.ui.out_json(batch)?;
            return Ok(ExitCode::SUCCESS);
        }
        let counts = &batch.request_counts;
        let mut rows = vec![
            ("id", batch.id.clone()),
            ("status", batch.status.clone()),
            ("endpoint", batch.endpoint.clone()),
            ("model", batch.model.clone().unwrap_or_default()),
            (
                "requests",
                format!(
                    "{} of {} answered, {} failed",
                    counts.completed, counts.total, counts.failed
                ),
            ),
            ("paused", batch.paused.clone().unwrap_or_default()),
            ("input", batch.input_file_id.clone()),
            ("output", batch.output_file_id.clone().unwrap_or_default()),
            ("errors", batch.error_file_id.clone().unwrap_or_default()),
        ];
        rows.retain(|(_, value)| !value.is_empty());
        for (name, value) in rows {
            self.ui.out_line(&format!("{name:<9} {value}"))?;
        }
        for error in batch.errors.iter().flat_map(|errors| &errors.data) {
            let line = error
                .line
                .map_or_else(String::new, |line| format!("line {line}: "));
            let message = error.message.as_deref().unwrap_or_default();
            self.ui.out_line(&format!("fault     {line}{message}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(batch: &BatchObject, now: Timestamp) -> Vec<String> {
    let counts = &batch.request_counts;
    let created = Timestamp::from_second(batch.created_at);
    vec![
        batch.id.clone(),
        batch.status.clone(),
        batch.model.clone().unwrap_or_default(),
        counts.completed.to_string(),
        counts.failed.to_string(),
        counts.total.to_string(),
        created.map_or_else(|_| String::new(), |then| units::relative_time(then, now)),
    ]
}

/// The file for errors: next to the answers, or in the current folder if the answers have no file.
fn errors_path(output: Option<&Path>, id: &str) -> PathBuf {
    match output {
        Some(output) => output.with_extension("errors.jsonl"),
        None => PathBuf::from(format!("{id}.errors.jsonl")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_lies_beside_the_answers() {
        let path = |output| errors_path(output, "batch_1").display().to_string();
        assert_eq!(path(None), "batch_1.errors.jsonl");
        assert_eq!(path(Some(Path::new("a/out.jsonl"))), "a/out.errors.jsonl");
        assert_eq!(path(Some(Path::new("out"))), "out.errors.jsonl");
    }
}
