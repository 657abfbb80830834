//! The file of requests: used as it is, or made from prompts in a table or in lines of text. Blocks.

use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Seek as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// The column that is the prompt where `--prompt` is missing and there are several columns.
const TEXT: &str = "text";

/// The flags' values.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) prompt: Option<String>,
    pub(super) system: Option<String>,
    pub(super) model: Option<String>,
    pub(super) max_tokens: Option<u32>,
    pub(super) endpoint: Option<String>,
}

/// Requests, ready to be sent.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) file: std::fs::File,
    pub(super) bytes: u64,
    /// The file name that the server is told.
    pub(super) name: String,
    pub(super) endpoint: String,
}

impl Input {
    /// Opens a file of requests, or makes one of a table (`.csv`, `.tsv`) or of lines of text.
    ///
    /// # Errors
    /// The file cannot be read, or the flags do not fit it.
    pub(super) fn open(path: &Path, wishes: &Wishes) -> anyhow::Result<Self> {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy());
        let name = format!("{}.jsonl", stem.as_deref().unwrap_or("requests"));
        let extension = path.extension().map(|kind| kind.to_ascii_lowercase());
        let kind = extension.as_deref().and_then(|kind| kind.to_str());
        let file = fs_err::File::open(path)?;
        let (mut file, endpoint) = match kind {
            Some("jsonl") => {
                let endpoint = match &wishes.endpoint {
                    Some(endpoint) => endpoint.clone(),
                    None => endpoint_of(path)?,
                };
                (file.into_parts().0, endpoint)
            }
            Some("csv") => (
                made(wishes, |each| table(file, b',', wishes, each))?,
                CHAT.to_owned(),
            ),
            Some("tsv") => (
                made(wishes, |each| table(file, b'\t', wishes, each))?,
                CHAT.to_owned(),
            ),
            _ => (
                made(wishes, |each| lines(file, wishes, each))?,
                CHAT.to_owned(),
            ),
        };
        let bytes = file.seek(io::SeekFrom::End(0))?;
        file.rewind()?;
        Ok(Self {
            file,
            bytes,
            name,
            endpoint,
        })
    }
}

/// The route of the first request.
fn endpoint_of(path: &Path) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Line {
        url: String,
    }
    for line in BufReader::new(fs_err::File::open(path)?).lines() {
        let line = line?;
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() {
            continue;
        }
        let first: Line = serde_json::from_str(line).context(
            "the first line is no request of OpenAI's batches (custom_id, method, url, body)",
        )?;
        return Ok(first.url);
    }
    anyhow::bail!("the file is empty")
}

/// Writes requests into an unnamed temporary file.
fn made(
    wishes: &Wishes,
    prompts: impl FnOnce(&mut dyn FnMut(&str) -> io::Result<()>) -> anyhow::Result<()>,
) -> anyhow::Result<std::fs::File> {
    let model = wishes
        .model
        .as_deref()
        .context("--model says which model answers")?;
    let file = tempfile::tempfile()?;
    let mut writer = BufWriter::new(file);
    let mut number = 0_u64;
    prompts(&mut |prompt| {
        number += 1;
        let line = request(number, model, prompt, wishes);
        writeln!(writer, "{line}")
    })?;
    anyhow::ensure!(number > 0, "there are no prompts in it");
    Ok(writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?)
}

fn request(number: u64, model: &str, prompt: &str, wishes: &Wishes) -> Value {
    let mut messages = Vec::new();
    if let Some(system) = &wishes.system {
        messages.push(json!({"role": "system", "content": system}));
    }
    messages.push(json!({"role": "user", "content": prompt}));
    let mut body = json!({"model": model, "messages": messages});
    if let Some(max_tokens) = wishes.max_tokens {
        body["max_tokens"] = max_tokens.into();
    }
    json!({"custom_id": number.to_string(), "method": "POST", "url": CHAT, "body": body})
}

/// One prompt per row of a table whose first row names the columns.
fn table(
    file: impl Read,
    delimiter: u8,
    wishes: &Wishes,
    each: &mut dyn FnMut(&str) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(file);
    let columns: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let template = match &wishes.prompt {
        Some(prompt) => prompt.clone(),
        None if columns.len() == 1 => format!("{{{}}}", columns[0]),
        None => format!("{{{TEXT}}}"),
    };
    let template = Template::parse(&template, &columns)?;
    for row in reader.records() {
        let row = row?;
        each(&template.fill(|column| row.get(column).unwrap_or_default()))?;
    }
    Ok(())
}

/// One prompt per line.
fn lines(
    file: impl Read,
    wishes: &Wishes,
    each: &mut dyn FnMut(&str) -> io::Result<()>,
) -> anyhow::Result<()> {
    let template = wishes.prompt.as_deref().unwrap_or("{text}");
    let template = Template::parse(template, &[TEXT.to_owned()])?;
    for line in BufReader::new(file).lines() {
        let line = line?;
        let line = line.trim_start_matches('\u{feff}').trim_end();
        if !line.is_empty() {
            each(&template.fill(|_| line))?;
        }
    }
    Ok(())
}

