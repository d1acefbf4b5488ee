//! Which vector instructions the kernels use: chosen at run time, so that one binary serves every processor of its
//! family.

use std::sync::OnceLock;

/// A set of vector instructions that the kernels are compiled for and this processor has: only [`available`](Self::available)
/// makes one, so that who holds it may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Isa(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// What every processor of the target has; four lanes that the compiler maps to what it may use.
    Portable,
    /// Eight lanes and fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Sixteen lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Four lanes; part of every 64-bit ARM.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// What every processor of the target has.
    pub const PORTABLE: Self = Self(Kind::Portable);

    pub(crate) fn kind(self) -> Kind {
        self.0
    }

    /// All that this processor has, the fastest last.
    pub fn available() -> Vec<Self> {
        let mut isas = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            isas.push(Self(Kind::Avx2));
            if is_x86_feature_detected!("avx512f") {
                isas.push(Self(Kind::Avx512));
            }
        }
        #[cfg(target_arch = "aarch64")]
        isas.push(Self(Kind::Neon));
        isas
    }

    /// The one that training uses: the fastest, or the one that the environment variable `EFFGAN_ISA` names
    /// (`portable`, `avx2`, `avx512`, `neon`), which is for measuring and for tests.
    ///
    /// # Panics
    /// When `EFFGAN_ISA` names none that this processor has; [`wanted`](Self::wanted) says so before.
    pub fn in_use() -> Self {
        static IN_USE: OnceLock<Isa> = OnceLock::new();
        *IN_USE.get_or_init(|| Self::wanted().unwrap_or_else(|error| panic!("{error}")))
    }

    /// What [`in_use`](Self::in_use) will be.
    ///
    /// # Errors
    /// A line that says so when `EFFGAN_ISA` names none that this processor has.
    pub fn wanted() -> Result<Self, String> {
        let available = Self::available();
        let Ok(name) = std::env::var("EFFGAN_ISA") else {
            return Ok(*available.last().expect("portable is always there"));
        };
        available.iter().find(|isa| isa.name() == name).copied().ok_or_else(|| {
            let names: Vec<&str> = available.iter().map(|isa| isa.name()).collect();
            format!("EFFGAN_ISA = {name} is none of this processor's {}", names.join(", "))
        })
    }

    /// `portable`, `avx2`, `avx512` or `neon`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
        }
    }
}

/// Defines `$name(isa, …)`, which runs `$body::<L>(…)` compiled for `isa`, `L` being its [lanes](super::lanes::Lanes).
///
/// `$body` and all that it calls is `#[inline(always)]`, so that it takes on the instructions of the function it ends up in.
///
/// Soundness: an [`Isa`] is only made where the processor has the instructions; what else `$body` demands (lengths of
/// slices, writable pointers) is checked where `$name` is called, in the same file.
macro_rules! for_each_isa {
    ($(#[$doc:meta])* $vis:vis fn $name:ident = $body:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?;) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(isa: $crate::isa::Isa, $($arg: $ty),*) $(-> $ret)? {
            use $crate::{isa::Kind, lanes};
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this function runs only where the processor has AVX-512; lengths are the caller's.
                unsafe { $body::<lanes::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this function runs only where the processor has AVX2 and FMA; lengths are the caller's.
                unsafe { $body::<lanes::Avx2>($($arg),*) }
            }
            match isa.kind() {
                // SAFETY: `Isa::available` gives this set only where the processor has it.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: NEON is part of the target; lengths are the caller's.
                #[cfg(target_arch = "aarch64")]
                Kind::Neon => unsafe { $body::<lanes::Neon>($($arg),*) },
                // SAFETY: needs no instructions beyond the target's; lengths are the caller's.
                Kind::Portable => unsafe { $body::<lanes::Portable>($($arg),*) },
            }
        }
    };
}
pub(crate) use for_each_isa;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_in_use_is_available() {
        assert!(Isa::available().contains(&Isa::in_use()));
    }
}
