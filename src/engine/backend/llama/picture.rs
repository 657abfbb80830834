//! Decodes the images that clients send to pixels.
//!
//! A few bytes can claim to be gigabytes of pixels. So a file's header is read first, and images that are too
//! large are refused before anything is decoded ([`size`]).

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::{jpeg, webp};

/// Most pixels of an image: photos of 50 megapixels and panoramas of 63 are common, larger ones are
/// made for printing. A model sees a megapixel or two of it.
const MAX_PIXELS: u64 = 64 << 20;

/// Most pixels of a side, the limit of formats made for the web.
const MAX_SIDE: u32 = 16_384;

/// The most that the longer side may be, in lengths of the shorter one. Beyond it the preprocessing of most
/// models makes no sense, and some models' pads images to squares.
const MAX_ASPECT: u32 = 200;

/// Bytes of a decoded file: four for each pixel. Files with 16 bits for a color may have half as many pixels.
/// A decoder may take as much again for itself.
const MAX_BYTES: u64 = 4 * MAX_PIXELS;

/// More pixels than any model uses: a larger image is scaled down by a whole number as soon as it is decoded.
/// The largest known input is four megapixels in tiles.
const USED_PIXELS: u64 = 16 << 20;

/// Most scans of a JPEG file, each of which goes over the whole image. Cameras and common programs write one,
/// or about ten.
const MAX_SCANS: usize = 100;

/// Most pixels of all images of one request: twenty photos of 12 megapixels.
const MAX_PIXELS_OF_REQUEST: u64 = 4 * MAX_PIXELS;

/// Why a file is refused as an image.
#[derive(Debug, thiserror::Error)]
pub(super) enum PictureError {
    #[error("invalid image: it is none of PNG, JPEG, WebP, GIF and BMP")]
    Unknown,
    #[error("invalid image: {0}")]
    Broken(image::ImageError),
    #[error("invalid image: it has no pixels")]
    Empty,
    #[error("invalid image: it ends too early")]
    Cut,
    #[error(
        "the image of {0}x{1} pixels is too large: make it smaller, {megapixels} megapixels and {MAX_SIDE} pixels a side are the most",
        megapixels = MAX_PIXELS / 1_000_000
    )]
    Large(u32, u32),
    /// Its decoder would need more memory than allowed.
    #[error(
        "the image is too large: make it smaller, decoding it takes more than {megabytes} MB of memory",
        megabytes = 2 * MAX_BYTES / 1_000_000
    )]
    Memory,
    #[error(
        "the image is too complicated: a JPEG file may have {MAX_SCANS} scans, this one has {0}"
    )]
    Scans(usize),
    #[error(
        "the image of {0}x{1} pixels is too long: one side may be at most {MAX_ASPECT} times the other"
    )]
    Long(u32, u32),
    #[error(
        "the images of this request are too large together: {megapixels} megapixels are the most, make them smaller or send fewer",
        megapixels = MAX_PIXELS_OF_REQUEST / 1_000_000
    )]
    Together,
}

impl From<image::ImageError> for PictureError {
    fn from(error: image::ImageError) -> Self {
        match error {
            image::ImageError::Limits(_) => Self::Memory,
            error => Self::Broken(error),
        }
    }
}

/// The pixels of the images of a request.
#[derive(Debug, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// Adds an image of that size.
    ///
    /// # Errors
    /// There are too many pixels.
    pub(super) fn add(&mut self, (width, height): (u32, u32)) -> Result<(), PictureError> {
        self.0 = self.0.saturating_add(area(width, height));
        if self.0 > MAX_PIXELS_OF_REQUEST {
            return Err(PictureError::Together);
        }
        Ok(())
    }
}

/// Width and height of the image in a file, without decoding it.
///
/// # Errors
/// The file is not an image, or of a kind that is not decoded.
pub(super) fn size(file: &[u8]) -> Result<(u32, u32), PictureError> {
    open(file).map(|decoder| decoder.dimensions())
}

/// Reads a file's header.
fn open(file: &[u8]) -> Result<impl ImageDecoder, PictureError> {
    let mut reader = ImageReader::new(Cursor::new(file))
        .with_guessed_format()
        .map_err(image::ImageError::IoError)?;
    let format = reader.format().ok_or(PictureError::Unknown)?;
    if format == ImageFormat::WebP {
        let frames = webp::frames(file).map_err(|webp::Cut| PictureError::Cut)?;
        for (width, height) in frames {
            check(width, height)?;
        }
    }
    let work = match format {
        ImageFormat::Jpeg => jpeg::work(file),
        _ => jpeg::Work::default(),
    };
    // The largest side is checked below, with a better message.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    check(width, height)?;
    if decoder.total_bytes() > MAX_BYTES {
        return Err(PictureError::Large(width, height));
    }
    if work.n_scans > MAX_SCANS {
        return Err(PictureError::Scans(work.n_scans));
    }
    if work.n_bytes > MAX_BYTES {
        return Err(PictureError::Memory);
    }
    Ok(decoder)
}

fn check(width: u32, height: u32) -> Result<(), PictureError> {
    let (longer, shorter) = (width.max(height), width.min(height));
    if shorter == 0 {
        return Err(PictureError::Empty);
    }
    if longer > MAX_SIDE || area(width, height) > MAX_PIXELS {
        return Err(PictureError::Large(width, height));
    }
    if longer / shorter > MAX_ASPECT {
        return Err(PictureError::Long(width, height));
    }
    Ok(())
}

fn area(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}

/// An image, decoded.
#[derive(Debug)]
pub(super) struct Picture(RgbImage);

impl Picture {
    /// Decodes a file, the right way up; transparent pixels become white.
    ///
    /// # Errors
    /// Those of [`size`], and errors that only decoding shows.
    pub(super) fn decode(file: &[u8]) -> Result<Self, PictureError> {
        let mut decoder = open(file)?;
        // How the camera was held, from the photo's metadata.
        let orientation = decoder.orientation()?;
        let mut image = shrunk(DynamicImage::from_decoder(decoder)?);
        image.apply_orientation(orientation);
        Ok(Self(on_white(image)))
    }

    /// Width and height in pixels.
    pub(super) fn size(&self) -> (u32, u32) {
        self.0.dimensions()
    }

    /// Red, green, blue of every pixel, line by line.
    pub(super) fn pixels(&self) -> &[u8] {
        self.0.as_raw()
    }
}

/// Scales an image down to at most [`USED_PIXELS`], each the average of the pixels in its place.
fn shrunk(image: DynamicImage) -> DynamicImage {
    let (width, height) = (image.width(), image.height());
    let factors = 1..=width.min(height);
    let is_enough = |factor: &u32| area(width / factor, height / factor) <= USED_PIXELS;
    match factors.into_iter().find(is_enough) {
        None | Some(1) => image,
        Some(factor) => image.thumbnail_exact(width / factor, height / factor),
    }
}

fn on_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let image::Rgba([red, green, blue, alpha]) = *image.get_pixel(x, y);
        let over = |color: u8| {
            let (color, alpha) = (u16::from(color), u16::from(alpha));
            u8::try_from((color * alpha + 255 * (255 - alpha)) / 255).unwrap_or(u8::MAX)
        };
        image::Rgb([red, green, blue].map(over))
    })
}

#[cfg(test)]
mod tests;
