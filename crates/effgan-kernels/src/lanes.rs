//! Vectors of f32 for each instruction set behind one trait, so that each kernel is written once.
//!
//! A vector exists only where the processor has its instructions: `splat` and `load`, which make one, are unsafe, and
//! arithmetic on vectors is safe.

/// `N` values of f32 in one register.
pub(crate) trait Lanes: Copy {
    /// Number of lanes; divides [`BLOCK`](super::BLOCK).
    const N: usize;
    /// Rows of the largest register tile of a product that is [`TILE_BLOCKS`](Self::TILE_BLOCKS) blocks wide.
    const TILE_ROWS: usize;
    /// Width of a product's register tile in blocks.
    const TILE_BLOCKS: usize;

    /// `value` in every lane.
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn splat(value: f32) -> Self;
    /// The `N` values at `from`, which needs no alignment.
    ///
    /// # Safety
    /// The values are readable, and the processor has the instructions.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes the `N` values to `to`, which needs no alignment.
    ///
    /// # Safety
    /// They are writable.
    unsafe fn store(self, to: *mut f32);
    /// Prefetches the cache line at `at`, which may be any address, since nothing is read. Does nothing on sets without
    /// such an instruction.
    #[inline(always)]
    fn prefetch(_at: *const f32) {}
    /// As [`prefetch`](Self::prefetch), into the second-level cache only, for lines that are not needed soon or that
    /// would displace each other in the first level.
    #[inline(always)]
    fn prefetch_far(_at: *const f32) {}
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `self · factor + term`, rounded once if the processor can.
    fn mul_add(self, factor: Self, term: Self) -> Self;
    /// Lane by lane, `self` where `sign` is above zero and `other` elsewhere.
    fn where_positive(self, sign: Self, other: Self) -> Self;

    /// Bit i is set where lane i is above zero.
    fn positive(self) -> u16;
    /// Lane i is that of `self` where bit i of `bits` is set, and that of `other` elsewhere.
    fn where_set(self, bits: u16, other: Self) -> Self;

    /// `self · factor`.
    #[inline(always)]
    fn scale(self, factor: f32) -> Self {
        // SAFETY: `self` shows that the instructions are there.
        self.mul(unsafe { Self::splat(factor) })
    }

    /// `self · factor + term`.
    #[inline(always)]
    fn scale_add(self, factor: f32, term: Self) -> Self {
        // SAFETY: `self` shows that the instructions are there.
        self.mul_add(unsafe { Self::splat(factor) }, term)
    }

