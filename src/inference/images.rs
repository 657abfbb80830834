//! Images in a rendered prompt: they replace the tags (`[img-0]`, `[img-1]`, …) of the renderers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::{ErrorKind as Kind, RequestError, internal, invalid};
use super::prepare::Prepared;
use super::types::RequestOptions;
use crate::chat::{Image, Message};
use crate::model::capability::Capability;
use crate::protocol::PromptPart;
use crate::protocol::media::is_sound;

/// What to do with an image that has no tag in the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placeless {
    /// Refuse it: the model's template ignores images, so the answer could not refer to it.
    Refused,
    /// Put it at the start.
    InFront,
}

/// Refuses images for a model without vision: images are never dropped silently. Requests that only show
/// the prompt are exempt.
pub(super) fn check(
    prepared: &Prepared,
    common: &RequestOptions,
    images: &[&Image],
) -> Result<(), RequestError> {
    if common.debug_render_only {
        return Ok(());
    }
    let name = &prepared.model.name;
    let has_sound = images.iter().any(|image| is_sound(&image.0));
    if has_sound && !prepared.has(Capability::Audio) {
        let error = invalid(format!("{name} does not support audio"));
        return Err(error.about("messages", "unsupported_value"));
    }
    if images.is_empty() || prepared.projector.is_some() {
        return Ok(());
    }
    if !has_sound && !prepared.has(Capability::Vision) {
        return Err(invalid(format!("{name} does not support vision")));
    }
    Err(RequestError::new(
        Kind::Unsupported,
        format!("{name} has an image encoder among its weights that drover cannot use"),
    ))
}

/// The images of messages, in order.
pub(super) fn of<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Vec<Image> {
    let images = messages.into_iter().flat_map(|message| &message.images);
    images.cloned().collect()
}

/// Splits a prompt at its tags, on the blocking pool, since images are large.
///
/// # Errors
/// An image has no tag, but needs one.
pub(super) async fn place(
    prompt: String,
    images: Vec<Image>,
    placeless: Placeless,
) -> Result<Vec<PromptPart>, RequestError> {
    if images.is_empty() {
        return Ok(vec![PromptPart::Text(prompt)]);
    }
    let parts = tokio::task::spawn_blocking(move || cut(&prompt, &images, placeless)).await;
    parts.map_err(|error| internal(error.to_string()))?
}

fn cut(
    prompt: &str,
    images: &[Image],
    placeless: Placeless,
) -> Result<Vec<PromptPart>, RequestError> {
    let encode = |image: &Image| PromptPart::Media(STANDARD.encode(&image.0));
    let mut is_placed = vec![false; images.len()];
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = prompt;
    while let Some(begin) = rest.find(TAG) {
        let (before, tag) = rest.split_at(begin);
        text.push_str(before);
        let number = number(tag).filter(|&(number, _)| is_placed.get(number) == Some(&false));
        if let Some((number, n_bytes)) = number {
            is_placed[number] = true;
            if !text.is_empty() {
                parts.push(PromptPart::Text(std::mem::take(&mut text)));
            }
            parts.push(encode(&images[number]));
            rest = &tag[n_bytes..];
        } else {
            text.push_str(TAG);
            rest = &tag[TAG.len()..];
        }
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(PromptPart::Text(text));
    }
    let left = images
        .iter()
        .zip(&is_placed)
        .filter(|(_, placed)| !**placed);
    let left: Vec<PromptPart> = left.map(|(image, _)| encode(image)).collect();
    if !left.is_empty() && placeless == Placeless::Refused {
        return Err(invalid(
            "the model's prompt template has no place for these images",
        ));
    }
    Ok(left.into_iter().chain(parts).collect())
}

const TAG: &str = "[img-";

/// The number in a tag, and the tag's length.
fn number(tag: &str) -> Option<(usize, usize)> {
    let end = tag.find(']')?;
    let number = tag[TAG.len()..end].parse().ok()?;
    Some((number, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> PromptPart {
        PromptPart::Text(text.to_owned())
    }

    /// An image of one byte.
    fn image(byte: u8) -> PromptPart {
        PromptPart::Media(STANDARD.encode([byte]))
    }

    fn cut(prompt: &str, n_images: u8) -> Result<Vec<PromptPart>, RequestError> {
        let images: Vec<Image> = (0..n_images).map(|byte| Image(vec![byte].into())).collect();
        super::cut(prompt, &images, Placeless::Refused)
    }

    #[test]
    fn images_stand_where_their_tags_stood() {
        let parts = cut("one [img-0] two[img-1]", 2).unwrap();
        assert_eq!(parts, [text("one "), image(0), text(" two"), image(1)]);
        // Matched by number, and each tag once; everything else that looks like a tag is text.
        let parts = cut("[img-1][img-0]? [img-0] [img-7] [img-x] [img-", 2).unwrap();
        let rest = "? [img-0] [img-7] [img-x] [img-";
        assert_eq!(parts, [image(1), image(0), text(rest)]);
    }

    #[test]
    fn an_image_without_a_place_is_refused_or_comes_first() {
        let error = cut("a text [img-0]", 2).unwrap_err();
        assert_eq!(error.kind, Kind::Invalid);
        assert!(error.message.contains("no place"), "{}", error.message);
        let images = [0, 1].map(|byte| Image(vec![byte].into()));
        let parts = super::cut("a text [img-0]", &images, Placeless::InFront).unwrap();
        assert_eq!(parts, [image(1), text("a text "), image(0)]);
    }
}
