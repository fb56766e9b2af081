//! Pictures as tensors of three channels, and the filters that have names.

use std::io::Cursor;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use sepconv::unstable::text::word;

use crate::failure::{Failure, Outcome};
use crate::files;

/// A colour picture: red, green and blue planes of values from 0 to 1.
#[derive(Debug)]
pub struct Picture {
    pub height: u32,
    pub width: u32,
    /// `[3, height, width]`
    pub values: Vec<f32>,
    /// How opaque each pixel is, from 0 to 1, `[height, width]`; none where all are.
    pub alpha: Option<Vec<f32>>,
    /// Whether a value has 16 bits, and not 8.
    pub is_deep: bool,
}

/// Reads a PNG or JPEG file, turned as its EXIF orientation says.
pub fn load(path: &Path) -> Outcome<Picture> {
    decode(&files::read(path)?, &path.display().to_string())
}

/// More bytes of pixels than this per byte of file are a lie: Deflate packs at most 1032 into one.
const MAXIMUM_RATIO: u64 = 2048;

/// The most bytes that a picture is decoded to.
const MAXIMUM_DECODED: u64 = 1 << 29;

/// The bits that a pixel takes in a file before it is packed. A PNG file has from 1 to 64, and the decoder widens them
/// to whole bytes and palettes to colours; bit depth and colour type stand at fixed places of its first chunk.
fn bits_per_pixel(bytes: &[u8], decoder: &impl ImageDecoder) -> u64 {
    match *bytes {
        [0x89, b'P', b'N', b'G', ..] if bytes.len() > 25 => {
            let channels = match bytes[25] {
                2 => 3,
                4 => 2,
                6 => 4,
                _ => 1,
            };
            channels * u64::from(bytes[24])
        }
        _ => decoder.color_type().bits_per_pixel().into(),
    }
}

/// What is missing or wrong in a JPEG file that does not go on to its end. The decoder takes what is not there for grey.
///
/// It is a chain of segments, each `FF`, a kind and a length. Pixels follow a segment of kind `DA`, without a length: in
/// them `FF` is followed by 0 or by a restart, `D0` to `D7`, until the next segment. `D9` is the end.
fn check_jpeg(bytes: &[u8]) -> Result<(), String> {
    const END: u8 = 0xd9;
    const SCAN: u8 = 0xda;
    let mut at = 2;
    let mut in_pixels = false;
    while let Some(&[first, kind]) = bytes.get(at..at + 2) {
        let is_marker = first == 0xff && !matches!(kind, 0 | 0xd0..=0xd7 | 0xff);
        if !is_marker {
            // Between segments there are no other bytes than more of `FF`.
            if !in_pixels && first != 0xff {
                return Err(format!("the JPEG file is damaged: at byte {at} a segment should start, and does not"));
            }
            at += 1;
        } else if kind == END {
            return Ok(());
        } else {
            let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { break };
            at += 2 + usize::from(u16::from_be_bytes([high, low]));
            in_pixels = kind == SCAN;
        }
    }
    let (part, length) = (if in_pixels { "its pixels" } else { "what comes before its pixels" }, bytes.len());
    Err(format!("the JPEG file is cut off in {part}: it ends after {length} bytes, without the mark of its end"))
}

/// Decodes a PNG or JPEG file's bytes; `name` is for messages.
pub fn decode(bytes: &[u8], name: &str) -> Outcome<Picture> {
    let refused = |reason: String| Failure::Request(format!("{name}: {reason}"));
    let format = image::guess_format(bytes).map_err(|error| refused(error.to_string()))?;
    let decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder();
    let mut decoder = decoder.map_err(|error| refused(error.to_string()))?;
    let (width, height) = decoder.dimensions();
    let packed = (u64::from(width) * u64::from(height)).saturating_mul(bits_per_pixel(bytes, &decoder)) / 8;
    if packed > MAXIMUM_RATIO * bytes.len() as u64 {
        return Err(refused(format!("it claims to be {width} x {height}, more than its {} bytes hold", bytes.len())));
    }
    if decoder.total_bytes() > MAXIMUM_DECODED {
        return Err(refused(format!("it is {width} x {height}; at most {MAXIMUM_DECODED} bytes are decoded")));
    }
    if format == ImageFormat::Jpeg {
        check_jpeg(bytes).map_err(refused)?;
    }
    let orientation = decoder.orientation().map_err(|error| refused(error.to_string()))?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| refused(error.to_string()))?;
    picture.apply_orientation(orientation);
    Ok(Picture::of(picture))
}

