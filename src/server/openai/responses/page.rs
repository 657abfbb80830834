//! The query of paged lists (`after`, `limit`, `order`) and of streams (`stream`, `starting_after`).

use axum::http::Uri;
use axum::response::Response;

use crate::dialect::openai::responses::{item_list, stored};
use crate::error::RequestError;
use crate::history::{Item, Page};
use crate::server::error::OpenAiError;
use crate::server::openai::answer;
use crate::server::query::parameter;
use crate::server::state::App;
use crate::server::stream::to_bytes;

/// The number of items of a page: the default, and the most.
const USUAL: usize = 20;
const MOST: usize = 100;

/// Answers with a page of items and whether there are more. The items are read on the blocking pool, since they
/// may be large.
///
/// # Errors
/// An item cannot be read.
pub(super) async fn item_page(
    app: &App,
    (items, has_more): (Vec<Item>, bool),
) -> Result<Response, OpenAiError> {
    let listing = app.block(move || {
        let items = items.iter().map(|item| stored(&item.body));
        let items = items.collect::<Result<_, RequestError>>()?;
        Ok::<_, RequestError>(to_bytes(&item_list(items, has_more)))
    });
    Ok(answer(listing.await??))
}

/// The default order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server::openai) enum Order {
    Ascending,
    Descending,
}

/// Reads which items a list shows.
///
/// # Errors
/// Refuses invalid values.
pub(in crate::server::openai) fn page(uri: &Uri, usual: Order) -> Result<Page, RequestError> {
    let wrong = |param: &'static str, expected: &str| {
        let message = format!("Invalid '{param}': expected {expected}.");
        RequestError::invalid(message).about(param, "invalid_value")
    };
    let limit = match parameter(uri, "limit") {
        None => USUAL,
        Some(text) => {
            let number = text.parse().ok().filter(|n| (1..=MOST).contains(n));
            number.ok_or_else(|| wrong("limit", "a number from 1 to 100"))?
        }
    };
    let is_descending = match parameter(uri, "order").as_deref() {
        None => usual == Order::Descending,
        Some("desc") => true,
        Some("asc") => false,
        Some(_) => return Err(wrong("order", "'asc' or 'desc'")),
    };
    Ok(Page {
        after: parameter(uri, "after").filter(|id| !id.is_empty()),
        limit,
        is_descending,
    })
}

/// Whether the client wants a stream, and after which event it starts.
///
/// # Errors
/// Refuses invalid values.
pub(super) fn stream(uri: &Uri) -> Result<Option<Option<u64>>, RequestError> {
    let is_stream = matches!(parameter(uri, "stream").as_deref(), Some("true" | "1"));
    let after = parameter(uri, "starting_after").map(|text| {
        text.parse::<u64>().map_err(|_| {
            let error = RequestError::invalid("Invalid 'starting_after': expected a number.");
            error.about("starting_after", "invalid_value")
        })
    });
    let after = after.transpose()?;
    Ok(is_stream.then_some(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(query: &str) -> Uri {
        format!("/v1/x?{query}").parse().unwrap()
    }

    #[test]
    fn pages() {
        let usual = page(&"/v1/x".parse().unwrap(), Order::Descending).unwrap();
        assert_eq!(
            (usual.limit, usual.is_descending, usual.after),
            (20, true, None)
        );
        let asked = page(
            &uri("limit=5&order=asc&after=a%2Fb&include[]=x"),
            Order::Descending,
        )
        .unwrap();
        assert_eq!((asked.limit, asked.is_descending), (5, false));
        assert_eq!(asked.after.as_deref(), Some("a/b"));
        for wrong in ["limit=0", "limit=101", "limit=x", "order=up"] {
            assert!(page(&uri(wrong), Order::Ascending).is_err(), "{wrong}");
        }
        for (query, is_descending) in [("limit=5", false), ("order=desc", true)] {
            let asked = page(&uri(query), Order::Ascending).unwrap();
            assert_eq!(asked.is_descending, is_descending, "{query}");
        }
    }

    #[test]
    fn streams() {
        assert_eq!(stream(&uri("stream=false")).unwrap(), None);
        assert_eq!(stream(&uri("stream=true")).unwrap(), Some(None));
        let resumed = stream(&uri("stream=true&starting_after=7")).unwrap();
        assert_eq!(resumed, Some(Some(7)));
        assert!(stream(&uri("stream=true&starting_after=-1")).is_err());
    }
}
