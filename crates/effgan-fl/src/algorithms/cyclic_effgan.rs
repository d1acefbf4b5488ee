//! EFFGAN after cyclical weight transfer (Chang et al. 2018, "Distributed deep learning networks among institutions for medical imaging",
//! doi:10.1093/jamia/ocy017) in place of averaging: one copy of the networks goes from client to client, each of which trains it in turn.
//! Then each client fine-tunes a copy of its own, and the server keeps the ensemble, as in `effgan`.
//!
//! Each visit is a round with one client, so as many visits as there are clients are as much work as one round of `effgan`. Nothing is
//! averaged: the networks take as many steps as all clients together. The price is that clients wait for each other, and that each
//! client receives what another one has just trained, its discriminator included. This is why a site has to allow it by name.

use serde::{Deserialize, Serialize};

use super::effgan::EffganConfig;
use super::fedgan::Asks;
use super::{AlgorithmConfig, AlgorithmSettings, check_rounds, everyone};
use crate::aggregate::{Rule, Weights};
use crate::local::{LocalTraining, LocalWork};
use crate::message::ExchangeKind;
use crate::{Algorithm, Result};

/// Settings of `cyclic-effgan`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CyclicEffganConfig {
    /// Visits of one client each before the fine-tuning, ≥ 1. Clients take turns in an order that is drawn anew once all had theirs.
    pub rounds: u32,
    /// Passes over its images in each client's fine-tuning; set either this or `fine_tune_steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fine_tune_epochs: Option<u32>,
    /// Training steps in each client's fine-tuning; set either this or `fine_tune_epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fine_tune_steps: Option<u32>,
    /// How clients are weighted as members of the ensemble.
    #[serde(default)]
    pub weights: Weights,
}

impl CyclicEffganConfig {
    /// The `effgan` with as many rounds and the same fine-tuning.
    fn effgan(&self) -> EffganConfig {
        let Self { rounds, fine_tune_epochs, fine_tune_steps, weights } = *self;
        EffganConfig { rounds, fine_tune_epochs, fine_tune_steps, cohort: everyone(), weights }
    }
}

impl AlgorithmSettings for CyclicEffganConfig {
    fn name(&self) -> &'static str {
        "cyclic-effgan"
    }

    fn check(&self) -> Result<()> {
        check_rounds(self.rounds, 1)?;
        self.effgan().check()
    }

    fn build_with(&self, training: LocalTraining, rule: Rule) -> Result<Box<dyn Algorithm>> {
        Ok(Box::new(self.effgan().asking(Asks::InTurn, training, rule)?))
    }

    fn rounds(&self) -> Option<u32> {
        Some(self.rounds)
    }

    fn with_rounds(&self, rounds: u32) -> AlgorithmConfig {
        AlgorithmConfig::CyclicEffgan(Self { rounds, ..self.clone() })
    }

    fn weights(&self) -> Weights {
        self.weights
    }

    fn takes_turns(&self) -> bool {
        true
    }

    fn why_only_mean(&self) -> Option<&'static str> {
        Some("averages nothing")
    }

    fn exchanges(&self) -> &'static [ExchangeKind] {
        &[ExchangeKind::Average, ExchangeKind::Collect]
    }

    fn fine_tuning(&self, local: LocalWork) -> Result<Option<LocalWork>> {
        self.effgan().fine_tuning(local)
    }
}
