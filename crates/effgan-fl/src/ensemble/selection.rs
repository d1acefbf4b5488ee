//! Sampling from a model folder.

use std::collections::BTreeSet;

use effgan_data::ClientName;
use effgan_nn::gan::GanModel;

use super::{Ensemble, Member};
use crate::sample::{self, Draw};
use crate::{FlError, Result};

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
    /// [`FlError::UnknownMember`]; files as in [`global`](Self::global);
    /// [`FlError::Config`] for a class that the model does not have, or of which no client had a training image.
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
        self.check_classes(draw.classes)?;
        let draw = &Draw { without: &self.manifest.without_examples, ..draw.clone() };
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

    /// The labels of the classes that can be drawn: those of which a client had a training image, as far as the manifest knows. Empty for an
    /// unconditional network.
    pub fn drawable(&self) -> Vec<u8> {
        let num_classes = self.manifest.network.num_classes.unwrap_or(0);
        let labels = (0..num_classes).map(|label| label as u8);
        labels.filter(|label| !self.manifest.without_examples.contains(label)).collect()
    }

    /// Refuses classes that the network has not learnt.
    fn check_classes(&self, classes: &[u8]) -> Result<()> {
        let is_unknown = |label: &&u8| self.manifest.without_examples.contains(label);
        let Some(&unknown) = classes.iter().find(is_unknown) else { return Ok(()) };
        let name =
            |label: u8| self.manifest.classes.get(usize::from(label)).cloned().unwrap_or_else(|| label.to_string());
        let known: Vec<String> = self.drawable().into_iter().map(name).collect();
        Err(FlError::Config(format!(
            "class {} cannot be drawn: no client had a training image of it; the classes that can be drawn are {}",
            name(unknown),
            known.join(", ")
        )))
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