    /// `self` where it is above zero, `slope · self` elsewhere.
    #[inline(always)]
    fn leaky(self, slope: f32) -> Self {
        self.where_positive(self, self.scale(slope))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    // SAFETY (all blocks): a value of this type exists only where AVX-512 does; pointers are the caller's promise.
    impl Lanes for Avx512 {
        const N: usize = 16;
        const TILE_ROWS: usize = 14;
        const TILE_BLOCKS: usize = 2;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        fn prefetch(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }

        #[inline(always)]
        fn prefetch_far(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(unsafe { _mm512_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm512_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm512_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn mul_add(self, factor: Self, term: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, term.0) })
        }

        #[inline(always)]
        fn where_positive(self, sign: Self, other: Self) -> Self {
            Self(unsafe {
                let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(sign.0, _mm512_setzero_ps());
                _mm512_mask_blend_ps(positive, other.0, self.0)
            })
        }

        #[inline(always)]
        fn positive(self) -> u16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_ps()) }
        }

        #[inline(always)]
        fn where_set(self, bits: u16, other: Self) -> Self {
            Self(unsafe { _mm512_mask_blend_ps(bits, other.0, self.0) })
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256);

    // SAFETY (all blocks): a value of this type exists only where AVX2 and FMA do; pointers are the caller's promise.
    impl Lanes for Avx2 {
        const N: usize = 8;
        const TILE_ROWS: usize = 6;
        const TILE_BLOCKS: usize = 1;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        fn prefetch(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm256_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm256_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn mul_add(self, factor: Self, term: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, term.0) })
        }

        #[inline(always)]
        fn where_positive(self, sign: Self, other: Self) -> Self {
            Self(unsafe {
                let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(sign.0, _mm256_setzero_ps());
                _mm256_blendv_ps(other.0, self.0, positive)
            })
        }

        #[inline(always)]
        fn positive(self) -> u16 {
            unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, _mm256_setzero_ps())) as u16 }
        }

        #[inline(always)]
        fn where_set(self, bits: u16, other: Self) -> Self {
            Self(unsafe {
                let lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
                let set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(bits.into()), lane), lane);
                _mm256_blendv_ps(other.0, self.0, _mm256_castsi256_ps(set))
            })
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) use arm::Neon;

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::Lanes;

    #[derive(Clone, Copy)]
    pub(crate) struct Neon(float32x4_t);

    /// The bit of each lane.
    #[inline(always)]
    fn lanes() -> uint32x4_t {
        // SAFETY: four readable values.
        unsafe { vld1q_u32([1, 2, 4, 8].as_ptr()) }
    }

    // SAFETY (all blocks): NEON is part of the target; pointers are the caller's promise.
    impl Lanes for Neon {
        const N: usize = 4;
        const TILE_ROWS: usize = 6;
        const TILE_BLOCKS: usize = 1;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self(unsafe { vdupq_n_f32(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { vld1q_f32(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { vst1q_f32(to, self.0) }
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(unsafe { vaddq_f32(self.0, other.0) })
        }

        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Self(unsafe { vsubq_f32(self.0, other.0) })
        }

        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Self(unsafe { vmulq_f32(self.0, other.0) })
        }

        #[inline(always)]
        fn mul_add(self, factor: Self, term: Self) -> Self {
            Self(unsafe { vfmaq_f32(term.0, self.0, factor.0) })
        }

        #[inline(always)]
        fn where_positive(self, sign: Self, other: Self) -> Self {
            Self(unsafe { vbslq_f32(vcgtzq_f32(sign.0), self.0, other.0) })
        }

        #[inline(always)]
        fn positive(self) -> u16 {
            unsafe { vaddvq_u32(vandq_u32(vcgtzq_f32(self.0), lanes())) as u16 }
        }

        #[inline(always)]
        fn where_set(self, bits: u16, other: Self) -> Self {
            Self(unsafe { vbslq_f32(vtstq_u32(vdupq_n_u32(bits.into()), lanes()), self.0, other.0) })
        }
    }
}

/// Four lanes in plain Rust, which the compiler maps to the vectors of the target.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

// SAFETY (all blocks): pointers are the caller's promise.
impl Lanes for Portable {
    const N: usize = 4;
    const TILE_ROWS: usize = 2;
    const TILE_BLOCKS: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a + e, b + f, c + g, d + h])
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a - e, b - f, c - g, d - h])
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a * e, b * f, c * g, d * h])
    }

    /// Rounded twice: without the instruction, `f32::mul_add` calls the C library.
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self.mul(factor).add(term)
    }

    #[inline(always)]
    fn where_positive(self, sign: Self, other: Self) -> Self {
        let mut chosen = other.0;
        for i in 0..4 {
            if sign.0[i] > 0.0 {
                chosen[i] = self.0[i];
            }
        }
        Self(chosen)
    }

    #[inline(always)]
    fn positive(self) -> u16 {
        (0..4).map(|i| u16::from(self.0[i] > 0.0) << i).sum()
    }

    #[inline(always)]
    fn where_set(self, bits: u16, other: Self) -> Self {
        let mut chosen = other.0;
        for i in 0..4 {
            if bits >> i & 1 == 1 {
                chosen[i] = self.0[i];
            }
        }
        Self(chosen)
    }
}
