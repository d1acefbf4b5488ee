//! The members' weights in the ensemble: a member whose samples lie far from those of the others is flagged, and no member's share exceeds
//! the cap.
//!
//! The server has no real images, and members of clients with other classes differ as their images do: under label skew, the features of
//! the small network differ more between two honest members than between a member and noise. So only texture is compared, which classes
//! largely share ([`textures`]); docs/bad-clients.md has the measurements behind the features, the distance and the bound. A flag by itself
//! changes no weight: it is the opinion of a statistic.

use std::time::Instant;

use effgan_data::ClientName;
use effgan_fl::Ensemble;
use effgan_fl::ensemble::{Member, ModelWriter};
use effgan_fl::sample::{Draw, sample};
use effgan_metrics::{FeatureStats, distances_from_others, spread, textures};
use effgan_nn::{Model, Params, parallel_map};

use super::Run;
use crate::failure::Result;
use crate::record::events::{Event, Flag, Note, Spread};

/// How many samples of each member are compared: two batches of the sampler.
const SAMPLES: u64 = 128;
/// A member is flagged when its distance from the others exceeds the median member's by this factor.
const BOUND: f64 = 3.0;

impl Run<'_> {
    /// Flags members, and caps their weights if the config says so.
    pub(super) fn flag_and_cap(&mut self, members: &mut ModelWriter) -> Result<()> {
        let (started, aggregation) = (Instant::now(), &self.config.aggregation);
        for (client, distance) in self.far_members(members)? {
            let reason = format!(
                "its samples' texture lies {distance:.1} times as far from the others' as the median member's, more \
                 than {BOUND}"
            );
            members.flag(&client, &reason, aggregation.flagged);
            self.record(&Event::Flag(Flag { client: client.to_string(), reason, flagged: aggregation.flagged }))?;
        }
        if let Some(max_share) = aggregation.max_share {
            let largest = members.cap(max_share);
            // 1e-9: shares are rounded to f64.
            if largest > max_share * (1.0 + 1e-9) {
                let note = format!(
                    "aggregation.max_share = {max_share} cannot hold for so few members: all weigh the same, {largest:.4} each"
                );
                self.record(&Event::Note(Note { note }))?;
            }
        }
        self.seconds.score += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// The members beyond the bound, with their distances. Records how much the samples of each member differ from one another.
    fn far_members(&mut self, writer: &ModelWriter) -> Result<Vec<(ClientName, f64)>> {
        let members = writer.members();
        let looks = parallel_map(members.len(), self.execution.jobs(), |i| self.look_at(writer, &members[i]));
        let (stats, spreads): (Vec<_>, Vec<_>) = looks.into_iter().collect::<Result<Vec<_>>>()?.into_iter().unzip();
        spreads.into_iter().try_for_each(|spread| self.record(&Event::Spread(spread)))?;
        let distances = distances_from_others(&stats).map_err(anyhow::Error::from)?;
        let far = members.iter().zip(distances).filter(|(_, distance)| *distance > BOUND);
        Ok(far.map(|(member, distance)| (member.name.clone(), distance)).collect())
    }

    /// Statistics over the texture features of a member's samples, and their spread.
    fn look_at(&self, writer: &ModelWriter, member: &Member) -> Result<(FeatureStats, Spread)> {
        self.execution.check_stop()?;
        let generator = writer.generator(member)?;
        let images = self.first_samples(&generator, 1)?;
        let (features, dim) = textures(&images, self.model.image_shape());
        let stats = FeatureStats::of(&features, dim).map_err(anyhow::Error::from)?;
        Ok((stats, self.spread(Some(&member.name), &images)))
    }

    /// Records how much samples of the server's generator differ from one another.
    pub(super) fn record_spread(&mut self, model: &Ensemble) -> Result<()> {
        let images = self.first_samples(&model.global()?, self.execution.jobs())?;
        Ok(self.record(&Event::Spread(self.spread(None, &images)))?)
    }

    fn first_samples(&self, generator: &Params, jobs: usize) -> Result<Vec<u8>> {
        let draw = Draw::new(self.config.seed, 0..SAMPLES, self.device, jobs);
        Ok(sample(self.model, &[1.0], &|_| Ok(generator.clone()), &draw)?)
    }

    fn spread(&self, client: Option<&ClientName>, samples: &[u8]) -> Spread {
        let samples = spread(samples.chunks_exact(self.model.image_len())).unwrap_or_default();
        Spread { client: client.map(ToString::to_string), samples, real: self.data.spread_of(client) }
    }
}