impl Picture {
    fn of(picture: DynamicImage) -> Self {
        let color = picture.color();
        let is_deep = color.bytes_per_pixel() / color.channel_count() > 1;
        let (width, height) = (picture.width(), picture.height());
        // A byte is the same part of 255 as its double is of 65535.
        let pixels = picture.into_rgba16();
        let plane = |channel: usize| pixels.pixels().map(move |pixel| f32::from(pixel.0[channel]) / 65535.0);
        let alpha = color.has_alpha().then(|| plane(3).collect());
        Self { height, width, values: (0..3).flat_map(plane).collect(), alpha, is_deep }
    }

    /// The same picture of another height and width.
    pub fn resized(self, [height, width]: [u32; 2], filter: FilterType) -> Self {
        if [height, width] == [self.height, self.width] {
            return self;
        }
        let deep = Self { is_deep: true, ..self };
        Self::of(deep.pixels().resize_exact(width, height, filter))
    }

    /// Its planes at another height and width.
    pub fn planes_at(&self, [height, width]: [u32; 2]) -> Vec<f32> {
        let planes = self.values.chunks(self.height as usize * self.width as usize).flat_map(|plane| {
            let plane: ImageBuffer<Luma<f32>, _> =
                ImageBuffer::from_raw(self.width, self.height, plane.to_vec()).expect("as many values as pixels");
            imageops::resize(&plane, width, height, FilterType::Triangle).into_raw()
        });
        planes.collect()
    }

    /// The middle of the picture, of this height and width, which it must have at least.
    pub fn middle(self, [height, width]: [u32; 2]) -> Self {
        let deep = Self { is_deep: true, ..self };
        let (top, left) = ((deep.height - height) / 2, (deep.width - width) / 2);
        Self::of(deep.pixels().crop_imm(left, top, width, height))
    }

    /// The pixels, as deep as the picture is and with alpha if it has it.
    pub fn pixels(&self) -> DynamicImage {
        let plane = self.height as usize * self.width as usize;
        let at = |x: u32, y: u32| y as usize * self.width as usize + x as usize;
        let color = |pixel: usize| [0, 1, 2].map(|channel| self.values[channel * plane + pixel]);
        let (width, height) = (self.width, self.height);
        match (&self.alpha, self.is_deep) {
            (None, false) => RgbImage::from_fn(width, height, |x, y| Rgb(color(at(x, y)).map(byte))).into(),
            (None, true) => ImageBuffer::from_fn(width, height, |x, y| Rgb(color(at(x, y)).map(two_bytes))).into(),
            (Some(alpha), is_deep) => {
                let pixel = |x, y| {
                    let [red, green, blue] = color(at(x, y));
                    [red, green, blue, alpha[at(x, y)]]
                };
                if is_deep {
                    ImageBuffer::from_fn(width, height, |x, y| Rgba(pixel(x, y).map(two_bytes))).into()
                } else {
                    RgbaImage::from_fn(width, height, |x, y| Rgba(pixel(x, y).map(byte))).into()
                }
            }
        }
    }
}

/// A value from 0 to 1 as a byte; what lies outside is cut off.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a byte holds")]
pub fn byte(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// The same in 16 bits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what two bytes hold")]
fn two_bytes(value: f32) -> u16 {
    (value.clamp(0.0, 1.0) * 65535.0).round() as u16
}

/// Writes a picture as a PNG file, whole or not at all.
pub fn save(path: &Path, picture: &DynamicImage) -> Outcome {
    let mut bytes = Vec::new();
    let encoded = picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png);
    encoded.map_err(|error| Failure::Computation(format!("--out {}: {error}", path.display())))?;
    files::write_whole("--out", path, &bytes)
}

/// A 5 × 5 filter, in rows, and what is added to its result.
#[derive(Debug)]
pub struct Filter {
    pub name: &'static str,
    pub about: &'static str,
    pub taps: [f32; 25],
    /// 0.5 for filters whose results are as often negative as positive.
    pub bias: f32,
}

/// The filters, the four that `compare` uses first.
pub const FILTERS: [Filter; 6] = [
    Filter { name: "blur", about: "binomial, close to a Gaussian of deviation 1", taps: binomial(), bias: 0.0 },
    Filter {
        name: "sobel",
        about: "vertical edges, around mid-grey",
        taps: centred([-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0], 0.25),
        bias: 0.5,
    },
    Filter {
        name: "sobel-horizontal",
        about: "horizontal edges, around mid-grey",
        taps: centred([-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0], 0.25),
        bias: 0.5,
    },
    Filter {
        name: "sharpen",
        about: "five times the pixel less its four neighbours",
        taps: centred([0.0, -1.0, 0.0, -1.0, 5.0, -1.0, 0.0, -1.0, 0.0], 1.0),
        bias: 0.0,
    },
    Filter {
        name: "emboss",
        about: "light from the upper left, around mid-grey",
        taps: centred([-1.0, -1.0, 0.0, -1.0, 0.0, 1.0, 0.0, 1.0, 1.0], 0.5),
        bias: 0.5,
    },
    Filter {
        name: "edges",
        about: "the Laplacian over eight neighbours, around mid-grey",
        taps: centred([-1.0, -1.0, -1.0, -1.0, 8.0, -1.0, -1.0, -1.0, -1.0], 0.5),
        bias: 0.5,
    },
];

