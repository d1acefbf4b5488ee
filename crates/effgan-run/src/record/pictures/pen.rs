//! Text on pictures, in the bitmap fonts of embedded-graphics.

use std::convert::Infallible;

use embedded_graphics::Drawable as _;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor as _};
use embedded_graphics::text::{Baseline, Text};
use image::{Rgb, RgbImage};

/// A font, the pixels per dot of it, and a colour.
#[derive(Clone, Copy)]
pub(super) struct Pen<'a> {
    pub(super) font: &'a MonoFont<'a>,
    pub(super) scale: usize,
    pub(super) colour: Rgb<u8>,
}

impl Pen<'_> {
    /// The width of `text` in pixels.
    pub(super) fn width(&self, text: &str) -> usize {
        let advance = self.font.character_size.width + self.font.character_spacing;
        (text.chars().count() * advance as usize * self.scale).saturating_sub(self.font.character_spacing as usize)
    }

    /// The height of a line in pixels.
    pub(super) fn height(&self) -> usize {
        self.font.character_size.height as usize * self.scale
    }

    /// Writes one line with its upper left corner at `(left, top)`; what lies outside the picture is cut off.
    ///
    /// The fonts cover Latin-1: any other character becomes a question mark.
    pub(super) fn write(&self, picture: &mut RgbImage, text: &str, left: usize, top: usize) {
        let [red, green, blue] = self.colour.0;
        let style = MonoTextStyle::new(self.font, Rgb888::new(red, green, blue));
        let mut canvas = Canvas { picture, left, top, scale: self.scale };
        let done = Text::with_baseline(text, Point::zero(), style, Baseline::Top).draw(&mut canvas);
        done.expect("drawing into memory cannot fail");
    }
}

/// Makes a picture a target of embedded-graphics: its dots are squares of `scale` pixels, from `(left, top)` on.
struct Canvas<'a> {
    picture: &'a mut RgbImage,
    left: usize,
    top: usize,
    scale: usize,
}

impl OriginDimensions for Canvas<'_> {
    fn size(&self) -> Size {
        Size::new(self.picture.width(), self.picture.height())
    }
}

impl DrawTarget for Canvas<'_> {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(point, colour) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(point.x), usize::try_from(point.y)) else { continue };
            let (left, top) = (self.left + x * self.scale, self.top + y * self.scale);
            let colour = Rgb([colour.r(), colour.g(), colour.b()]);
            super::fill(self.picture, [left, top, self.scale, self.scale], |_, _| colour);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use embedded_graphics::mono_font::iso_8859_1::FONT_6X10;

    use super::*;

    const BLACK: Rgb<u8> = Rgb([0, 0, 0]);

    fn ink(picture: &RgbImage) -> usize {
        picture.pixels().filter(|pixel| **pixel == BLACK).count()
    }

    #[test]
    fn doubling_the_scale_doubles_the_width_and_quadruples_the_ink() {
        let [one, two] = [1, 2].map(|scale| {
            let pen = Pen { font: &FONT_6X10, scale, colour: BLACK };
            let mut picture = RgbImage::from_pixel(100, 40, super::super::WHITE);
            pen.write(&mut picture, "fd 21.3", 3, 4);
            (ink(&picture), pen.width("fd 21.3"), pen.height())
        });
        assert_eq!((one.1, one.2), (42, 10));
        assert_eq!(two, (4 * one.0, 84, 20));
    }

    #[test]
    fn text_that_leaves_the_picture_is_cut() {
        let mut picture = RgbImage::from_pixel(10, 5, super::super::WHITE);
        Pen { font: &FONT_6X10, scale: 1, colour: BLACK }.write(&mut picture, "αβ wide\nand high", 6, 2);
        assert!(ink(&picture) > 0);
    }
}
