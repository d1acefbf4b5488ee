//! The heat map of a partition: images by client and class.

use embedded_graphics::mono_font::MonoFont;
use embedded_graphics::mono_font::iso_8859_1::{FONT_5X8, FONT_6X10, FONT_7X13};
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::pen::Pen;
use super::{WHITE, fill};

const INK: Rgb<u8> = Rgb([23, 27, 33]);
const RULE: Rgb<u8> = Rgb([226, 230, 234]);
/// White to deep blue in even steps of lightness, so that a grey print keeps the order.
const SCALE: [[f64; 3]; 5] =
    [[255.0, 255.0, 255.0], [198.0, 219.0, 239.0], [107.0, 174.0, 214.0], [33.0, 113.0, 181.0], [8.0, 48.0, 107.0]];
/// Share of the largest count from which a cell is dark and its number is written in white.
const DARK: f64 = 0.65;
/// Maps of at most this many clients are drawn twice as large.
const FEW: usize = 20;
const EDGE: usize = 12;
/// Maximum number of letters of a class name above its column.
const MAX_LETTERS: usize = 12;
/// Greatest height of all rows together, in pixels.
const TALLEST: usize = 1900;

/// Draws `counts` `[clients][classes]` as a table of colours: a row for each of `clients`, a column for each of `classes`, below the
/// first 12 letters of its name. (A name with letters that the font does not have is the number of the class.)
///
/// Colours run from white for 0 to deep blue for the largest count; counts are written where there is room. Rows shrink with
/// the number of clients, and names that would touch are skipped evenly, so that 500 clients fit in 2,000 pixels.
pub fn heat_map(counts: &[Vec<u64>], clients: &[String], classes: &[String]) -> RgbImage {
    let headings: Vec<String> = classes.iter().enumerate().map(heading).collect();
    let map = Layout::new(counts, clients, &headings);
    let width = map.left + map.cell[0] * classes.len().max(1) + EDGE;
    let height = map.top + map.cell[1] * counts.len().max(1) + EDGE;
    let mut picture = RgbImage::from_pixel(width as u32, height as u32, WHITE);
    map.headings(&mut picture, &headings);
    for (row, values) in counts.iter().enumerate() {
        map.name(&mut picture, row, clients);
        for (class, &count) in values.iter().take(classes.len()).enumerate() {
            map.cell(&mut picture, row, class, count);
        }
    }
    let zoom = if counts.len() <= FEW { 2 } else { 1 };
    imageops::resize(&picture, picture.width() * zoom, picture.height() * zoom, FilterType::Nearest)
}

/// What stands above the column of a class.
fn heading((number, name): (usize, &String)) -> String {
    let can_be_written = |c: char| c.is_ascii_graphic() || c == ' ' || ('\u{a0}'..='\u{ff}').contains(&c);
    if name.chars().all(can_be_written) { name.chars().take(MAX_LETTERS).collect() } else { number.to_string() }
}

/// Positions, sizes and fonts.
struct Layout {
    left: usize,
    top: usize,
    /// Width and height of a cell.
    cell: [usize; 2],
    largest: u64,
    font: &'static MonoFont<'static>,
    /// A name is written every so many rows.
    every: usize,
    /// Width of the widest heading.
    heading: usize,
}

impl Layout {
    fn new(counts: &[Vec<u64>], clients: &[String], headings: &[String]) -> Self {
        let largest = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
        let row = (TALLEST / counts.len().max(1)).clamp(3, 26);
        let font = if row >= 16 { &FONT_7X13 } else { &FONT_6X10 };
        let pen = Pen { font, scale: 1, colour: INK };
        let widest = |names: &[String]| names.iter().map(|name| pen.width(name)).max().unwrap_or(0);
        let (name, heading) = (widest(clients), widest(headings));
        let column = pen.width(&largest.to_string()).max(heading) + 10;
        let column = if row < 10 { 24 } else { column.max(36) }.min((4000 / headings.len().max(1)).max(2));
        let every = pen.height().div_ceil(row);
        Self { left: EDGE + name + 8, top: EDGE + pen.height() + 6, cell: [column, row], largest, font, every, heading }
    }

    /// Writes above each column, or above every so many where they would touch.
    fn headings(&self, picture: &mut RgbImage, headings: &[String]) {
        let pen = Pen { font: self.font, scale: 1, colour: INK };
        let every = (self.heading + 4).div_ceil(self.cell[0]);
        for (class, text) in headings.iter().enumerate().step_by(every) {
            let middle = self.left + class * self.cell[0] + self.cell[0] / 2;
            pen.write(picture, text, middle.saturating_sub(pen.width(text) / 2), EDGE);
        }
    }

