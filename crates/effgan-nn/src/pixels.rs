//! Conversion of pixels between u8 in 0..=255, on disk and in pictures, and f32 in [-1, 1], in networks.

/// 0 ↦ −1, 255 ↦ 1.
pub fn to_f32(pixel: u8) -> f32 {
    f32::from(pixel) / 127.5 - 1.0
}

/// −1 ↦ 0, 1 ↦ 255, rounded to nearest; values outside are clamped.
pub fn to_u8(value: f32) -> u8 {
    ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_survives_both_conversions() {
        for pixel in 0..=255 {
            assert_eq!(to_u8(to_f32(pixel)), pixel);
        }
    }

    #[test]
    fn values_outside_are_clamped() {
        assert_eq!([to_u8(-1.5), to_u8(1.01)], [0, 255]);
    }
}
