//! ε of a composition, by either accountant or by the better one.

use std::fmt;

use crate::bounds::MIN_DELTA;
use crate::composition::Composition;
use crate::error::{PrivacyError, Result};
use crate::{pld, rdp};

/// How ε is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accountant {
    /// Rényi differential privacy (Mironov, Talwar, Zhang 2019) at Opacus' orders.
    ///
    /// The only accountant whose sum over several trainings counts where the settings of a training followed what earlier ones gave (a
    /// privacy filter: Feldman, Zrnic 2021, arXiv:2008.11193). They show it for an order that is fixed before, and the best order is chosen
    /// here at the end.
    Rdp,
    /// Privacy loss distributions (Koskela et al. 2020; Doroshenko et al. 2022): never below the exact ε, and within about 10⁻⁴ of it where ε
    /// is above a half and there are up to 10⁵ steps.
    ///
    /// Needs settings that were all fixed before the first step.
    Pld,
}

/// What a composition costs at a given δ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epsilon {
    /// ε ≥ 0.
    pub value: f64,
    /// The accountant that found it.
    pub accountant: Accountant,
}

/// The smaller ε of both accountants for a `composition` and a `delta` from 10⁻⁵⁰ to below 1, for records that are added or removed.
///
/// # Errors
/// [`PrivacyError::Delta`] for another δ.
pub fn epsilon(composition: &Composition, delta: f64) -> Result<Epsilon> {
    let of = |accountant: Accountant| Ok(Epsilon { value: accountant.epsilon(composition, delta)?, accountant });
    let (rdp, pld) = (of(Accountant::Rdp)?, of(Accountant::Pld)?);
    Ok(if rdp.value < pld.value { rdp } else { pld })
}

pub(crate) fn check_delta(value: f64) -> Result<()> {
    if (MIN_DELTA..1.0).contains(&value) { Ok(()) } else { Err(PrivacyError::Delta { value }) }
}

impl Accountant {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Rdp, Self::Pld];

    /// ε ≥ 0 of a `composition` for a `delta` from 10⁻⁵⁰ to below 1, for records that are added or removed.
    ///
    /// # Errors
    /// [`PrivacyError::Delta`] for another δ.
    pub fn epsilon(self, composition: &Composition, delta: f64) -> Result<f64> {
        check_delta(delta)?;
        Ok(match self {
            Self::Rdp => rdp::epsilon(composition, delta),
            Self::Pld => pld::epsilon(composition, delta),
        })
    }

    /// `rdp` or `pld`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rdp => "rdp",
            Self::Pld => "pld",
        }
    }
}

impl fmt::Display for Accountant {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}
