//! The vector instructions that the kernels use, chosen at run time: one binary serves all processors of a family.

/// A set of vector instructions that the kernels are compiled for and that this processor has.
///
/// Only this module makes one, after checking the processor, so that a value is proof that its instructions may be
/// used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Isa(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Four lanes in plain Rust, which the compiler maps to the instructions that all processors of the target have.
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
    /// The instructions that all processors of the target have.
    pub const PORTABLE: Self = Self(Kind::Portable);

    pub(crate) fn kind(self) -> Kind {
        self.0
    }

    /// The sets that this processor has, the fastest last.
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

    /// The fastest set that this processor has.
    pub fn fastest() -> Self {
        *Self::available().last().expect("portable is always there")
    }

    /// The set called `name`: `portable`, `avx2`, `avx512` or `neon`.
    ///
    /// # Errors
    /// One line when this processor does not have it.
    pub fn named(name: &str) -> Result<Self, String> {
        let available = Self::available();
        available.iter().find(|isa| isa.name() == name).copied().ok_or_else(|| {
            let names: Vec<&str> = available.iter().map(|isa| isa.name()).collect();
            format!("{name} is not available on this processor, which has {}", names.join(", "))
        })
    }

    /// The [fastest](Self::fastest) set, or the one that the environment variable `EFFGAN_ISA` [names](Self::named),
    /// which is for benchmarks and tests.
    ///
    /// # Errors
    /// One line when this processor does not have the set.
    pub fn wanted() -> Result<Self, String> {
        match std::env::var("EFFGAN_ISA") {
            Ok(name) => Self::named(&name).map_err(|error| format!("EFFGAN_ISA = {error}")),
            Err(_) => Ok(Self::fastest()),
        }
    }

    /// Number of f32 that its vectors hold.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => 16,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => 8,
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => 4,
            Kind::Portable => 4,
        }
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

/// Defines `$name(isa, …)`, which runs `$body::<L>(…)` compiled for `isa`, where `L` are its
/// [lanes](crate::lanes::Lanes).
///
/// `$body` and everything that it calls must be `#[inline(always)]`, so that it is compiled with the instructions of
/// the function that it is inlined into.
///
/// Soundness: an [`Isa`] exists only where the processor has the instructions. What else `$body` requires (lengths of
/// slices, writable pointers) is checked in the same file, before `$name` is called.
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
    fn a_set_that_the_processor_lacks_cannot_be_had() {
        let available = Isa::available();
        for name in ["portable", "avx2", "avx512", "neon", "none-such"] {
            match Isa::named(name) {
                Ok(isa) => assert!(available.contains(&isa) && isa.name() == name, "{name}"),
                Err(error) => {
                    assert!(available.iter().all(|isa| isa.name() != name), "{error}");
                    let line = format!("{name} is not available on this processor, which has portable");
                    assert!(error.starts_with(&line), "{error}");
                }
            }
        }
    }
}
