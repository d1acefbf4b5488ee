//! Conversion of pixels between u8 in 0..=255, on disk and in pictures, and f32 in [-1, 1], in networks.

/// 0 ↦ −1, 255 ↦ 1.
pub fn to_f32(pixel: u8) -> f32 {
    f32::from(pixel) / 127.5 - 1.0
}

/// −1 ↦ 0, 1 ↦ 255, rounded to nearest; values outside are clamped.
pub fn to_u8(value: f32) -> u8 {
    let pixel = ((value + 1.0) * 127.5).clamp(0.0, 255.0);
    let whole = pixel as u8;
    // `f32::round` is a call where the target has no instruction for it. The fraction is exact, so that this rounds as it does.
    whole + u8::from(pixel - f32::from(whole) >= 0.5)
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
    fn pixels_are_rounded_to_nearest() {
        let rounded = |value: f32| ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
        let halfway = (0..255).map(|pixel| (f32::from(pixel as u8) + 0.5) / 127.5 - 1.0);
        for value in
            halfway.flat_map(|value| [value.next_down(), value, value.next_up()]).chain([f32::NAN, f32::INFINITY])
        {
            assert_eq!(to_u8(value), rounded(value), "{value}");
        }
    }

    #[test]
    fn values_outside_are_clamped() {
        assert_eq!([to_u8(-1.5), to_u8(1.01)], [0, 255]);
    }
}
