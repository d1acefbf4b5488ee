//! What the rounds of averaging give to the fine-tuning: EFFGAN's fine-tuning from several starts, scored along the way.
//!
//! ```text
//! cargo run --locked --release --example fine_tuning -- CONFIG OUT.csv [SECTION.KEY=VALUE ...]
//! ```
//!
//! The rounds of an `effgan` or a `cyclic-effgan` are computed once. Then all clients fine-tune from each of the [`Start`]s, with the same
//! images and random numbers. `both` is what `effgan run` does, to the same bits. Each row of the CSV is a score after so many epochs of
//! fine-tuning: of the ensemble against the test images, and for `both` also of each member, against its own client's training images
//! and against the test images. Distances of few images are larger: members are comparable along the epochs and with each other only where
//! n is the same.

#![allow(clippy::print_stdout, reason = "its progress")]

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, anyhow, bail, ensure};
use effgan_data::{ClientShare, Dataset, ImageList, Partition};
use effgan_fl::local::{BatchSampler, ShuffledEpochs};
use effgan_fl::sample::{Draw, sample};
use effgan_fl::{ExchangeKind, LocalConfig, LocalWork, Roster, ServerState};
use effgan_metrics::Reference;
use effgan_nn::gan::{DISCRIMINATOR, GENERATOR, GanModel};
use effgan_nn::model::{Batch, StepPlan, TrainingImages};
use effgan_nn::{Adam, Array, Device, Model, Params, Streams, Trainer, model};
use effgan_run::config::Config;
use effgan_run::failure::Failure;
use effgan_run::scores::{FeatureNet, Training};

/// Epochs of fine-tuning after which the ensemble is scored, besides the last.
const SCORED: [u32; 6] = [0, 1, 5, 10, 20, 40];
/// Test images that a member is scored against.
const MEMBER_IMAGES: usize = 2000;

/// What the fine-tuning starts from, and how it trains.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    /// Both networks of the last round.
    Both,
    /// The generator of the last round, with the discriminator that the run began with.
    FreshDiscriminator,
    /// The discriminator of the last round, with the generator that the run began with.
    FreshGenerator,
    /// Both networks of the last round, with the moments of Adam that the client had at its end.
    KeptMoments,
    /// Both networks, with another step size.
    StepSize(f64),
    /// Both networks, with batch norm's running statistics as they were at first.
    FreshStatistics,
}

impl Start {
    const ALL: [Self; 7] = [
        Self::Both,
        Self::FreshDiscriminator,
        Self::FreshGenerator,
        Self::KeptMoments,
        Self::StepSize(0.5),
        Self::StepSize(2.0),
        Self::FreshStatistics,
    ];

    fn name(self) -> String {
        match self {
            Self::Both => "both".into(),
            Self::FreshDiscriminator => "fresh-discriminator".into(),
            Self::FreshGenerator => "fresh-generator".into(),
            Self::KeptMoments => "kept-moments".into(),
            Self::StepSize(factor) => format!("step-size-{factor}"),
            Self::FreshStatistics => "fresh-statistics".into(),
        }
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [config, out, settings @ ..] = &args[..] else { bail!("usage: fine_tuning CONFIG OUT.csv [KEY=VALUE ...]") };
    let config = Config::load(Path::new(config), settings).map_err(in_one_line)?;
    let dataset = config.load_dataset()?;
    let partition = config.deal(&dataset).map_err(in_one_line)?;
    let study = Study::new(&config, &dataset, &partition)?;
    let mut csv = File::create(out).with_context(|| out.clone())?;
    writeln!(csv, "start,epoch,of,n,fd_small")?;
    let (networks, ends) = study.rounds()?;
    for start in Start::ALL {
        study.fine_tune(start, &networks, &ends, &mut csv)?;
    }
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "map_err passes a value")]
fn in_one_line(failure: Failure) -> anyhow::Error {
    anyhow!(failure.line())
}

struct Study<'a> {
    config: &'a Config,
    /// Epochs of a round.
    epochs: u32,
    fine_tune_epochs: u32,
    dataset: &'a Dataset,
    partition: &'a Partition,
    model: GanModel,
    features: FeatureNet,
    device: Device,
}

/// A client at the end of its last round.
struct ClientEnd {
    /// Networks and moments of Adam.
    state: Params,
    steps: u64,
}

/// A client at work.
struct Client<'a> {
    share: &'a ClientShare,
    trainer: Box<dyn Trainer>,
    streams: Streams,
    /// Number of steps since the random streams began, kept moments included.
    steps: u64,
}

