//! The stages of a run that score models and save sample images.

use std::time::Instant;

use effgan_fl::Ensemble;
use effgan_fl::ensemble::{Member, NormStatistics, Selection};
use effgan_fl::sample::Draw;
use effgan_metrics::Scores;
use effgan_nn::Model;
use effgan_nn::Params;
use effgan_nn::gan::recompute_statistics;

use super::Run;
use super::run_data::RunData;
use crate::failure::Result;
use crate::record::events::{Event, MemberClasses, Note, Score, Scored};
use crate::record::{grid_name, samples};

impl Run<'_> {
    /// Records the notes about the data and the scores.
    pub(super) fn record_notes(&mut self) -> anyhow::Result<()> {
        let notes = self.data.notes(self.config).into_iter().chain(self.scorer.notes().iter().cloned());
        notes.into_iter().try_for_each(|note| self.record(&Event::Note(Note { note })))
    }

    /// Scores real images as if they were generated, as the floor of all scores, and saves some of them.
    pub(super) fn score_floor(&mut self) -> anyhow::Result<()> {
        let RunData::Simulated(dataset, _) = self.data else { return Ok(()) };
        let started = Instant::now();
        let scores = self.scorer.floor(&dataset.train, self.execution.stop)?;
        self.record_score(0, Scored::Floor, None, scores, started)?;
        let shown = samples::NUM_SHOWN;
        samples::save_grid(&self.dir, "real", dataset.test.first(shown).pixels(), self.model.image_shape())
    }

    /// Scores an average of generators, with both ways of computing its batch-norm statistics, and saves samples of the first way.
    pub(super) fn score_average(&mut self, generator: &Params, round: u32, of: Scored) -> anyhow::Result<()> {
        for statistics in self.statistics_to_score() {
            if self.execution.check_stop().is_err() {
                return Ok(()); // the next training step or the next stage returns the error
            }
            let started = Instant::now();
            let images = self.scorer.samples_of(&self.with_statistics(generator, statistics)?)?;
            if statistics != Some(NormStatistics::Average) {
                let name =
                    if of == Scored::Average { grid_name::grid_of_round(round) } else { "mean_of_members".into() };
                samples::save_grid(&self.dir, &name, &images, self.model.image_shape())?;
            }
            let scores = self.scorer.score(&images, self.execution.stop)?;
            self.record_score(round, of, statistics, scores, started)?;
        }
        Ok(())
    }

    /// The ways of computing an averaged generator's batch-norm statistics that are scored; where nothing is scored, the one that is sampled.
    fn statistics_to_score(&self) -> Vec<Option<NormStatistics>> {
        match (self.model.network.config.has_batch_norm(), self.scorer.has_reference()) {
            (true, true) => vec![Some(NormStatistics::Recompute), Some(NormStatistics::Average)],
            (true, false) => vec![Some(NormStatistics::Recompute)],
            (false, _) => vec![None],
        }
    }

    /// Scores the ensemble, and saves some of its samples.
    pub(super) fn score_ensemble(&mut self, ensemble: &Ensemble, round: u32) -> Result<()> {
        self.execution.check_stop()?;
        let started = Instant::now();
        let images = self.scorer.samples_of_ensemble(ensemble)?;
        samples::save_grid(&self.dir, "ensemble", &images, self.model.image_shape())?;
        let scores = self.scorer.score(&images, self.execution.stop)?;
        Ok(self.record_score(round, Scored::Ensemble, None, scores, started)?)
    }

    /// Saves samples of the first members and of those that are flagged, and records which classes they show.
    pub(super) fn save_member_samples(&mut self, ensemble: &Ensemble) -> Result<()> {
        self.execution.check_stop()?;
        let started = Instant::now();
        let draw = Draw::new(self.config.seed, 0..samples::MEMBER_SAMPLES, self.device, self.execution.jobs());
        let is_shown = |(i, member): &(usize, &Member)| *i < samples::MEMBERS_SHOWN || member.flagged.is_some();
        for (_, member) in ensemble.manifest().members.iter().enumerate().filter(is_shown) {
            let images = ensemble.sample(&Selection::Members(vec![member.name.clone()]), &draw)?;
            samples::save_grid(&self.dir, &format!("member_{}", member.name), &images, self.model.image_shape())?;
            if let Some(class_counts) = self.scorer.class_counts(&images)? {
                let client = member.name.to_string();
                self.record(&Event::Member(MemberClasses { client, class_counts }))?;
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
        self.record(&Event::Score(Score { round, of, norm_statistics, scores, seconds }))
    }

    /// The generator with batch-norm statistics computed anew, or as they are.
    pub(super) fn with_statistics(
        &self,
        generator: &Params,
        statistics: Option<NormStatistics>,
    ) -> anyhow::Result<Params> {
        Ok(match statistics {
            Some(NormStatistics::Recompute) => recompute_statistics(&self.model.network, generator, self.device)?,
            Some(NormStatistics::Average) | None => generator.clone(),
        })
    }
}
