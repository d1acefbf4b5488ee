//! Grids of samples over the rounds as a GIF, with the round's number above each frame.

use embedded_graphics::mono_font::iso_8859_1::FONT_9X18_BOLD;
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, Frame, Rgb, RgbImage};

use super::pen::Pen;
use super::{GUTTER, WHITE, fill};

const INK: Rgb<u8> = Rgb([27, 27, 27]);
/// Replaces the gutter of a grid: a GIF has 256 colours, and with a grey gutter grey images keep every shade.
const GREY_GUTTER: Rgb<u8> = Rgb([204, 204, 204]);
/// Pixels from the edges to the caption.
const EDGE: usize = 8;
/// Milliseconds for which the last frame is shown.
const LAST: u32 = 2000;
/// Milliseconds of all other frames together, each shown for 100 to 700 ms.
const OTHERS: u32 = 6000;
/// Speed of choosing 256 colours, 1 (best) to 30: at 10 a frame in colour takes a few milliseconds.
const SPEED: i32 = 10;

/// Encodes the frames, `(caption, picture)`, as a GIF that pauses at the last frame and starts again.
///
/// # Errors
/// When a picture is larger than a GIF can be, 65,535 pixels per side.
pub fn animation(frames: &[(String, RgbImage)]) -> anyhow::Result<Vec<u8>> {
    let mut gif = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut gif, SPEED);
    encoder.set_repeat(Repeat::Infinite)?;
    let side = |of: fn(&RgbImage) -> u32| frames.iter().map(|frame| of(&frame.1)).max().unwrap_or(0) as usize;
    let size = [side(RgbImage::width), side(RgbImage::height)];
    let each = (OTHERS / frames.len().max(1) as u32).clamp(100, 700);
    for (i, (caption, picture)) in frames.iter().enumerate() {
        let shown = if i + 1 == frames.len() { LAST } else { each };
        let picture = image::DynamicImage::from(captioned(caption, picture, size)).to_rgba8();
        encoder.encode_frame(Frame::from_parts(picture, 0, 0, Delay::from_numer_denom_ms(shown, 1)))?;
    }
    drop(encoder);
    Ok(gif)
}

/// `picture` below its caption, on a sheet for pictures of `[width, height]`.
fn captioned(caption: &str, picture: &RgbImage, [width, height]: [usize; 2]) -> RgbImage {
    let pen = Pen { font: &FONT_9X18_BOLD, scale: 1, colour: INK };
    let head = pen.height() + 2 * EDGE;
    let mut sheet =
        RgbImage::from_pixel(width.max(pen.width(caption) + 2 * EDGE) as u32, (head + height) as u32, WHITE);
    pen.write(&mut sheet, caption, EDGE, EDGE);
    let [columns, rows] = [picture.width(), picture.height()].map(|side| side as usize);
    fill(&mut sheet, [0, head, columns, rows], |x, y| match *picture.get_pixel(x as u32, y as u32) {
        GUTTER => GREY_GUTTER,
        pixel => pixel,
    });
    sheet
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::AnimationDecoder as _;
    use image::codecs::gif::GifDecoder;

    use super::*;
    use crate::record::pictures::grid;

    fn frames(count: usize, shape: [usize; 3]) -> Vec<(String, RgbImage)> {
        let size: usize = shape.iter().product();
        let pixels = |i: usize| (0..4 * size).map(|at| ((at + i) % 256) as u8).collect::<Vec<u8>>();
        (0..count).map(|i| (format!("round {}", i + 1), grid(&pixels(i), shape, 2, 1))).collect()
    }

    fn read(gif: &[u8]) -> Vec<Frame> {
        GifDecoder::new(Cursor::new(gif)).unwrap().into_frames().collect_frames().unwrap()
    }

    #[test]
    fn a_grey_grid_keeps_every_shade_below_its_caption() {
        let frames = frames(3, [1, 20, 40]);
        let read = read(&animation(&frames).unwrap());
        assert_eq!(read.len(), 3);
        for ((caption, picture), frame) in frames.iter().zip(&read) {
            let expected = captioned(caption, picture, [81, 41]);
            assert_eq!(image::DynamicImage::from(frame.buffer().clone()).to_rgb8(), expected);
            assert_eq!(expected.dimensions(), (81, 34 + 41));
            assert!(expected.rows().take(34).flatten().any(|pixel| *pixel == INK));
        }
    }

    #[test]
    fn colours_are_kept_and_the_last_frame_is_shown_longest() {
        // Four images, each all red; 256 colours are enough for one.
        let red: Vec<u8> = [vec![220; 64], vec![10; 128]].concat().repeat(4);
        let frames = [("round 1".into(), grid(&red, [3, 8, 8], 2, 1)), ("round 2".into(), grid(&red, [3, 8, 8], 2, 1))];
        let read = read(&animation(&frames).unwrap());
        let [r, g, b, _] = read[1].buffer().get_pixel(3, 40).0;
        assert_eq!([r, g, b], [220, 10, 10]);
        let delay = |frame: &Frame| frame.delay().numer_denom_ms().0 / frame.delay().numer_denom_ms().1;
        assert_eq!([delay(&read[0]), delay(&read[1])], [700, 2000]);
    }
}
