//! The results as a table, as Markdown and as JSON.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use super::measure::Measured;
use super::plan::{Api, Arrival};
use super::summary::{Percentiles, Ratio, Ratios, Summary};
use crate::cli::ui::table;
use crate::client::Cpu;

const HEADERS: [&str; 9] = [
    "AT ONCE",
    "SERVER",
    "OK",
    "ERRORS",
    "TOKENS IN/CACHED/OUT",
    "TTFT MS P50/P95/P99",
    "ITL MS P50/P95/P99",
    "TOK/S EACH",
    "TOK/S ALL",
];

/// Everything that is reported.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) drover: &'static str,
    pub(super) model: String,
    pub(super) api: Api,
    pub(super) requests: u32,
    pub(super) pairs: u32,
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
    pub(super) arrival: Arrival,
    pub(super) shared_prefix: u32,
    pub(super) turns: u32,
    /// The file of prompts, if they are not generated.
    pub(super) prompts: Option<String>,
    pub(super) seed: u32,
    /// From the servers that report it.
    pub(super) cpus: Vec<ServerCpu>,
    pub(super) levels: Vec<LevelReport>,
}

/// The instruction sets that a server uses: they can differ between builds of one program.
#[derive(Debug, Serialize)]
pub(super) struct ServerCpu {
    pub(super) url: String,
    #[serde(flatten)]
    pub(super) cpu: Cpu,
}

impl ServerCpu {
    pub(super) fn line(&self) -> String {
        let (url, used, unused) = (&self.url, &self.cpu.used, &self.cpu.unused);
        let used = if used.is_empty() {
            "no special instructions"
        } else {
            used
        };
        if unused.is_empty() {
            format!("{url} computes with {used}")
        } else {
            format!("{url} computes with {used}, its processor also has {unused}")
        }
    }
}

/// The measurements with one number of concurrent requests.
#[derive(Debug, Serialize)]
pub(super) struct LevelReport {
    pub(super) concurrency: u16,
    /// In the order of the command line, whichever server was measured first.
    pub(super) servers: Vec<ServerReport>,
    /// The first server divided by the second, pair by pair.
    pub(super) ratio: Option<Ratios>,
}

/// One server's numbers.
#[derive(Debug, Serialize)]
pub(super) struct ServerReport {
    pub(super) url: String,
    #[serde(flatten)]
    pub(super) summary: Summary,
}

impl LevelReport {
    /// Combines the pairs of a row: for each pair the measurements of all servers, which are always in the same order.
    pub(super) fn new(concurrency: u16, urls: Vec<String>, pairs: Vec<Vec<Measured>>) -> Self {
        let ratios: Vec<Ratio> = pairs
            .iter()
            .filter_map(|pair| match pair.as_slice() {
                [one, other] => Some(Ratio::of(&Summary::of(one), &Summary::of(other))),
                _ => None,
            })
            .collect();
        let mut all: Vec<Measured> = urls.iter().map(|_| Measured::default()).collect();
        for (server, measured) in pairs.into_iter().flat_map(|pair| (0..).zip(pair)) {
            let server: usize = server;
            if let Some(whole) = all.get_mut(server) {
                whole.merge(measured);
            }
        }
        let servers = urls
            .into_iter()
            .zip(&all)
            .map(|(url, measured)| ServerReport {
                url,
                summary: Summary::of(measured),
            });
        Self {
            concurrency,
            servers: servers.collect(),
            ratio: Ratios::of(&ratios),
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let concurrency = self.concurrency.to_string();
        let servers = self.servers.iter().map(|server| {
            let summary = &server.summary;
            vec![
                concurrency.clone(),
                server.url.clone(),
                summary.n_ok.to_string(),
                summary.n_errors.to_string(),
                mean_tokens(summary),
                percentiles(summary.ttft_ms, ""),
                percentiles(summary.itl_ms, ""),
                number(summary.stream_tokens_per_s, ""),
                number(summary.total_tokens_per_s, ""),
            ]
        });
        let ratios = self.ratio.iter().flat_map(|ratios| {
            let spread = [("lowest", ratios.lowest), ("highest", ratios.highest)];
            let spread = spread.into_iter().filter(|_| ratios.n_pairs > 1);
            std::iter::once(("ratio", ratios.median)).chain(spread)
        });
        let ratios = ratios.map(|(name, ratio)| {
            vec![
                concurrency.clone(),
                name.to_owned(),
                String::new(),
                String::new(),
                String::new(),
                percentiles(ratio.ttft, "x"),
                percentiles(ratio.itl, "x"),
                number(ratio.stream_tokens_per_s, "x"),
                number(ratio.total_tokens_per_s, "x"),
            ]
        });
        servers.chain(ratios).collect()
    }
}

impl Report {
    /// The table of standard output; `width` = the terminal's columns.
    pub(super) fn table(&self, width: Option<usize>) -> String {
        let table = table::listing(&HEADERS, &self.rows());
        let widest = table.lines().map(|line| line.trim_end().len()).max();
        match width {
            Some(width) if widest.unwrap_or(0) > width => self.narrow(),
            _ => table,
        }
    }

