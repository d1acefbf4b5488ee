//! Members of the ensemble before they get their shares: one whose samples lie far outside of the others' is flagged,
//! and none draws more than its cap.
//!
//! There are no real images at the centre, and members of clients who see other classes differ as their images do. So
//! what is compared is texture alone, of which classes have much in common ([`textures`]); docs/bad-clients.md has the
//! numbers that the choice of features, distance and bound comes from.

use std::time::Instant;

use effgan_data::ClientName;
use effgan_fl::ensemble::{Member, ModelWriter};
use effgan_fl::sample::sample;
use effgan_metrics::{FeatureStats, distances_from_others, textures};
use effgan_nn::parallel_map;

use super::Run;
use crate::failure::Result;
use crate::record::events::{Event, Flag, Note};

/// Samples of each member: two of the batches that images are drawn in.
const SAMPLES: u64 = 128;
/// A member is flagged that lies so many times as far from the others as the median member.
const BOUND: f64 = 3.0;

impl Run<'_> {
    /// Flags members and caps their weights.
    pub(super) fn share_out(&mut self, members: &mut ModelWriter) -> Result<()> {
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
            // 1e-9: f64 rounding of shares.
            if largest > max_share * (1.0 + 1e-9) {
                let note = format!(
                    "aggregation.max_share = {max_share} cannot be kept by so few members: they weigh the same, {largest:.4} each"
                );
                self.record(&Event::Note(Note { note }))?;
            }
        }
        self.seconds.score += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Those that lie beyond the bound, with their distances.
    fn far_members(&self, writer: &ModelWriter) -> Result<Vec<(ClientName, f64)>> {
        let members = writer.members();
        let stats = parallel_map(members.len(), self.jobs, |i| self.texture_of(writer, &members[i]));
        let distances =
            distances_from_others(&stats.into_iter().collect::<Result<Vec<_>>>()?).map_err(anyhow::Error::from)?;
        let far = members.iter().zip(distances).filter(|(_, distance)| *distance > BOUND);
        Ok(far.map(|(member, distance)| (member.name.clone(), distance)).collect())
    }

    fn texture_of(&self, writer: &ModelWriter, member: &Member) -> Result<FeatureStats> {
        self.go_on()?;
        let generator = writer.generator(member)?;
        let images = sample(self.network, &[1.0], &|_| Ok(generator.clone()), self.config.seed, 0..SAMPLES, 1)?;
        let (features, dim) = textures(&images, self.network.image_shape);
        Ok(FeatureStats::of(&features, dim).map_err(anyhow::Error::from)?)
    }
}
