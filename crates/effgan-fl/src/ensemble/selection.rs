//! Sampling from a model folder.

use std::collections::BTreeSet;
use std::ops::Range;

use effgan_data::ClientName;
use effgan_nn::gan::GanModel;

use super::{Ensemble, Member};
use crate::{Result, sample};

/// The generators that samples are drawn from.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// All members, by weight; the averaged generator when there are no members.
    Ensemble,
    /// These members, by weight; equally when all of them have weight 0.
    Members(Vec<ClientName>),
    /// The averaged generator.
    Global,
}

impl Ensemble {
    /// Draws the images `range` of `seed` from `selection`: u8 `[n, c, h, w]`.
    ///
    /// # Errors
    /// [`FlError::UnknownMember`](crate::FlError::UnknownMember); files as in [`global`](Self::global).
    pub fn sample(&self, selection: &Selection, seed: u64, range: Range<u64>, jobs: usize) -> Result<Vec<u8>> {
        self.sample_classes(selection, &[], seed, range, jobs)
    }

    /// As [`sample`](Self::sample), with images of the given `classes` in turn (see [`sample_classes`](sample::sample_classes)).
    ///
    /// # Errors
    /// [`FlError::Config`](crate::FlError::Config) for a class that the model does not have; as [`sample`](Self::sample).
    pub fn sample_classes(
        &self,
        selection: &Selection,
        classes: &[u8],
        seed: u64,
        range: Range<u64>,
        jobs: usize,
    ) -> Result<Vec<u8>> {
        self.sample_while(&|| Ok(()), selection, classes, seed, range, jobs)
    }

    /// As [`sample_classes`](Self::sample_classes); calls `go_on` every few hundred images and ends with its error, if it returns one.
    ///
    /// # Errors
    /// As [`sample_classes`](Self::sample_classes), and those of `go_on`.
    pub fn sample_while(
        &self,
        go_on: &(dyn Fn() -> Result<()> + Sync),
        selection: &Selection,
        classes: &[u8],
        seed: u64,
        range: Range<u64>,
        jobs: usize,
    ) -> Result<Vec<u8>> {
        let model = &GanModel::new(self.manifest.network.clone());
        match self.selected(selection)? {
            members if members.is_empty() => {
                let global = self.global()?;
                let load = |_| go_on().map(|()| global.clone());
                sample::sample_classes(model, classes, &[1.0], &load, seed, range, jobs)
            }
            members => {
                let mut weights: Vec<f64> = members.iter().map(|member| member.weight).collect();
                if weights.iter().all(|&weight| weight == 0.0) {
                    weights.fill(1.0);
                }
                let load = |index: usize| go_on().and_then(|()| self.generator(members[index]));
                sample::sample_classes(model, classes, &weights, &load, seed, range, jobs)
            }
        }
    }

    /// The members of `selection`; an empty list stands for the averaged generator.
    fn selected(&self, selection: &Selection) -> Result<Vec<&Member>> {
        match selection {
            Selection::Ensemble => Ok(self.manifest.members.iter().collect()),
            Selection::Global => Ok(Vec::new()),
            Selection::Members(names) => {
                let names: BTreeSet<&ClientName> = names.iter().collect();
                names.into_iter().map(|name| self.named(name)).collect()
            }
        }
    }
}
