//! Pictures side by side, each below its caption: `samples/summary.png`, which README shows.

use embedded_graphics::mono_font::iso_8859_1::{FONT_8X13, FONT_9X18_BOLD};
use image::{Rgb, RgbImage};

use super::pen::Pen;
use super::{WHITE, fill};

const INK: Rgb<u8> = Rgb([23, 27, 33]);
const GREY: Rgb<u8> = Rgb([98, 106, 116]);
/// Spaces in dots: at the edges, between panels, between the lines of a caption, and from a caption to its picture.
const EDGE: usize = 16;
const BETWEEN: usize = 20;
const LEADING: usize = 3;
const BELOW: usize = 10;

/// Draws panels, `(title, second line, picture)`, side by side on white, with aligned tops and captions at the left edge of
/// their pictures.
///
/// Letters are as large as fits the narrowest picture, in whole steps, so that they stay readable when the picture is scaled
/// down to the width of a page. A caption that is wider than its picture widens the column.
pub fn captioned(panels: &[(String, String, RgbImage)]) -> RgbImage {
    let scale = scale(panels);
    let (title, second) = pens(scale);
    let [edge, between, leading, below] = [EDGE, BETWEEN, LEADING, BELOW].map(|dots| dots * scale);
    let widths = panels.iter().map(|(a, b, picture)| title.width(a).max(second.width(b)).max(picture.width() as usize));
    let widths: Vec<usize> = widths.collect();
    let head = edge + title.height() + leading + second.height() + below;
    let tallest = panels.iter().map(|panel| panel.2.height() as usize).max().unwrap_or(0);
    let width = 2 * edge + widths.iter().sum::<usize>() + between * panels.len().saturating_sub(1);
    let mut whole = RgbImage::from_pixel(width as u32, (head + tallest + edge) as u32, WHITE);
    let mut left = edge;
    for ((first, line, picture), width) in panels.iter().zip(widths) {
        title.write(&mut whole, first, left, edge);
        second.write(&mut whole, line, left, edge + title.height() + leading);
        let [columns, rows] = [picture.width(), picture.height()].map(|side| side as usize);
        fill(&mut whole, [left, head, columns, rows], |x, y| *picture.get_pixel(x as u32, y as u32));
        left += width + between;
    }
    whole
}

/// The pens of the title and of the second line.
fn pens(scale: usize) -> (Pen<'static>, Pen<'static>) {
    (Pen { font: &FONT_9X18_BOLD, scale, colour: INK }, Pen { font: &FONT_8X13, scale, colour: GREY })
}

/// The largest of 1..=4 at which no caption is wider than its picture; 1 where there is none.
fn scale(panels: &[(String, String, RgbImage)]) -> usize {
    let fits = |scale: &usize| {
        let (title, second) = pens(*scale);
        panels.iter().all(|(a, b, picture)| title.width(a).max(second.width(b)) <= picture.width() as usize)
    };
    (1..=4).rev().find(fits).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(title: &str, side: u32, colour: [u8; 3]) -> (String, String, RgbImage) {
        (title.into(), "fd_small 21.3".into(), RgbImage::from_pixel(side, side, Rgb(colour)))
    }

    #[test]
    fn panels_are_in_a_row_below_their_captions() {
        let whole = captioned(&[panel("average", 120, [200, 0, 0]), panel("ensemble", 120, [0, 0, 200])]);
        let head = (EDGE + 18 + LEADING + 13 + BELOW) as u32;
        assert_eq!(whole.dimensions(), (16 + 120 + 20 + 120 + 16, head + 120 + 16));
        assert_eq!(whole.get_pixel(16, head).0, [200, 0, 0]);
        assert_eq!(whole.get_pixel(16 + 120 + 20, head).0, [0, 0, 200]);
        assert_eq!(*whole.get_pixel(16 + 125, head), WHITE);
        assert!(whole.rows().take(head as usize).flatten().any(|pixel| *pixel == GREY));
    }

    #[test]
    fn letters_grow_with_the_pictures_and_a_wide_caption_widens_its_column() {
        assert_eq!(scale(&[panel("ensemble", 120, [0; 3])]), 1);
        assert_eq!(scale(&[panel("ensemble", 240, [0; 3])]), 2);
        assert_eq!(scale(&[panel("ensemble", 240, [0; 3]), panel("averaged generator", 240, [0; 3])]), 1);
        assert_eq!(captioned(&[panel("ensemble", 10, [0; 3])]).width(), 2 * 16 + 13 * 8);
    }

    #[test]
    fn no_panels_are_an_empty_sheet() {
        assert!(captioned(&[]).pixels().all(|pixel| *pixel == WHITE));
    }
}
