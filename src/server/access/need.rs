//! What each route needs.

use crate::keys::Scope;

/// What a request needs to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Need {
    /// Nothing: load balancers and clients that look for a server probe this route.
    Nothing,
    /// A key with this scope.
    Scope(Scope),
}

use Need::{Nothing, Scope as Needs};
use Scope::{Admin, Inference, Metrics, Models};

/// The routes, by path.
#[rustfmt::skip]
const LINES: &[(&str, Need)] = &[
    ("/", Nothing),
    ("/health", Nothing),
    ("/ready", Nothing),
    ("/api/version", Nothing),
    ("/openapi.json", Nothing),
    ("/metrics", Needs(Metrics)),

    ("/api/status", Needs(Inference)),
    ("/api/tags", Needs(Inference)),
    ("/api/ps", Needs(Inference)),
    ("/api/show", Needs(Inference)),
    ("/api/fit", Needs(Inference)),
    ("/api/generate", Needs(Inference)),
    ("/api/chat", Needs(Inference)),
    ("/api/embed", Needs(Inference)),
    ("/api/embeddings", Needs(Inference)),
    ("/api/pull", Needs(Models)),
    ("/api/push", Needs(Models)),
    ("/api/create", Needs(Models)),
    ("/api/copy", Needs(Models)),
    ("/api/delete", Needs(Models)),
    ("/api/blobs/{digest}", Needs(Models)),
    ("/api/me", Needs(Inference)),
    ("/api/signout", Needs(Inference)),
    ("/api/user/keys/{key}", Needs(Inference)),
    ("/api/experimental/web_search", Needs(Inference)),
    ("/api/experimental/web_fetch", Needs(Inference)),
    ("/api/experimental/model-recommendations", Needs(Inference)),

    ("/v1/completions", Needs(Inference)),
    ("/v1/embeddings", Needs(Inference)),
    ("/v1/decisions", Needs(Inference)),
    ("/v1/audio/transcriptions", Needs(Inference)),
    ("/v1/models", Needs(Inference)),
    ("/v1/models/{*model}", Needs(Inference)),

    ("/v1/rerank", Needs(Inference)),
    ("/v1/reranking", Needs(Inference)),
    ("/v2/rerank", Needs(Inference)),
    ("/rerank", Needs(Inference)),
    ("/reranking", Needs(Inference)),
    ("/v1/score", Needs(Inference)),
    ("/score", Needs(Inference)),
    ("/v1/systemone", Needs(Inference)),
    ("/tokenize", Needs(Inference)),
    ("/detokenize", Needs(Inference)),
    ("/apply-template", Needs(Inference)),
    ("/infill", Needs(Inference)),
    ("/props", Needs(Inference)),
    ("/slots", Needs(Metrics)),

    ("/ui", Nothing),
    ("/ui/{*file}", Nothing),
    ("/api/drover/events", Needs(Metrics)),

    ("/api/keys", Needs(Admin)),
    ("/api/keys/{name}", Needs(Admin)),
];

/// All routes below these paths need the same.
const GROUPS: &[(&str, Need)] = &[
    ("/v1/chat/completions", Needs(Inference)),
    ("/v1/files", Needs(Inference)),
    ("/v1/uploads", Needs(Inference)),
    ("/v1/batches", Needs(Inference)),
    ("/v1/responses", Needs(Inference)),
    ("/v1/conversations", Needs(Inference)),
    ("/v1/messages", Needs(Inference)),
];

impl Need {
    /// What the route with this path needs.
    pub(in crate::server) fn of(path: &str) -> Self {
        Self::known(path).unwrap_or(Needs(Admin))
    }

    fn known(path: &str) -> Option<Self> {
        let line = LINES.iter().find(|(line, _)| *line == path);
        let in_group = |group: &str| {
            let rest = path.strip_prefix(group);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let found = line.or_else(|| GROUPS.iter().find(|(group, _)| in_group(group)));
        found.map(|(_, need)| *need)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::router::table;

    #[test]
    fn every_route_has_its_need_and_every_need_its_route() {
        let table = table();
        let lines = table.lines();
        assert!(lines.len() > 50);
        for line in lines {
            assert!(
                Need::known(line.path).is_some(),
                "{} has no scope",
                line.path
            );
        }
        for (path, _) in LINES {
            assert!(
                lines.iter().any(|line| line.path == *path),
                "{path} is no route"
            );
        }
        for (group, _) in GROUPS {
            let is_below = |line: &&crate::server::router::Line| line.path.starts_with(group);
            assert!(
                lines.iter().any(|line| is_below(&line)),
                "{group} has no route"
            );
        }
        assert_eq!(Need::of("/new"), Needs(Admin));
        assert_eq!(Need::of("/v1/filesystem"), Needs(Admin));
    }
}
