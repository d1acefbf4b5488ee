//! Sampling from a model folder.

use std::collections::BTreeSet;

use effgan_data::ClientName;
use effgan_nn::gan::GanModel;

use super::{Ensemble, Member};
use crate::Result;
use crate::sample::{self, Draw};

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
    /// The images of `draw` from `selection`: u8 `[n, c, h, w]`.
    ///
    /// # Errors
    /// [`FlError::UnknownMember`](crate::FlError::UnknownMember); files as in [`global`](Self::global);
    /// [`FlError::Config`](crate::FlError::Config) for a class that the model does not have.
    pub fn sample(&self, selection: &Selection, draw: &Draw) -> Result<Vec<u8>> {
        self.sample_while(&|| Ok(()), selection, draw)
    }

    /// As [`sample`](Self::sample); calls `go_on` every few hundred images and ends with its error, if it returns one.
    ///
    /// # Errors
    /// As [`sample`](Self::sample), and those of `go_on`.
    pub fn sample_while(
        &self,
        go_on: &(dyn Fn() -> Result<()> + Sync),
        selection: &Selection,
        draw: &Draw,
    ) -> Result<Vec<u8>> {
        let model = &GanModel::new(self.manifest.network.clone());
        match self.selected(selection)? {
            members if members.is_empty() => {
                let global = self.global()?;
                let load = |_| go_on().map(|()| global.clone());
                sample::sample(model, &[1.0], &load, draw)
            }
            members => {
                let mut weights: Vec<f64> = members.iter().map(|member| member.weight).collect();
                if weights.iter().all(|&weight| weight == 0.0) {
                    weights.fill(1.0);
                }
                let load = |index: usize| go_on().and_then(|()| self.generator(members[index]));
                sample::sample(model, &weights, &load, draw)
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
