//! Tags of elements by their keywords (DICOM PS3.6, chapter 6): the group in the upper half, the number within it in the lower.

pub(super) type Tag = u32;

pub(super) const TRANSFER_SYNTAX_UID: Tag = 0x0002_0010;
pub(super) const SAMPLES_PER_PIXEL: Tag = 0x0028_0002;
pub(super) const PHOTOMETRIC_INTERPRETATION: Tag = 0x0028_0004;
pub(super) const PLANAR_CONFIGURATION: Tag = 0x0028_0006;
pub(super) const NUMBER_OF_FRAMES: Tag = 0x0028_0008;
pub(super) const ROWS: Tag = 0x0028_0010;
pub(super) const COLUMNS: Tag = 0x0028_0011;
pub(super) const BITS_ALLOCATED: Tag = 0x0028_0100;
pub(super) const BITS_STORED: Tag = 0x0028_0101;
pub(super) const HIGH_BIT: Tag = 0x0028_0102;
pub(super) const PIXEL_REPRESENTATION: Tag = 0x0028_0103;
pub(super) const PIXEL_PADDING_VALUE: Tag = 0x0028_0120;
pub(super) const PIXEL_PADDING_RANGE_LIMIT: Tag = 0x0028_0121;
pub(super) const WINDOW_CENTER: Tag = 0x0028_1050;
pub(super) const WINDOW_WIDTH: Tag = 0x0028_1051;
pub(super) const RESCALE_INTERCEPT: Tag = 0x0028_1052;
pub(super) const RESCALE_SLOPE: Tag = 0x0028_1053;
pub(super) const VOI_LUT_FUNCTION: Tag = 0x0028_1056;
/// Of red, green and blue.
pub(super) const PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR: [Tag; 3] = [0x0028_1101, 0x0028_1102, 0x0028_1103];
/// Of red, green and blue.
pub(super) const PALETTE_COLOR_LOOKUP_TABLE_DATA: [Tag; 3] = [0x0028_1201, 0x0028_1202, 0x0028_1203];
pub(super) const MODALITY_LUT_SEQUENCE: Tag = 0x0028_3000;
pub(super) const LUT_DESCRIPTOR: Tag = 0x0028_3002;
pub(super) const LUT_DATA: Tag = 0x0028_3006;
pub(super) const VOI_LUT_SEQUENCE: Tag = 0x0028_3010;
pub(super) const FRAME_VOI_LUT_SEQUENCE: Tag = 0x0028_9132;
pub(super) const PIXEL_VALUE_TRANSFORMATION_SEQUENCE: Tag = 0x0028_9145;
pub(super) const SHARED_FUNCTIONAL_GROUPS_SEQUENCE: Tag = 0x5200_9229;
pub(super) const PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE: Tag = 0x5200_9230;
pub(super) const FLOAT_PIXEL_DATA: Tag = 0x7fe0_0008;
pub(super) const DOUBLE_FLOAT_PIXEL_DATA: Tag = 0x7fe0_0009;
pub(super) const PIXEL_DATA: Tag = 0x7fe0_0010;
pub(super) const ITEM: Tag = 0xfffe_e000;
pub(super) const ITEM_DELIMITATION: Tag = 0xfffe_e00d;
pub(super) const SEQUENCE_DELIMITATION: Tag = 0xfffe_e0dd;
/// The group of the three above, which have no value representation in any encoding.
pub(super) const DELIMITERS: Tag = 0xfffe;

/// The elements outside of sequences that describe a picture.
pub(super) const OF_PICTURE: [Tag; 23] = [
    SAMPLES_PER_PIXEL,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    NUMBER_OF_FRAMES,
    ROWS,
    COLUMNS,
    BITS_ALLOCATED,
    BITS_STORED,
    HIGH_BIT,
    PIXEL_REPRESENTATION,
    PIXEL_PADDING_VALUE,
    PIXEL_PADDING_RANGE_LIMIT,
    WINDOW_CENTER,
    WINDOW_WIDTH,
    RESCALE_INTERCEPT,
    RESCALE_SLOPE,
    VOI_LUT_FUNCTION,
    PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR[0],
    PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR[1],
    PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR[2],
    PALETTE_COLOR_LOOKUP_TABLE_DATA[0],
    PALETTE_COLOR_LOOKUP_TABLE_DATA[1],
    PALETTE_COLOR_LOOKUP_TABLE_DATA[2],
];

/// The elements whose values are tables.
pub(super) const TABLES: [Tag; 4] = [
    LUT_DATA,
    PALETTE_COLOR_LOOKUP_TABLE_DATA[0],
    PALETTE_COLOR_LOOKUP_TABLE_DATA[1],
    PALETTE_COLOR_LOOKUP_TABLE_DATA[2],
];