impl<'a> Study<'a> {
    fn new(config: &'a Config, dataset: &'a Dataset, partition: &'a Partition) -> Result<Self> {
        let device = Device::cpu()?;
        let work = config.local.work()?;
        let (LocalWork::Epochs(epochs), Some(LocalWork::Epochs(fine_tune_epochs))) =
            (work, config.algorithm.fine_tuning(work)?)
        else {
            bail!("the config needs rounds and fine-tuning, both in epochs");
        };
        ensure!(config.local.ema.is_none(), "local.ema is not computed here");
        ensure!(
            config.local.discriminator_steps.per_step() == 1,
            "local.discriminator_steps above 1 is not computed here"
        );
        let model = config.model(dataset.train.shape(), 10).map_err(in_one_line)?;
        let features = FeatureNet::required_for(
            dataset,
            config.evaluation.features.as_ref(),
            Training { device, jobs: 1, progress: &|_, _, _| {}, stop: &AtomicBool::new(false) },
        )
        .map_err(in_one_line)?;
        Ok(Self { config, epochs, fine_tune_epochs, dataset, partition, model, features, device })
    }

    /// The networks after the rounds, and the state of each client at the end of its last round.
    fn rounds(&self) -> Result<(Params, Vec<ClientEnd>)> {
        let (model, local, aggregation) =
            (Arc::new(self.model.clone()), self.config.local.clone(), &self.config.aggregation);
        let algorithm = self.config.algorithm.build(model, local, aggregation, self.device)?;
        let roster = Roster::of(self.partition);
        let ctx = roster.context(self.config.seed);
        let mut state = algorithm.init(&ctx)?;
        let mut ends = BTreeMap::new();
        while let Some(exchange) =
            algorithm.next(&state, &ctx).filter(|exchange| exchange.kind == ExchangeKind::Average)
        {
            let mut replies = Vec::new();
            for share in self.partition.clients.iter().filter(|share| exchange.cohort.contains(&share.name)) {
                let mut client = self.client(share, exchange.round, &state.params, 1.0)?;
                self.train(&mut client, self.epochs)?;
                ends.insert(share.name.clone(), ClientEnd { state: client.trainer.state()?, steps: client.steps });
                replies.push((share.train.len() as f64, client.trainer.into_params(model::Part::Averaged)?));
            }
            state = ServerState::after_round(exchange.round, mean(&replies)?);
        }
        ensure!(ends.len() == self.partition.clients.len(), "every client takes part in a round");
        Ok((state.params, ends.into_values().collect()))
    }

    fn fine_tune(&self, start: Start, networks: &Params, ends: &[ClientEnd], csv: &mut File) -> Result<()> {
        let mut clients = Vec::new();
        for (share, end) in self.partition.clients.iter().zip(ends) {
            clients.push(self.start(start, share, networks, end)?);
        }
        let (last, mut done) = (self.fine_tune_epochs, 0);
        for epoch in SCORED.into_iter().filter(|epoch| *epoch < last).chain([last]) {
            for client in &mut clients {
                self.train(client, epoch - done)?;
            }
            done = epoch;
            let member = |client: &Client| Ok(client.trainer.state()?.under(GENERATOR));
            let members: Vec<Params> = clients.iter().map(member).collect::<effgan_nn::Result<_>>()?;
            let fd = self.ensemble(&members)?;
            writeln!(csv, "{},{epoch},ensemble,{},{fd:.3}", start.name(), self.dataset.test.len())?;
            println!("{} after {epoch} epochs: {fd:.2}", start.name());
            if start == Start::Both {
                self.members(&members, epoch, csv)?;
            }
        }
        Ok(())
    }

    /// A client before its first step of fine-tuning, which begins with the `networks` after the rounds.
    fn start(&self, start: Start, share: &'a ClientShare, networks: &Params, end: &ClientEnd) -> Result<Client<'a>> {
        let round = self.config.algorithm.rounds().context("an algorithm with rounds")? + 1;
        let first = model::init(&self.model, self.config.seed);
        let fresh = |is_fresh: &dyn Fn(&str) -> bool| {
            let mut params = networks.clone();
            for (name, array) in first.iter().filter(|(name, _)| is_fresh(name)) {
                params.insert(name.clone(), array.clone());
            }
            params
        };
        let of = |network: &'static str| {
            move |name: &str| name.starts_with(network) && name[network.len()..].starts_with('.')
        };
        let begin = |params: &Params, factor| self.client(share, round, params, factor);
        match start {
            Start::Both => begin(networks, 1.0),
            Start::FreshDiscriminator => begin(&fresh(&of(DISCRIMINATOR)), 1.0),
            Start::FreshGenerator => begin(&fresh(&of(GENERATOR)), 1.0),
            Start::StepSize(factor) => begin(networks, factor),
            Start::FreshStatistics => begin(&fresh(&|name| name.contains("running_")), 1.0),
            Start::KeptMoments => {
                let mut client = begin(networks, 1.0)?;
                // The state holds the parameters under their names, and the moments beside them.
                let state = end.state.clone().merged_with(networks.clone());
                client.trainer.restore(&state, end.steps)?;
                Ok(Client { steps: end.steps, ..client })
            }
        }
    }