    fn name(&self, picture: &mut RgbImage, row: usize, clients: &[String]) {
        let Some(name) = clients.get(row).filter(|_| row.is_multiple_of(self.every)) else { return };
        let pen = Pen { font: self.font, scale: 1, colour: INK };
        let middle = self.top + row * self.cell[1] + self.cell[1] / 2;
        let left = self.left.saturating_sub(8 + pen.width(name));
        pen.write(picture, name, left, middle.saturating_sub(pen.height() / 2));
    }

    fn cell(&self, picture: &mut RgbImage, row: usize, class: usize, count: u64) {
        let [width, height] = self.cell;
        let (left, top) = (self.left + class * width, self.top + row * height);
        let share = count as f64 / self.largest as f64;
        let rule = usize::from(height >= 8);
        fill(picture, [left, top, width, height], |_, _| RULE);
        fill(picture, [left, top, width - rule, height - rule], |_, _| colour(share));
        let text = count.to_string();
        let pen = Pen { font: self.count_font(), scale: 1, colour: if share >= DARK { WHITE } else { INK } };
        if count > 0 && pen.width(&text) + 4 <= width && pen.height() < height {
            pen.write(picture, &text, left + (width - pen.width(&text)) / 2, top + (height - pen.height()) / 2);
        }
    }

    /// The font of the counts in the cells.
    fn count_font(&self) -> &'static MonoFont<'static> {
        if self.cell[1] >= 14 { self.font } else { &FONT_5X8 }
    }
}

/// The colour for `share` of the largest count, 0..1.
fn colour(share: f64) -> Rgb<u8> {
    let place = share.clamp(0.0, 1.0) * (SCALE.len() - 1) as f64;
    let step = (place as usize).min(SCALE.len() - 2);
    let between = place - step as f64;
    Rgb(std::array::from_fn(|i| (SCALE[step][i] + (SCALE[step + 1][i] - SCALE[step][i]) * between).round() as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("client-{i:04}")).collect()
    }

    /// Classes called by their numbers.
    fn classes(n: usize) -> Vec<String> {
        (0..n).map(|class| class.to_string()).collect()
    }

    #[test]
    fn names_of_classes_widen_their_columns_and_one_that_cannot_be_written_is_a_number() {
        let names = ["cats", "猫", "animals-and-nature"].map(str::to_owned);
        let headings: Vec<String> = names.iter().enumerate().map(heading).collect();
        assert_eq!(headings, ["cats", "1", "animals-and-"]);
        let counts = [vec![1, 2, 3]];
        let width = |classes: &[String]| heat_map(&counts, &clients(1), classes).width();
        // Twelve letters of seven pixels and their margin instead of 36, in three columns at twice the size.
        assert_eq!(width(&names) - width(&classes(3)), 2 * 3 * (12 * 7 + 10 - 36));
    }

    #[test]
    fn the_largest_count_is_deep_blue_and_zero_is_white() {
        let counts = [vec![0, 500], vec![250, 0]];
        let picture = heat_map(&counts, &clients(2), &classes(2));
        let map = Layout::new(&counts, &clients(2), &classes(2));
        let corner = |row: usize, class: usize| {
            *picture.get_pixel(2 * (map.left + class * map.cell[0]) as u32, 2 * (map.top + row * map.cell[1]) as u32)
        };
        assert_eq!(corner(0, 0), WHITE);
        assert_eq!(corner(0, 1), Rgb([8, 48, 107]));
        assert_eq!(corner(1, 0), Rgb([107, 174, 214]));
    }

    #[test]
    fn one_client_and_five_hundred_both_fit() {
        let wide = heat_map(&[vec![6000; 10]], &clients(1), &classes(10));
        assert!(wide.width() > 720 && wide.height() < 200);
        let tall = heat_map(&vec![vec![12; 10]; 500], &clients(500), &classes(10));
        assert!((1500..=2000).contains(&tall.height()) && tall.width() > 300);
        for n in [1, 2, 7, 39, 80, 150, 250, 633] {
            assert!(heat_map(&vec![vec![1; 10]; n], &clients(n), &classes(10)).height() <= 2000, "{n} clients");
        }
    }

    #[test]
    fn odd_tables_are_drawn_without_panic() {
        heat_map(&[], &[], &[]);
        heat_map(&[vec![3]], &clients(1), &classes(1));
        heat_map(&[vec![0, 0]], &[], &classes(2));
        heat_map(&[vec![], vec![u64::MAX; 200]], &clients(1), &classes(100));
        heat_map(&[vec![1; 5000]], &clients(1), &classes(5000));
    }
}
