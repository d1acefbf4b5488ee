//! The gradient of the weights: a correlation of the frame with the feature map, in tiles of taps.

use super::Mask;
use super::frame::{Frame, TAP_TILE};
use crate::geometry::{BLOCK, Geometry};
use crate::lanes::Lanes;

/// Lines and run of the tile of taps that covers a window of `kernel` runs of `run` floats with the fewest products.
/// The two more per tile are for its loads of `output`. Vectors of 16 lanes come with 32 registers, shorter ones with
/// as few as 16.
#[inline(always)]
pub(super) fn tap_tile<L: Lanes>(kernel: usize, run: usize) -> (usize, usize) {
    let tiles = if L::N == BLOCK { &[(3, 3), (4, 4), (5, 5)] } else { &[(3, 3), (2, 4), (2, 5)] };
    let cost = |(r, j): (usize, usize)| kernel.div_ceil(r) * run.div_ceil(j) * (r * j + 2);
    let mut best = tiles[0];
    for &tile in tiles {
        if cost(tile) < cost(best) {
            best = tile;
        }
    }
    best
}

/// The frame and the map of one image, and the sums of their products.
pub(super) struct Correlation<'a> {
    pub(super) g: &'a Geometry,
    pub(super) frame: &'a [f32],
    pub(super) output: &'a [f32],
    pub(super) mask: Option<Mask<'a>>,
    pub(super) masked: &'a mut [f32],
    pub(super) grad: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
}

impl<'a> Correlation<'a> {
    #[inline(always)]
    pub(super) fn new(
        g: &'a Geometry,
        frame: &'a [f32],
        output: &'a [f32],
        mask: Option<Mask<'a>>,
        masked: &'a mut [f32],
        partial: &'a mut [f32],
    ) -> Self {
        assert_eq!(frame.len(), Frame::of(g).len_for_taps());
        assert!(output.len() == g.output.len() && mask.is_none_or(|(signs, _)| BLOCK * signs.len() == output.len()));
        assert_eq!(masked.len(), g.output.pixels() * BLOCK);
        let (grad, sums) = partial.split_at_mut(g.num_weights());
        assert_eq!(sums.len(), g.output.channels);
        Self { g, frame, output, mask, masked, grad, sums }
    }

    /// Adds the products of all taps, in tiles of R runs of J, and the sums of the map.
    #[inline(always)]
    pub(super) unsafe fn of_taps<L: Lanes, const R: usize, const J: usize>(mut self) {
        assert!(R <= TAP_TILE && J <= TAP_TILE, "the frame has room for the tile");
        // SAFETY: all channels are below the map's; the caller's promise on instructions.
        unsafe {
            for channel in (0..self.g.output.channels).step_by(L::N) {
                self.of_channels::<L, R, J>(channel);
            }
        }
    }

    /// As [`of_taps`](Self::of_taps), for N channels. Reads the map once per tile of taps; the first pass also masks
    /// and sums it.
    #[inline(always)]
    pub(super) unsafe fn of_channels<L: Lanes, const R: usize, const J: usize>(&mut self, channel: usize) {
        let Geometry { input, output, kernel, .. } = *self.g;
        let start = channel / BLOCK * output.pixels() * BLOCK + channel % BLOCK;
        // SAFETY: N channels from `start` are in one block of the map, and of the mask, whose lengths `new` asserts.
        unsafe {
            let map = self.output.as_ptr().add(start);
            let signs =
                |(signs, slope): Mask| Signs { at: signs.as_ptr().add(start / BLOCK), shift: start % BLOCK, slope };
            let mask = self.mask.map(signs);
            let mut fresh = Fresh { map, mask, masked: self.masked.as_mut_ptr(), sum: L::splat(0.0) };
            self.of_tile::<L, R, J>(&mut fresh, 0, 0, channel);
            let sum = self.sums.as_mut_ptr().add(channel);
            L::load(sum).add(fresh.sum).store(sum);
            for line in (0..kernel).step_by(R) {
                for tap in (0..kernel * input.channels).step_by(J) {
                    let mut kept = if self.mask.is_some() {
                        Kept { values: self.masked.as_ptr(), apart: L::N }
                    } else {
                        Kept { values: map, apart: BLOCK }
                    };
                    if (line, tap) != (0, 0) {
                        self.of_tile::<L, R, J>(&mut kept, line, tap, channel);
                    }
                }
            }
        }
    }

    /// As [`of_channels`](Self::of_channels), for the tile of taps that starts at float `tap` of run `line`.
    #[inline(always)]
    pub(super) unsafe fn of_tile<L: Lanes, const R: usize, const J: usize>(
        &mut self,
        pixels: &mut impl Pixels<L>,
        line: usize,
        tap: usize,
        channel: usize,
    ) {
        let Geometry { input, output, kernel, stride, .. } = *self.g;
        let (apart, run) = (Frame::of(self.g).line, kernel * input.channels);
        // SAFETY: the last window ends inside the frame (`fits`), and a tile in excess of it inside the frame's spare
        // lines; products are stored only for taps that the window has.
        unsafe {
            let mut sums = [[L::splat(0.0); J]; R];
            for y in 0..output.height {
                let mut window = self.frame.as_ptr().add((y * stride + line) * apart + tap);
                for _ in 0..output.width {
                    let pixel = pixels.next();
                    for r in 0..R {
                        for j in 0..J {
                            sums[r][j] = pixel.scale_add(*window.add(r * apart + j), sums[r][j]);
                        }
                    }
                    window = window.add(stride * input.channels);
                }
            }
            for r in 0..R {
                for j in 0..J {
                    if line + r < kernel && tap + j < run {
                        let place = ((line + r) * run + tap + j) * output.channels + channel;
                        let grad = self.grad.as_mut_ptr().add(place);
                        L::load(grad).add(sums[r][j]).store(grad);
                    }
                }
            }
        }
    }
}

/// An iterator over the vectors of a map's pixels.
pub(super) trait Pixels<L: Lanes> {
    /// The next pixel's; there must be one.
    unsafe fn next(&mut self) -> L;
}

/// Pixels read for the first time: they are masked, written to `masked` where there is a mask, and summed.
pub(super) struct Fresh<L> {
    pub(super) map: *const f32,
    pub(super) mask: Option<Signs>,
    pub(super) masked: *mut f32,
    pub(super) sum: L,
}

/// The signs of the pixels that follow, in the bits from `shift` on of one number per pixel.
pub(super) struct Signs {
    at: *const u16,
    shift: usize,
    slope: f32,
}

impl<L: Lanes> Pixels<L> for Fresh<L> {
    #[inline(always)]
    unsafe fn next(&mut self) -> L {
        // SAFETY: the caller's promise that there is a pixel.
        unsafe {
            let mut pixel = L::load(self.map);
            self.map = self.map.add(BLOCK);
            if let Some(Signs { at, shift, slope }) = &mut self.mask {
                pixel = pixel.where_set(**at >> *shift, pixel.scale(*slope));
                pixel.store(self.masked);
                *at = at.add(1);
                self.masked = self.masked.add(L::N);
            }
            self.sum = self.sum.add(pixel);
            pixel
        }
    }
}

/// Pixels that are ready to use, `apart` floats from one to the next.
pub(super) struct Kept {
    pub(super) values: *const f32,
    pub(super) apart: usize,
}

impl<L: Lanes> Pixels<L> for Kept {
    #[inline(always)]
    unsafe fn next(&mut self) -> L {
        // SAFETY: the caller's promise that there is a pixel.
        unsafe {
            let pixel = L::load(self.values);
            self.values = self.values.add(self.apart);
            pixel
        }
    }
}