/// A text with placeholders for columns: `Summarise: {text}`. `{{` and `}}` are literal braces.
#[derive(Debug, PartialEq)]
struct Template(Vec<Piece>);

#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    Column(usize),
}

impl Template {
    fn parse(text: &str, columns: &[String]) -> anyhow::Result<Self> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let inside = rest.split_once('}').filter(|_| brace == "{");
            let Some((name, after)) = inside else {
                anyhow::bail!("--prompt: a single `{brace}` ({{{{ and }}}} stand for braces)");
            };
            let Some(column) = columns.iter().position(|column| column == name.trim()) else {
                anyhow::bail!(
                    "--prompt: there is no column `{name}`, only {}",
                    columns.join(", ")
                );
            };
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Column(column));
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Self(pieces))
    }

    fn fill<'a>(&'a self, value: impl Fn(usize) -> &'a str) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Column(column) => value(*column),
        });
        pieces.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(name: &str, text: &str, wishes: &Wishes) -> anyhow::Result<(Vec<Value>, String)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs_err::write(&path, text).unwrap();
        let input = Input::open(&path, wishes)?;
        let mut text = String::new();
        (&input.file).read_to_string(&mut text)?;
        assert_eq!(input.bytes, text.len() as u64);
        let lines = text.lines().filter(|line| !line.is_empty());
        let lines = lines.map(|line| serde_json::from_str(line).unwrap());
        Ok((lines.collect(), input.endpoint))
    }

    fn wishes(prompt: Option<&str>) -> Wishes {
        Wishes {
            prompt: prompt.map(str::to_owned),
            model: Some("m".to_owned()),
            ..Wishes::default()
        }
    }

    fn prompts(name: &str, text: &str, prompt: Option<&str>) -> Result<Vec<String>, String> {
        let (lines, endpoint) =
            requests(name, text, &wishes(prompt)).map_err(|error| format!("{error:#}"))?;
        assert_eq!(endpoint, CHAT);
        let text = |line: &Value| {
            line["body"]["messages"][0]["content"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        Ok(lines.iter().map(text).collect())
    }

    #[test]
    fn rows_and_lines_become_requests() {
        let table = "name,text\nA,\"one, \"\"two\"\"\"\nB,\"x\ny\"\n";
        let filled = prompts("a.csv", table, Some("{name}: {{{text}}}"));
        assert_eq!(filled.unwrap(), ["A: {one, \"two\"}", "B: {x\ny}"]);
        assert_eq!(
            prompts("a.csv", table, None).unwrap(),
            ["one, \"two\"", "x\ny"]
        );
        assert_eq!(prompts("a.tsv", "q\nwhy\n", None).unwrap(), ["why"]);
        let lines = prompts("a.txt", "\u{feff}one\n\ntwo  \n", Some("Say {text}!"));
        assert_eq!(lines.unwrap(), ["Say one!", "Say two!"]);
        let all = Wishes {
            system: Some("Be brief.".to_owned()),
            max_tokens: Some(5),
            ..wishes(None)
        };
        let (lines, _) = requests("a", "x", &all).unwrap();
        let expected = json!({
            "custom_id": "1", "method": "POST", "url": CHAT,
            "body": {
                "model": "m",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "x"},
                ],
                "max_tokens": 5,
            },
        });
        assert_eq!(lines, [expected]);
    }

    #[test]
    fn requests_go_as_they_are() {
        let line = json!({"custom_id": "a", "url": "/v1/embeddings"});
        let (lines, endpoint) = requests("a.JSONL", &format!("\n{line}"), &Wishes::default())
            .unwrap_or_else(|_| panic!());
        assert_eq!((lines, endpoint.as_str()), (vec![line], "/v1/embeddings"));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for (name, text, prompt, message) in [
            (
                "a.csv",
                "a,b\n1,2\n",
                None,
                "--prompt: there is no column `text`, only a, b",
            ),
            (
                "a.txt",
                "x",
                Some("{other}"),
                "--prompt: there is no column `other`, only text",
            ),
            (
                "a.txt",
                "x",
                Some("{text"),
                "--prompt: a single `{` ({{ and }} stand for braces)",
            ),
            (
                "a.txt",
                "x",
                Some("a } b"),
                "--prompt: a single `}` ({{ and }} stand for braces)",
            ),
            ("a.txt", "\n", None, "there are no prompts in it"),
        ] {
            assert_eq!(prompts(name, text, prompt).unwrap_err(), message);
        }
        let without = requests("a.txt", "x", &Wishes::default()).unwrap_err();
        assert_eq!(without.to_string(), "--model says which model answers");
        let empty = requests("a.jsonl", "\n", &Wishes::default()).unwrap_err();
        assert_eq!(empty.to_string(), "the file is empty");
    }
}
