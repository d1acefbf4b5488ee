//! The stages of a run that score and draw.

use std::time::Instant;

use effgan_fl::Ensemble;
use effgan_fl::ensemble::{Member, NormStatistics, Selection};
use effgan_metrics::Scores;
use effgan_nn::Params;
use effgan_nn::gan::recompute_statistics;
use effgan_nn::networks::Network;

use super::{Data, Run};
use crate::failure::Result;
use crate::record::events::{Event, MemberClasses, Note, Score, Scored};
use crate::record::{grid_name, samples};

impl Run<'_> {
    /// Says what is to be known of the images and of the scores before they come.
    pub(super) fn record_notes(&mut self) -> anyhow::Result<()> {
        let notes = self.data.notes(self.config).into_iter().chain(self.scorer.note().map(str::to_owned));
        notes.into_iter().try_for_each(|note| self.record(&Event::Note(Note { note })))
    }

    pub(super) fn score_floor(&mut self) -> anyhow::Result<()> {
        let Data::Here(dataset, _) = self.data else { return Ok(()) };
        let started = Instant::now();
        let scores = self.scorer.floor(&dataset.train)?;
        self.record_score(0, Scored::Floor, None, scores, started)?;
        samples::save_grid(&self.dir, "real", dataset.test.first(samples::NUM_SHOWN).pixels(), self.network.image_shape)
    }

    /// Scores an average of generators, its batch-norm statistics made both ways, and draws the first way.
    pub(super) fn score_average(&mut self, generator: &Params, round: u32, of: Scored) -> anyhow::Result<()> {
        for statistics in self.ways() {
            if self.go_on().is_err() {
                return Ok(()); // the next step of training, or the next stage, says so
            }
            let started = Instant::now();
            let images = self.scorer.samples_of(&with_statistics(self.network, generator, statistics)?)?;
            if statistics != Some(NormStatistics::Average) {
                let name =
                    if of == Scored::Average { grid_name::grid_of_round(round) } else { "mean_of_members".into() };
                samples::save_grid(&self.dir, &name, &images, self.network.image_shape)?;
            }
            let scores = self.scorer.score(&images)?;
            self.record_score(round, of, statistics, scores, started)?;
        }
        Ok(())
    }

    /// The ways in which an averaged generator's statistics can be made; the one that is drawn, where nothing is scored.
    fn ways(&self) -> Vec<Option<NormStatistics>> {
        match (self.network.has_batch_norm(), self.scorer.has_reference()) {
            (true, true) => vec![Some(NormStatistics::Recompute), Some(NormStatistics::Average)],
            (true, false) => vec![Some(NormStatistics::Recompute)],
            (false, _) => vec![None],
        }
    }

    pub(super) fn score_ensemble(&mut self, ensemble: &Ensemble, round: u32) -> Result<()> {
        self.go_on()?;
        let started = Instant::now();
        let images = self.scorer.samples_of_ensemble(ensemble)?;
        samples::save_grid(&self.dir, "ensemble", &images, self.network.image_shape)?;
        let scores = self.scorer.score(&images)?;
        Ok(self.record_score(round, Scored::Ensemble, None, scores, started)?)
    }

    pub(super) fn draw_members(&mut self, ensemble: &Ensemble) -> Result<()> {
        self.go_on()?;
        let started = Instant::now();
        let is_drawn = |(i, member): &(usize, &Member)| *i < samples::MEMBERS_SHOWN || member.flagged.is_some();
        for (_, member) in ensemble.manifest().members.iter().enumerate().filter(is_drawn) {
            let selection = Selection::Members(vec![member.name.clone()]);
            let images = ensemble.sample(&selection, self.config.seed, 0..samples::MEMBER_SAMPLES, self.jobs)?;
            samples::save_grid(&self.dir, &format!("member_{}", member.name), &images, self.network.image_shape)?;
            if let Some(Scores { class_counts, .. }) = self.scorer.score(&images)? {
                self.record(&Event::Member(MemberClasses { client: member.name.to_string(), class_counts }))?;
            }
        }
        self.seconds.pictures += started.elapsed().as_secs_f64();
        Ok(())
    }

    fn record_score(
        &mut self,
        round: u32,
        of: Scored,
        norm_statistics: Option<NormStatistics>,
        scores: Option<Scores>,
        started: Instant,
    ) -> anyhow::Result<()> {
        let seconds = started.elapsed().as_secs_f64();
        self.seconds.score += seconds;
        let Some(scores) = scores else { return Ok(()) };
        let score = Score { round, of, norm_statistics, scores, seconds };
        self.scores.push(score.clone());
        self.record(&Event::Score(score))
    }
}

/// The generator with its batch-norm statistics made anew, or as they are.
pub(super) fn with_statistics(
    network: &Network,
    generator: &Params,
    statistics: Option<NormStatistics>,
) -> anyhow::Result<Params> {
    Ok(match statistics {
        Some(NormStatistics::Recompute) => recompute_statistics(network, generator)?,
        Some(NormStatistics::Average) | None => generator.clone(),
    })
}