    /// A table for each number of concurrent requests, with a column for each server.
    fn narrow(&self) -> String {
        let tables = self.levels.iter().map(|level| {
            let columns = level.rows();
            let at_once = format!("{} AT ONCE", level.concurrency);
            let names = columns.iter().map(|column| {
                let name = &column[1];
                name.split_once("://").map_or(&**name, |(_, name)| name)
            });
            let headers: Vec<&str> = std::iter::once(&*at_once).chain(names).collect();
            let rows = HEADERS.iter().enumerate().skip(2).map(|(index, title)| {
                let cells = columns.iter().map(|column| column[index].clone());
                std::iter::once((*title).to_owned()).chain(cells).collect()
            });
            table::listing(&headers, &rows.collect::<Vec<_>>())
        });
        tables.collect::<Vec<_>>().join("\n")
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = format!("{}\n\n", self.description());
        for cpu in &self.cpus {
            text.push_str(&format!("{}.\n\n", cpu.line()));
        }
        let rule = HEADERS.map(|_| "---".to_owned());
        let mut push = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        };
        push(&HEADERS.map(str::to_owned));
        push(&rule);
        for row in self.rows() {
            push(&row);
        }
        text
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        Ok(format!("{}\n", serde_json::to_string_pretty(self)?))
    }

    /// The error texts with their counts, one line each.
    pub(super) fn errors(&self) -> Vec<String> {
        let servers = self.levels.iter().flat_map(|level| {
            let at_once = level.concurrency;
            level.servers.iter().map(move |server| (at_once, server))
        });
        servers
            .flat_map(|(at_once, server)| {
                let errors = server.summary.errors.iter();
                errors.map(move |(text, count)| {
                    format!("{} at {at_once}: {count} times: {text}", server.url)
                })
            })
            .collect()
    }

    /// Whether some server gave no answer at all.
    pub(super) fn is_failure(&self) -> bool {
        let mut servers = self.levels.iter().flat_map(|level| &level.servers);
        servers.any(|server| server.summary.n_ok == 0)
    }

    pub(super) fn description(&self) -> String {
        let arrival = match self.arrival {
            Arrival::Closed => "closed loop".to_owned(),
            Arrival::Poisson(rate) => format!("{rate} requests/s at random"),
        };
        let prompts = match &self.prompts {
            Some(file) => format!("prompts from `{file}`"),
            None => format!(
                "prompts of about {} tokens ({} shared)",
                self.prompt_tokens, self.shared_prefix
            ),
        };
        format!(
            "`{}`, {} times {} requests of {} turns per row, {prompts}, at most {} tokens of \
             output, {arrival}, seed {}. Measured by drover {}.",
            self.model,
            self.pairs,
            self.requests,
            self.turns,
            self.output_tokens,
            self.seed,
            self.drover
        )
    }

