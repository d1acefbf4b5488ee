//! What the pixels of a file mean: the Image Pixel Module (DICOM PS3.3, section C.7.6.3).

use super::{tag, values::Group};

/// How samples stand for brightness or colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Photometric {
    /// Grey; the lowest values are black or, `inverted`, white.
    Monochrome {
        inverted: bool,
    },
    /// Indices of a table of colours.
    Palette,
    Rgb,
    /// Luma and two differences of colour, as in JPEG, each of every pixel.
    YbrFull,
    /// The same with half as many differences; read within JPEG only.
    YbrFull422,
}

/// The description of the pixels of one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImagePixel {
    pub(super) rows: u16,
    pub(super) columns: u16,
    pub(super) photometric: Photometric,
    /// Whether each colour has a plane of its own.
    pub(super) is_planar: bool,
    /// 8 or 16.
    pub(super) bits_allocated: u16,
    /// From 1 to `bits_allocated`.
    pub(super) bits_stored: u16,
    /// Number of bits below those that are stored.
    shift: u16,
    pub(super) is_signed: bool,
    /// Lowest and highest number of pixels that are not part of the picture.
    padding: Option<[i32; 2]>,
}

impl ImagePixel {
    /// # Errors
    /// The reason why such pixels are not read.
    pub(super) fn of(file: Group<'_>) -> Result<Self, String> {
        check_frames(file)?;
        let photometric = photometric(file)?;
        let [rows, columns] =
            [(tag::ROWS, "Rows"), (tag::COLUMNS, "Columns")].map(|(tag, name)| required(file, tag, name));
        let (rows, columns) = (rows?, columns?);
        let bits_allocated = required(file, tag::BITS_ALLOCATED, "BitsAllocated")?;
        let is_grey = photometric.samples() == 1;
        if !(bits_allocated == 8 || is_grey && bits_allocated == 16) {
            let read = if is_grey { "8 or 16" } else { "8" };
            return Err(format!("has {bits_allocated} bits a sample, and {read} are read"));
        }
        let bits_stored = file.word(tag::BITS_STORED).unwrap_or(bits_allocated);
        let high_bit = file.word(tag::HIGH_BIT).unwrap_or(bits_stored.saturating_sub(1));
        if bits_stored == 0 || high_bit >= bits_allocated || bits_stored > high_bit + 1 {
            return Err(format!(
                "stores {bits_stored} bits up to bit {high_bit} of {bits_allocated}, which is impossible"
            ));
        }
        let shift = high_bit + 1 - bits_stored;
        let is_signed = is_grey && file.word(tag::PIXEL_REPRESENTATION) == Some(1);
        let is_planar = file.word(tag::PLANAR_CONFIGURATION) == Some(1);
        let pixel = Self {
            rows,
            columns,
            photometric,
            is_planar,
            bits_allocated,
            bits_stored,
            shift,
            is_signed,
            padding: None,
        };
        Ok(Self { padding: pixel.padding(file), ..pixel })
    }

    pub(super) fn num_pixels(&self) -> usize {
        usize::from(self.rows) * usize::from(self.columns)
    }

    pub(super) fn samples(&self) -> usize {
        self.photometric.samples()
    }

    /// Bytes of a sample.
    pub(super) fn bytes(&self) -> usize {
        usize::from(self.bits_allocated / 8)
    }

    /// Bytes of all samples.
    pub(super) fn num_bytes(&self) -> u64 {
        (self.num_pixels() * self.samples() * self.bytes()) as u64
    }

    /// The stored value in a word of `bits_allocated` bits.
    pub(super) fn stored(&self, word: u16) -> i32 {
        let unused = 32 - u32::from(self.bits_stored);
        let value = u32::from(word) >> self.shift << unused;
        if self.is_signed { value.cast_signed() >> unused } else { (value >> unused).cast_signed() }
    }

    /// Lowest and highest value that can be stored.
    pub(super) fn range(&self) -> [i32; 2] {
        let values = 1 << self.bits_stored;
        if self.is_signed { [-values / 2, values / 2 - 1] } else { [0, values - 1] }
    }

    /// Whether a word stands for a pixel that is not part of the picture.
    pub(super) fn is_padding(&self, word: u16) -> bool {
        self.padding.is_some_and(|[low, high]| (low..=high).contains(&self.whole(word)))
    }

    /// The number in all bits of a word.
    fn whole(&self, word: u16) -> i32 {
        match (self.is_signed, self.bits_allocated) {
            (true, 8) => i32::from(word as i8),
            (true, _) => i32::from(word.cast_signed()),
            (false, 8) => i32::from(word as u8),
            (false, _) => i32::from(word),
        }
    }

    fn padding(&self, file: Group<'_>) -> Option<[i32; 2]> {
        let value = self.whole(file.word(tag::PIXEL_PADDING_VALUE)?);
        let limit = file.word(tag::PIXEL_PADDING_RANGE_LIMIT).map_or(value, |limit| self.whole(limit));
        Some([value.min(limit), value.max(limit)])
    }
}

impl Photometric {
    fn samples(self) -> usize {
        match self {
            Self::Monochrome { .. } | Self::Palette => 1,
            Self::Rgb | Self::YbrFull | Self::YbrFull422 => 3,
        }
    }
}

fn check_frames(file: Group<'_>) -> Result<(), String> {
    match file.whole(tag::NUMBER_OF_FRAMES, "NumberOfFrames")? {
        Some(frames) if frames > 1 => Err(format!(
            "holds {frames} frames, and one picture is read per file; save the frames as files of their own"
        )),
        _ => Ok(()),
    }
}

fn photometric(file: Group<'_>) -> Result<Photometric, String> {
    use Photometric as P;
    let name = file.text(tag::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
    let photometric = match name {
        "MONOCHROME1" => P::Monochrome { inverted: true },
        "MONOCHROME2" => P::Monochrome { inverted: false },
        "PALETTE COLOR" => P::Palette,
        "RGB" => P::Rgb,
        "YBR_FULL" => P::YbrFull,
        "YBR_FULL_422" => P::YbrFull422,
        "" => return Err("does not say what its pixels mean (PhotometricInterpretation)".into()),
        "YBR_PARTIAL_422" | "YBR_PARTIAL_420" | "YBR_ICT" | "YBR_RCT" | "XYB" | "HSV" | "ARGB" | "CMYK" => {
            return Err(format!("has colours as {name}, which is not read; convert them to RGB"));
        }
        // The value is not named: who wrote the file may have put anything there.
        _ => {
            return Err("has pixels of an unknown PhotometricInterpretation; convert them to MONOCHROME2 or RGB".into());
        }
    };
    let samples = required(file, tag::SAMPLES_PER_PIXEL, "SamplesPerPixel")?;
    if usize::from(samples) != photometric.samples() {
        return Err(format!("has {samples} samples a pixel, and {name} has {}", photometric.samples()));
    }
    Ok(photometric)
}

fn required(file: Group<'_>, tag: tag::Tag, keyword: &str) -> Result<u16, String> {
    file.word(tag).ok_or_else(|| format!("does not say its {keyword}"))
}
