//! From stored values to brightness: the Modality LUT, the VOI LUT and the inversion of MONOCHROME1 (DICOM PS3.4, section N.2).
//!
//! A file's first table or else its first window says which values are black and white. Where it has neither, these are the least
//! and the greatest value that its bits can store, since a range that depends on the picture would make the same tissue another
//! grey in the next one. Pixels that pad the picture are black.

use super::{
    image_pixel::{ImagePixel, Photometric},
    lookup_table::LookupTable,
    tag,
    values::Group,
};

/// What makes a brightness of the stored values of a picture.
pub(super) struct Grey {
    modality: Modality,
    voi: Voi,
    is_inverted: bool,
}

/// From stored values to those of the device, such as Hounsfield units (PS3.3, section C.11.1).
enum Modality {
    Rescale { slope: f64, intercept: f64 },
    Table(LookupTable),
}

/// From values of the device to brightness (PS3.3, section C.11.2).
enum Voi {
    Table(LookupTable),
    Window {
        center: f64,
        width: f64,
        function: Function,
    },
    /// Black and white where the file says neither.
    Range([f64; 2]),
}

/// The shape of a window.
#[derive(Clone, Copy)]
enum Function {
    Linear,
    LinearExact,
    Sigmoid,
}

impl Grey {
    /// # Errors
    /// The reason why such a description is not read.
    pub(super) fn of(file: Group<'_>, pixel: &ImagePixel) -> Result<Self, String> {
        let modality = Modality::of(file, pixel)?;
        let voi = match LookupTable::of(file.within(tag::VOI_LUT_SEQUENCE), tag::LUT_DESCRIPTOR, tag::LUT_DATA, pixel)?
        {
            Some(table) => Voi::Table(table),
            None => window(file)?.unwrap_or_else(|| Voi::Range(modality.range(pixel))),
        };
        let is_inverted = pixel.photometric == Photometric::Monochrome { inverted: true };
        Ok(Self { modality, voi, is_inverted })
    }

    /// Whether more than 8 bits are stored and the file does not say which of their values are black and white.
    pub(super) fn is_deep(&self, pixel: &ImagePixel) -> bool {
        matches!(self.voi, Voi::Range(_)) && pixel.bits_stored > 8
    }

    /// The brightness, from 0 to `white`, of each word that a sample can be.
    pub(super) fn table(&self, pixel: &ImagePixel, white: u16) -> Vec<u16> {
        let words = 0..=u16::MAX >> (16 - pixel.bits_allocated);
        words.map(|word| (self.brightness(pixel, word) * f64::from(white)).round() as u16).collect()
    }

    /// From 0, black, to 1, white.
    fn brightness(&self, pixel: &ImagePixel, word: u16) -> f64 {
        if pixel.is_padding(word) {
            return 0.0;
        }
        let brightness = self.voi.apply(self.modality.apply(pixel.stored(word))).clamp(0.0, 1.0);
        if self.is_inverted { 1.0 - brightness } else { brightness }
    }
}

impl Modality {
    fn of(file: Group<'_>, pixel: &ImagePixel) -> Result<Self, String> {
        let sequence = file.within(tag::MODALITY_LUT_SEQUENCE);
        if let Some(table) = LookupTable::of(sequence, tag::LUT_DESCRIPTOR, tag::LUT_DATA, pixel)? {
            return Ok(Self::Table(table));
        }
        let places = [file, file.within(tag::PIXEL_VALUE_TRANSFORMATION_SEQUENCE)];
        let slope = first(places, tag::RESCALE_SLOPE, "RescaleSlope")?.unwrap_or(1.0);
        let intercept = first(places, tag::RESCALE_INTERCEPT, "RescaleIntercept")?.unwrap_or(0.0);
        if slope == 0.0 {
            return Err("has the RescaleSlope 0, which makes all pixels equal; correct or erase it".into());
        }
        Ok(Self::Rescale { slope, intercept })
    }

    fn apply(&self, stored: i32) -> f64 {
        match self {
            Self::Rescale { slope, intercept } => f64::from(stored) * slope + intercept,
            Self::Table(table) => table.get(f64::from(stored)).into(),
        }
    }

    /// The least and the greatest value that it can give.
    fn range(&self, pixel: &ImagePixel) -> [f64; 2] {
        match self {
            Self::Rescale { .. } => {
                let [a, b] = pixel.range().map(|stored| self.apply(stored));
                [a.min(b), a.max(b)]
            }
            Self::Table(table) => [0.0, table.max()],
        }
    }
}

impl Voi {
    fn apply(&self, value: f64) -> f64 {
        match self {
            Self::Table(table) => f64::from(table.get(value)) / table.max(),
            Self::Range([black, white]) => (value - black) / (white - black),
            Self::Window { center, width, function } => match function {
                // A window of width 1 is a step.
                Function::Linear if value <= center - 0.5 - (width - 1.0) / 2.0 => 0.0,
                Function::Linear if value > center - 0.5 + (width - 1.0) / 2.0 => 1.0,
                Function::Linear => (value - (center - 0.5)) / (width - 1.0) + 0.5,
                Function::LinearExact => (value - center) / width + 0.5,
                Function::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
            },
        }
    }
}

/// The first window, if there is one.
fn window(file: Group<'_>) -> Result<Option<Voi>, String> {
    let places = [file, file.within(tag::FRAME_VOI_LUT_SEQUENCE)];
    let center = first(places, tag::WINDOW_CENTER, "WindowCenter")?;
    let width = first(places, tag::WINDOW_WIDTH, "WindowWidth")?;
    let (Some(center), Some(width)) = (center, width) else { return Ok(None) };
    let function = match places.iter().find_map(|place| place.text(tag::VOI_LUT_FUNCTION)) {
        None | Some("LINEAR") => Function::Linear,
        Some("LINEAR_EXACT") => Function::LinearExact,
        Some("SIGMOID") => Function::Sigmoid,
        Some(_) => return Err("has a window of an unknown VOILUTFunction; correct or erase it".into()),
    };
    let is_wide = if let Function::Linear = function { width >= 1.0 } else { width > 0.0 };
    if !is_wide {
        return Err(format!("has a window of WindowWidth {width:?}, too narrow for any value; correct or erase it"));
    }
    Ok(Some(Voi::Window { center, width, function }))
}

/// The first value of an element in one of these places.
fn first(places: [Group<'_>; 2], tag: tag::Tag, keyword: &str) -> Result<Option<f64>, String> {
    let [file, sequence] = places.map(|place| place.decimal(tag, keyword));
    Ok(file?.or(sequence?))
}
