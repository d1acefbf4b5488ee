//! A picture of small cells, clients against rounds or classes, which stays readable for hundreds of rows.

use serde::Serialize;

/// Width of the picture, in pixels.
const WIDTH: f64 = 360.0;
/// Space above the cells for the names of columns.
const TOP: f64 = 20.0;
/// Approximate width of a letter.
const LETTER: f64 = 6.0;
/// Greatest height of all rows together, as long as each is at least 2 pixels high.
const TALLEST: f64 = 700.0;
/// Maximum number of cells that have titles: with more, the page would become large.
const MAX_TITLES: usize = 3000;
/// Share above which a cell is so dark that its text must be light.
pub(super) const DEEP: f64 = 0.65;

/// The data of the picture.
pub(super) struct Matrix {
    /// A description for screen readers.
    pub(super) title: String,
    /// Names of all rows.
    pub(super) rows: Vec<String>,
    /// Names of all columns.
    pub(super) columns: Vec<String>,
    /// The cells that are not empty.
    pub(super) cells: Vec<Cell>,
}

/// A cell of a [`Matrix`].
pub(super) struct Cell {
    pub(super) row: usize,
    pub(super) column: usize,
    /// Class in the style sheet.
    pub(super) class: &'static str,
    /// Opacity of its colour, 0..1.
    pub(super) share: f64,
    /// The text inside, where there is room.
    pub(super) text: String,
    /// The text shown on hover.
    pub(super) title: String,
}

/// The picture for the template, in pixels.
#[derive(Serialize)]
pub(super) struct MatrixSvg {
    title: String,
    height: f64,
    left: f64,
    /// Width of all columns together.
    ground: f64,
    cell: [f64; 2],
    rows: Vec<(f64, String)>,
    columns: Vec<(f64, String)>,
    cells: Vec<Placed>,
}

#[derive(Serialize)]
struct Placed {
    class: &'static str,
    x: f64,
    y: f64,
    share: f64,
    deep: bool,
    text: String,
    title: String,
}

impl Matrix {
    /// Computes the picture. Rows shrink with their number; names that would overlap are skipped evenly.
    pub(super) fn draw(self) -> MatrixSvg {
        let height = (TALLEST / self.rows.len().max(1) as f64).clamp(2.0, 18.0);
        let longest = self.rows.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let left = (longest as f64 * LETTER + 8.0).min(160.0);
        let width = ((WIDTH - left) / self.columns.len().max(1) as f64).min(60.0);
        let room = self.columns.iter().map(|name| name.chars().count()).max().unwrap_or(0) as f64 * LETTER + 8.0;
        let (x, y) = (|column: f64| tenth(left + column * width), |row: f64| tenth(TOP + row * height));
        let titled = self.cells.len() <= MAX_TITLES;
        let roomy = |text: &str| height >= 13.0 && text.chars().count() as f64 * LETTER + 4.0 <= width;
        let place = |cell: Cell| Placed {
            class: cell.class,
            x: x(cell.column as f64),
            y: y(cell.row as f64),
            share: (cell.share * 100.0).round() / 100.0,
            deep: cell.share > DEEP,
            text: if roomy(&cell.text) { cell.text } else { String::new() },
            title: if titled { cell.title } else { String::new() },
        };
        MatrixSvg {
            title: self.title,
            height: y(self.rows.len() as f64) + 2.0,
            left,
            ground: tenth(self.columns.len() as f64 * width),
            cell: [tenth(width), tenth(height)],
            rows: named(self.rows, height, 12.0).map(|(row, name)| (y(row + 0.5), name)).collect(),
            columns: named(self.columns, width, room).map(|(column, name)| (x(column + 0.5), name)).collect(),
            cells: self.cells.into_iter().map(place).collect(),
        }
    }
}

/// An even choice of `names`, with their indices, where neighbours are `size` apart and each name needs `room`.
fn named(names: Vec<String>, size: f64, room: f64) -> impl Iterator<Item = (f64, String)> {
    names.into_iter().enumerate().step_by((room / size).ceil().max(1.0) as usize).map(|(i, name)| (i as f64, name))
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(rows: usize, columns: usize) -> MatrixSvg {
        let names = |n: usize| (0..n).map(|i| format!("client-{i:04}")).collect();
        let cell = |at: usize| Cell {
            row: at / columns,
            column: at % columns,
            class: "heat",
            share: 0.7,
            text: "7".into(),
            title: "seven".into(),
        };
        let columns_named = (0..columns).map(|i| i.to_string()).collect();
        let cells = (0..rows * columns).map(cell).collect();
        Matrix { title: String::new(), rows: names(rows), columns: columns_named, cells }.draw()
    }

    #[test]
    fn all_cells_are_inside_the_picture_whatever_their_number() {
        for (rows, columns) in [(1, 1), (4, 10), (41, 10), (500, 10), (3, 100), (5000, 1), (100, 1000)] {
            let drawing = drawing(rows, columns);
            let [width, height] = drawing.cell;
            assert!(drawing.cells.iter().all(|cell| cell.x + width <= 360.5 && cell.y + height <= drawing.height));
            assert_eq!(drawing.cells.len(), rows * columns);
        }
    }

    #[test]
    fn names_never_overlap_and_numbers_are_written_where_there_is_room() {
        for (rows, columns) in [(4, 10), (100, 10), (500, 40)] {
            let drawing = drawing(rows, columns);
            assert!(drawing.rows.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 11.9), "{rows} rows");
            assert!(drawing.columns.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 19.9), "{columns} columns");
            assert_eq!(drawing.cells[0].text, if rows == 4 { "7" } else { "" });
        }
        assert!(drawing(4, 10).cells[0].deep && drawing(100, 100).cells[0].title.is_empty());
    }
}
