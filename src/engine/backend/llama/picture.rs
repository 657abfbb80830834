//! What clients send as an image, as pixels.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};

/// Why a file is no image.
#[derive(Debug, thiserror::Error)]
pub(super) enum PictureError {
    #[error("invalid image: it is none of PNG, JPEG, WebP, GIF and BMP")]
    Unknown,
    #[error("sound is not supported yet, images are")]
    Sound,
    #[error("invalid image: {0}")]
    Broken(#[from] image::ImageError),
    #[error("invalid image: it has no pixels")]
    Empty,
}

/// An image, decoded.
#[derive(Debug)]
pub(super) struct Picture(RgbImage);

impl Picture {
    /// Decodes a file, the right way up; what is transparent becomes white. Files that would need more
    /// than half a gigabyte are refused (the library's limit).
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, PictureError> {
        if is_sound(bytes) {
            return Err(PictureError::Sound);
        }
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
        let reader = reader.map_err(image::ImageError::IoError)?;
        if reader.format().is_none() {
            return Err(PictureError::Unknown);
        }
        let mut decoder = reader.into_decoder()?;
        // As photos say that the camera was held.
        let orientation = decoder.orientation()?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        let image = on_white(image);
        if image.is_empty() {
            return Err(PictureError::Empty);
        }
        Ok(Self(image))
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

fn is_sound(bytes: &[u8]) -> bool {
    let is_wave = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WAVE");
    is_wave || bytes.starts_with(b"ID3") || bytes.starts_with(b"fLaC")
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
mod tests {
    use image::{ImageFormat, Rgba, RgbaImage};

    use super::*;

    fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn the_usual_formats_are_read() {
        let image = DynamicImage::from(RgbImage::from_pixel(4, 2, image::Rgb([200, 100, 50])));
        let lossless = [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP];
        for format in lossless {
            let picture = Picture::decode(&file(&image, format)).unwrap();
            assert_eq!(picture.size(), (4, 2), "{format:?}");
            assert_eq!(picture.pixels()[..3], [200, 100, 50], "{format:?}");
        }
        for format in [ImageFormat::Jpeg, ImageFormat::Gif] {
            let picture = Picture::decode(&file(&image, format)).unwrap();
            assert_eq!(picture.size(), (4, 2), "{format:?}");
        }
    }

    #[test]
    fn what_is_transparent_is_white() {
        let mut image = RgbaImage::from_pixel(2, 1, Rgba([10, 20, 30, 0]));
        image.put_pixel(1, 0, Rgba([10, 20, 30, 255]));
        let picture = Picture::decode(&file(&image.into(), ImageFormat::Png)).unwrap();
        assert_eq!(picture.pixels(), [255, 255, 255, 10, 20, 30]);
    }

    #[test]
    fn anything_else_is_refused_in_words() {
        let said = |bytes: &[u8]| Picture::decode(bytes).unwrap_err().to_string();
        assert!(said(b"%PDF-1.7").contains("none of PNG, JPEG"));
        assert!(said(b"RIFF\x24\0\0\0WAVEfmt ").contains("sound is not supported"));
        let png = file(&RgbImage::new(30, 30).into(), ImageFormat::Png);
        assert!(said(&png[..png.len() / 2]).starts_with("invalid image"));
        assert!(said(b"").contains("none of PNG, JPEG"));
    }
}
