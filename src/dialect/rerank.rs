//! Reranking: requests in several formats; results, best first.

use std::cmp::Reverse;

use super::openai::Head;
use crate::api::openai::EmbeddingUsage;
use crate::api::rerank::{
    ApiVersion, Document, Meta, RankedText, RerankRequest, RerankResponse, RerankResult,
    ReturnedDocument, Score, ScoreRequest, ScoreResponse, Texts,
};
use crate::error::RequestError;
use crate::inference;
use crate::inference::{Pair, RequestOptions};

/// The most documents of a request.
const MOST_DOCUMENTS: usize = 10_000;

/// The most bytes of all pairs: each pair has its own copy of the query.
const MOST_BYTES: usize = 64 << 20;

/// A converted request, and what the answer needs.
#[derive(Debug)]
pub struct Rerank {
    pub native: inference::RerankRequest,
    form: Form,
    top_n: usize,
    /// The documents, if the answer repeats them.
    returned: Option<Vec<String>>,
}

/// The format of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Jina's and Cohere's.
    Results,
    /// Text-embeddings-inference's.
    Texts,
}

/// The answer in one of its formats.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Answer {
    Results(RerankResponse),
    Texts(Vec<RankedText>),
}

/// Converts a request.
///
/// # Errors
/// Names the field that is missing or not valid.
pub fn rerank(wire: RerankRequest) -> Result<Rerank, RequestError> {
    let query = match wire.query {
        Some(Document(query)) if !query.is_empty() => query,
        _ => return Err(missing("query", "\"query\" must be provided")),
    };
    let (documents, form, returns) = if wire.documents.is_empty() {
        (wire.texts, Form::Texts, wire.return_text)
    } else {
        (wire.documents, Form::Results, wire.return_documents)
    };
    if documents.is_empty() {
        let message = "\"documents\" must be a non-empty string array";
        return Err(missing("documents", message));
    }
    if documents.len() > MOST_DOCUMENTS {
        let message = format!("\"documents\" must have at most {MOST_DOCUMENTS} entries");
        return Err(RequestError::invalid(message).about("documents", "array_above_max_length"));
    }
    check_size(documents.len() * query.len())?;
    let top_n = match wire.top_n {
        None => documents.len(),
        Some(n) => match usize::try_from(n) {
            Ok(n) if n > 0 => n,
            _ => {
                let error = RequestError::invalid("\"top_n\" must be greater than 0");
                return Err(error.about("top_n", "integer_below_min_value"));
            }
        },
    };
    let texts: Vec<String> = documents.into_iter().map(|Document(text)| text).collect();
    let returned = returns.then(|| texts.clone());
    let pairs = texts.into_iter().map(|document| Pair {
        query: query.clone(),
        document,
    });
    Ok(Rerank {
        native: inference::RerankRequest {
            pairs: pairs.collect(),
            common: RequestOptions {
                model: wire.model,
                ..RequestOptions::default()
            },
        },
        form,
        top_n,
        returned,
    })
}

impl Rerank {
    /// Makes the answer: best first, equal scores in the order of the request.
    pub fn answer(self, head: Head, scored: &inference::RerankResponse) -> Answer {
        let mut ranked: Vec<(usize, f32)> = scored.scores.iter().copied().enumerate().collect();
        ranked.sort_by_key(|&(_, score)| Reverse(Ordered(score)));
        ranked.truncate(self.top_n);
        let mut returned = self.returned.unwrap_or_default();
        let mut text = |index: usize| returned.get_mut(index).map(std::mem::take);
        let results = ranked.into_iter();
        match self.form {
            Form::Texts => Answer::Texts(
                results
                    .map(|(index, score)| RankedText {
                        index,
                        score,
                        text: text(index),
                    })
                    .collect(),
            ),
            Form::Results => Answer::Results(RerankResponse {
                id: head.id,
                model: head.model,
                object: "list",
                results: results
                    .map(|(index, relevance_score)| RerankResult {
                        index,
                        relevance_score,
                        document: text(index).map(|text| ReturnedDocument { text }),
                    })
                    .collect(),
                usage: usage(scored.n_prompt),
                meta: Meta {
                    api_version: ApiVersion { version: "2" },
                },
            }),
        }
    }
}

/// Converts a scoring request: one text against many, or each text against its counterpart.
///
/// # Errors
/// The numbers of texts do not match.
pub fn score(wire: ScoreRequest) -> Result<inference::RerankRequest, RequestError> {
    let (first, second) = (list(wire.text_1), list(wire.text_2));
    if first.is_empty() || second.is_empty() {
        let field = if first.is_empty() { "text_1" } else { "text_2" };
        return Err(missing(field, &format!("\"{field}\" must be provided")));
    }
    let n_pairs = first.len().max(second.len());
    let fits = |texts: &[String]| [1, n_pairs].contains(&texts.len());
    if !fits(&first) || !fits(&second) || n_pairs > MOST_DOCUMENTS {
        let message = format!(
            "\"text_1\" and \"text_2\" must have as many entries, or one of them one, and at most {MOST_DOCUMENTS}"
        );
        return Err(RequestError::invalid(message).about("text_2", "invalid_value"));
    }
    let longest = |texts: &[String]| texts.iter().map(String::len).max().unwrap_or(0);
    let copied = if first.len() == 1 { &first } else { &second };
    if first.len() != second.len() {
        check_size(n_pairs * longest(copied))?;
    }
    let at = |texts: &[String], index: usize| texts[index.min(texts.len() - 1)].clone();
    let pairs = (0..n_pairs).map(|index| Pair {
        query: at(&first, index),
        document: at(&second, index),
    });
    Ok(inference::RerankRequest {
        pairs: pairs.collect(),
        common: RequestOptions {
            model: wire.model,
            ..RequestOptions::default()
        },
    })
}

/// Makes the answer to a scoring request.
pub fn score_answer(head: Head, scored: &inference::RerankResponse) -> ScoreResponse {
    let scores = scored.scores.iter().enumerate();
    ScoreResponse {
        id: head.id,
        object: "list",
        created: head.created,
        model: head.model,
        data: scores
            .map(|(index, &score)| Score {
                index,
                object: "score",
                score,
            })
            .collect(),
        usage: usage(scored.n_prompt),
    }
}

fn check_size(n_bytes: usize) -> Result<(), RequestError> {
    if n_bytes <= MOST_BYTES {
        return Ok(());
    }
    let message = "the query is too long for so many documents";
    Err(RequestError::invalid(message).about("query", "string_above_max_length"))
}

fn list(texts: Texts) -> Vec<String> {
    match texts {
        Texts::One(text) => vec![text],
        Texts::Many(texts) => texts,
    }
}

fn usage(n_prompt: u32) -> EmbeddingUsage {
    EmbeddingUsage {
        prompt_tokens: n_prompt.into(),
        total_tokens: n_prompt.into(),
    }
}

fn missing(field: &'static str, message: &str) -> RequestError {
    RequestError::invalid(message).about(field, "missing_required_parameter")
}

/// A score that can be sorted.
#[derive(PartialEq)]
struct Ordered(f32);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