    fn client(&self, share: &'a ClientShare, round: u32, params: &Params, factor: f64) -> Result<Client<'a>> {
        let trainer = self.model.trainer(params, &plan(&self.config.local, &self.model, factor), self.device)?;
        let streams = Streams::of_client(self.config.seed, round, share.name.as_str());
        Ok(Client { share, trainer, streams, steps: 0 })
    }

    fn train(&self, client: &mut Client, epochs: u32) -> Result<()> {
        let (images, of_all) = (&client.share.train, &self.dataset.train);
        let from = TrainingImages { pixels: of_all.pixels(), labels: of_all.labels(), indices: images, persons: None };
        let batch = self.config.local.batch_size.min(images.len());
        let steps = images.len().div_ceil(batch) * epochs as usize;
        for indices in ShuffledEpochs.batches(images, &client.streams, batch, client.steps).take(steps) {
            client.trainer.step(Batch { from, indices: &indices }, &client.streams)?;
        }
        client.trainer.drain_losses()?;
        client.steps += steps as u64;
        Ok(())
    }

    /// `fd_small` of as many samples of the ensemble as there are test images.
    fn ensemble(&self, members: &[Params]) -> Result<f64> {
        let weights: Vec<f64> = self.partition.clients.iter().map(|share| share.train.len() as f64).collect();
        let n = self.dataset.test.len();
        self.distance(members, &weights, self.dataset.test.pixels(), n)
    }

    /// The rows of each member.
    fn members(&self, members: &[Params], epoch: u32, csv: &mut File) -> Result<()> {
        for (share, member) in self.partition.clients.iter().zip(members) {
            let (own, member) = (self.images_of(share), std::slice::from_ref(member));
            let n = share.train.len();
            let to_own = self.distance(member, &[1.0], &own, n)?;
            let test = self.dataset.test.first(MEMBER_IMAGES);
            let to_all = self.distance(member, &[1.0], test.pixels(), MEMBER_IMAGES)?;
            writeln!(csv, "both,{epoch},{} to its own images,{n},{to_own:.3}", share.name)?;
            writeln!(csv, "both,{epoch},{} to test images,{MEMBER_IMAGES},{to_all:.3}", share.name)?;
        }
        Ok(())
    }

    fn images_of(&self, share: &ClientShare) -> Vec<u8> {
        share.train.iter().flat_map(|&index| self.dataset.train.image(index as usize)).copied().collect()
    }

    /// `fd_small` of `n` samples of the mixture against the `n` images of `real`.
    fn distance(&self, members: &[Params], weights: &[f64], real: &[u8], n: usize) -> Result<f64> {
        let shape = self.dataset.test.shape();
        let draw = Draw::new(self.config.seed, 0..n as u64, self.device, 1);
        let images = sample(&self.model, weights, &|i| Ok(members[i].clone()), &draw)?;
        let [real, images] =
            [real, &images].map(|images| self.features.extract(&ImageList::of_one_shape(images, shape), 1));
        let (real, images) = (real?, images?);
        let scores = Reference::new(self.features.network(), real, None)?.score_round(&images, 1)?;
        scores.main().map(|(_, value)| value).context("fd_small is a score of every round")
    }
}

fn plan(local: &LocalConfig, model: &dyn Model, factor: f64) -> StepPlan {
    let scaled = |adam: Adam| Adam { learning_rate: adam.learning_rate * factor, ..adam };
    let adam: BTreeMap<_, _> =
        model.networks().iter().map(|network| (network.name, scaled(local.adam(network.name)))).collect();
    StepPlan { adam, ..StepPlan::default() }
}

/// The mean, weighted by n_k, with effgan's rounding: another would be other networks within a few steps.
fn mean(replies: &[(f64, Params)]) -> Result<Params> {
    let total: f64 = replies.iter().map(|(n, _)| n).sum();
    let mut average = Params::new();
    for (name, array) in &replies[0].1 {
        let mut sums = vec![0.0_f64; array.values().len()];
        for (n, params) in replies {
            let values = params.get(name)?.values();
            sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += n * f64::from(value));
        }
        average.insert(
            name.clone(),
            Array::new(array.shape.clone(), sums.iter().map(|&sum| (sum / total) as f32).collect()),
        );
    }
    Ok(average)
}