/// The filter of this name.
pub fn filter(name: &str) -> Result<&'static Filter, String> {
    let names = || FILTERS.each_ref().map(|filter| filter.name).join(", ");
    FILTERS
        .iter()
        .find(|filter| word(filter.name) == word(name))
        .ok_or_else(|| format!("it must be one of {}", names()))
}

/// A 3 × 3 filter in the middle of a 5 × 5 one.
const fn centred(filter: [f32; 9], scale: f32) -> [f32; 25] {
    let mut wide = [0.0; 25];
    let mut tap = 0;
    while tap < 9 {
        wide[(tap / 3 + 1) * 5 + tap % 3 + 1] = filter[tap] * scale;
        tap += 1;
    }
    wide
}

/// The outer product of (1 4 6 4 1) / 16 with itself.
const fn binomial() -> [f32; 25] {
    let row = [1.0, 4.0, 6.0, 4.0, 1.0];
    let mut filter = [0.0; 25];
    let mut tap = 0;
    while tap < 25 {
        filter[tap] = row[tap / 5] * row[tap % 5] / 256.0;
        tap += 1;
    }
    filter
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        let picture = DynamicImage::new_rgb8(3, 2);
        picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    fn png() -> Vec<u8> {
        encoded(ImageFormat::Png)
    }

    #[test]
    fn a_picture_is_three_planes() {
        let picture = decode(&png(), "a.png").unwrap();
        assert_eq!((picture.height, picture.width, picture.values.len()), (2, 3, 18));
    }

    /// The end of a thumbnail inside of a file is not the end of the file.
    #[test]
    fn a_jpeg_ends_where_its_pixels_do() {
        let whole = encoded(ImageFormat::Jpeg);
        let thumbnail = [&[0xff, 0xe1, 0, 6, 0xff, 0xd9, 1, 2][..], &whole[2..]].concat();
        for jpeg in [whole.clone(), [&whole[..2], &thumbnail].concat()] {
            assert!(check_jpeg(&jpeg).is_ok() && decode(&jpeg, "a.jpg").is_ok());
            assert!(check_jpeg(&[&jpeg[..], b"and more"].concat()).is_ok());
            for length in 0..jpeg.len() {
                assert!(check_jpeg(&jpeg[..length]).unwrap_err().contains("cut off"), "{length}");
            }
        }
        let pixels = whole.len() - 3;
        assert!(check_jpeg(&whole[..pixels]).unwrap_err().contains(&format!("in its pixels: it ends after {pixels}")));
        assert!(check_jpeg(&whole[..30]).unwrap_err().contains("before its pixels: it ends after 30 bytes"));
        let stray = [&whole[..2], b"?", &whole[2..]].concat();
        assert!(check_jpeg(&stray).unwrap_err().contains("damaged: at byte 2 "));
    }

    #[test]
    fn a_blank_picture_of_one_bit_per_pixel_is_read() {
        // 4000 x 4000 pixels in 6 kB, decoded to 16 MB.
        let bytes = include_bytes!("../../../tests/blank.png");
        assert_eq!(decode(bytes, "a.png").unwrap().values.len(), 3 * 4000 * 4000);
    }

    #[test]
    fn a_picture_that_claims_to_be_huge_is_refused() {
        let mut bytes = png();
        // Width and height stand behind the signature, a length and "IHDR"; their checksum comes after.
        bytes[16..24].copy_from_slice(&[0, 0, 0x80, 0, 0, 0, 0x80, 0]);
        assert!(decode(&bytes, "a.png").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn no_bytes_make_the_decoder_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            length in any::<prop::sample::Index>(),
            format in prop_oneof![Just(ImageFormat::Png), Just(ImageFormat::Jpeg)],
        ) {
            let mut bytes = encoded(format);
            for (index, value) in changes {
                let index = index.index(bytes.len());
                bytes[index] = value;
            }
            bytes.truncate(length.index(bytes.len()) + 1);
            let _ = decode(&bytes, "a.png");
        }
    }
}
