//! Pictures, as a user filters them: which way up, how deep, how opaque, and whole or cut off.

#[path = "common/command.rs"]
mod command;
mod common;

use std::io::Cursor;
use std::path::Path;

use command::sepconv;
use image::{DynamicImage, ImageFormat, Luma, Rgb, Rgba};

/// The bytes of a picture file.
fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// An EXIF block that says nothing but which way up a picture is.
fn exif(orientation: u8) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    bytes.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

/// A JPEG file with an orientation in front of everything else.
fn oriented_jpeg(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let exif = [b"Exif\0\0", exif(orientation).as_slice()].concat();
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

/// A PNG file with an orientation behind its first chunk.
fn oriented_png(png: &[u8], orientation: u8) -> Vec<u8> {
    let chunk = [b"eXIf", exif(orientation).as_slice()].concat();
    let mut checksum = u32::MAX;
    for byte in &chunk {
        checksum ^= u32::from(*byte);
        for _ in 0..8 {
            checksum = if checksum & 1 == 1 { checksum >> 1 ^ 0xedb8_8320 } else { checksum >> 1 };
        }
    }
    let length = u32::try_from(chunk.len() - 4).unwrap().to_be_bytes();
    [&png[..33], &length, &chunk, &(!checksum).to_be_bytes(), &png[33..]].concat()
}

/// What a filter makes of a file.
fn filtered(folder: &Path, name: &str, options: &str) -> DynamicImage {
    sepconv(folder, &format!("conv {name} --filter blur --out out.png {options}")).assert_done();
    image::open(folder.join("out.png")).unwrap()
}

/// Black, with a white half on the right.
fn half() -> DynamicImage {
    image::RgbImage::from_fn(24, 16, |x, _| Rgb(if x < 12 { [0; 3] } else { [255; 3] })).into()
}

#[test]
fn a_picture_is_turned_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let jpeg = encoded(&half(), ImageFormat::Jpeg);
    let png = encoded(&half(), ImageFormat::Png);
    for (name, bytes) in [("a.jpg", oriented_jpeg(&jpeg, 6)), ("a.png", oriented_png(&png, 6))] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let picture = filtered(folder.path(), name, "").to_rgb8();
        // 6: the right of the file is the bottom of the picture.
        assert_eq!(picture.dimensions(), (16, 24), "{name}");
        assert!(picture.get_pixel(8, 2).0[0] < 20 && picture.get_pixel(8, 21).0[0] > 235, "{name}");
    }
    for (name, bytes) in [("b.jpg", oriented_jpeg(&jpeg, 1)), ("b.png", png)] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        assert_eq!(filtered(folder.path(), name, "").to_rgb8().dimensions(), (24, 16), "{name}");
    }
}

#[test]
fn a_picture_that_is_cut_off_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let astronaut = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/astronaut.jpg")).unwrap();
    let png = encoded(&half(), ImageFormat::Png);
    // The last chunk of a PNG file has 12 bytes and says only that it is the last one.
    for (name, bytes, end) in [("a.jpg", &astronaut, 2), ("a.png", &png, 16)] {
        for length in [bytes.len() / 2, bytes.len() - end] {
            std::fs::write(folder.path().join(name), &bytes[..length]).unwrap();
            sepconv(folder.path(), &format!("conv {name} --filter blur --out out.png")).assert_refused(name);
            sepconv(folder.path(), &format!("compare --image {name}")).assert_refused(name);
        }
    }
    let run = sepconv(folder.path(), "conv a.jpg --filter blur --out out.png");
    let (length, end) = (astronaut.len() - 2, "without the mark of its end");
    run.assert_refused(&format!("a.jpg: the JPEG file is cut off in its pixels: it ends after {length} bytes, {end}"));
    assert!(!folder.path().join("out.png").exists());
}

#[test]
fn sixteen_bits_stay_sixteen() {
    let folder = tempfile::tempdir().unwrap();
    let flat = |value| DynamicImage::from(image::ImageBuffer::from_pixel(8, 8, Rgb([value, 0_u16, 65535])));
    std::fs::write(folder.path().join("a.png"), encoded(&flat(1000), ImageFormat::Png)).unwrap();
    // A blur of one colour is that colour, which no picture of 8 bits holds.
    let picture = filtered(folder.path(), "a.png", "");
    assert_eq!(picture.color(), image::ColorType::Rgb16);
    assert!(picture.to_rgb16().pixels().all(|pixel| pixel.0[0].abs_diff(1000) <= 1 && pixel.0[1] == 0), "{picture:?}");
    let gray = DynamicImage::from(image::ImageBuffer::from_pixel(8, 8, Luma([30001_u16])));
    std::fs::write(folder.path().join("a.png"), encoded(&gray, ImageFormat::Png)).unwrap();
    let picture = filtered(folder.path(), "a.png", "").to_rgb16();
    assert!(picture.pixels().all(|pixel| pixel.0.iter().all(|value| value.abs_diff(30001) <= 1)));
    std::fs::write(folder.path().join("a.png"), encoded(&half(), ImageFormat::Png)).unwrap();
    assert_eq!(filtered(folder.path(), "a.png", "").color(), image::ColorType::Rgb8);
}

#[test]
fn alpha_passes_through() {
    let folder = tempfile::tempdir().unwrap();
    let alpha = |x: u32, y: u32| u8::try_from(16 * y + x).unwrap();
    let picture = image::RgbaImage::from_fn(16, 8, |x, y| Rgba([200, 100, 50, alpha(x, y)]));
    std::fs::write(folder.path().join("a.png"), encoded(&picture.clone().into(), ImageFormat::Png)).unwrap();
    let same = filtered(folder.path(), "a.png", "");
    assert_eq!(same.color(), image::ColorType::Rgba8);
    assert_eq!(same.to_rgba8(), picture);
    // Every second pixel, from the third one on, or from the first one if as much is padded.
    let inner = filtered(folder.path(), "a.png", "--stride 2 --padding 0").to_rgba8();
    assert_eq!(inner.dimensions(), (6, 2));
    assert!(inner.enumerate_pixels().all(|(x, y, pixel)| pixel.0[3] == alpha(2 * x + 2, 2 * y + 2)));
    // More is padded than lies in the middle: the edge goes on.
    let outer = filtered(folder.path(), "a.png", "--padding 3").to_rgba8();
    assert_eq!(outer.dimensions(), (18, 10));
    assert_eq!([outer.get_pixel(0, 0).0[3], outer.get_pixel(17, 9).0[3]], [alpha(0, 0), alpha(15, 7)]);
    assert_eq!(outer.get_pixel(5, 4).0[3], alpha(4, 3));

    let deep = image::ImageBuffer::from_pixel(8, 8, Rgba([1000_u16, 2000, 3000, 12345]));
    std::fs::write(folder.path().join("a.png"), encoded(&DynamicImage::from(deep), ImageFormat::Png)).unwrap();
    let deep = filtered(folder.path(), "a.png", "");
    assert_eq!((deep.color(), deep.to_rgba16().get_pixel(3, 3).0[3]), (image::ColorType::Rgba16, 12345));
}