    fn rows(&self) -> Vec<Vec<String>> {
        self.levels.iter().flat_map(LevelReport::rows).collect()
    }
}

/// Writes a file whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// Mean lengths of prompts, of their cached part, and of answers, as the server counts.
fn mean_tokens(summary: &Summary) -> String {
    let rounded = |mean: Option<f64>| mean.map_or("-".to_owned(), |mean| format!("{mean:.0}"));
    format!(
        "{}/{}/{}",
        rounded(summary.mean_prompt_tokens),
        rounded(summary.mean_cached_tokens),
        rounded(summary.mean_output_tokens)
    )
}

fn percentiles(values: Percentiles, unit: &str) -> String {
    [values.p50, values.p95, values.p99]
        .map(|value| number(value, unit))
        .join("/")
}

/// A value with its unit; ratios (`x`) and small values have two decimals.
fn number(value: Option<f64>, unit: &str) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if unit == "x" || value < 10.0 => format!("{value:.2}{unit}"),
        Some(value) => format!("{value:.1}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::request::Sample;
    use super::*;

    fn measured(to_first_ms: u64) -> Measured {
        Measured {
            samples: vec![Sample {
                to_first: Duration::from_millis(to_first_ms),
                n_prompt: 9,
                n_output: 8,
                ..Sample::default()
            }],
            errors: vec!["a|b".to_owned()],
            wall: Duration::from_secs(2),
        }
    }

    fn level(urls: &[&str], pairs: Vec<Vec<Measured>>) -> LevelReport {
        let urls = urls.iter().map(|&url| url.to_owned());
        LevelReport::new(4, urls.collect(), pairs)
    }

    #[test]
    fn a_pair_has_a_row_of_ratios() {
        let level = level(&["one", "two"], vec![vec![measured(5), measured(20)]]);
        let rows = level.rows();
        let row = |cells: [&str; 9]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            rows,
            [
                row([
                    "4",
                    "one",
                    "1",
                    "1",
                    "9/-/8",
                    "5.00/5.00/5.00",
                    "-/-/-",
                    "-",
                    "4.00"
                ]),
                row([
                    "4",
                    "two",
                    "1",
                    "1",
                    "9/-/8",
                    "20.0/20.0/20.0",
                    "-/-/-",
                    "-",
                    "4.00"
                ]),
                row([
                    "4",
                    "ratio",
                    "",
                    "",
                    "",
                    "0.25x/0.25x/0.25x",
                    "-/-/-",
                    "-",
                    "1.00x"
                ]),
            ]
        );
    }

    #[test]
    fn a_single_server_has_no_ratio() {
        assert_eq!(level(&["one"], vec![vec![measured(5)]]).ratio, None);
    }

    #[test]
    fn several_pairs_add_up_and_have_a_spread() {
        let pair = |one, other| vec![measured(one), measured(other)];
        let level = level(
            &["one", "two"],
            vec![pair(10, 10), pair(10, 20), pair(10, 40)],
        );
        assert_eq!(
            (
                level.servers[0].summary.n_ok,
                level.servers[0].summary.wall_s
            ),
            (3, 6.0)
        );
        let rows = level.rows();
        let ttft: Vec<_> = rows[2..].iter().map(|row| [&row[1], &row[5]]).collect();
        assert_eq!(
            ttft,
            [
                ["ratio", "0.50x/0.50x/0.50x"],
                ["lowest", "0.25x/0.25x/0.25x"],
                ["highest", "1.00x/1.00x/1.00x"]
            ]
        );
    }

    #[test]
    fn files_are_written_whole() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("result.md");
        write(&path, "old").unwrap();
        write(&path, "new").unwrap();
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "new");
        let left = fs_err::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "something was left beside the file");
        assert!(write(&folder.path().join("no/result.md"), "x").is_err());
    }
}
