//! A model is behind a seam: an [`Autoencoder`] runs through simulation, federation, kill and resume, with no line of the crate
//! that knows it.

use std::sync::Mutex;

use effgan_data::ImageSet;
use effgan_fl::local::BatchSampler;
use effgan_fl::sample::{Draw, sample};
use effgan_fl::{
    Broadcast, ExchangeKind, FinishedStep, FlError, LocalWork, Shard, StepObserver, StepRecord, TrainingState, Update,
};

use super::autoencoder::Autoencoder;
use super::message_driver::run_over_sites;
use super::resume::outcome_of;
use super::*;

fn autoencoder(config: &AlgorithmConfig) -> Box<dyn Algorithm> {
    let local = LocalConfig { learning_rate: 0.5, ..local() };
    config.build(Arc::new(Autoencoder), local, &AggregationConfig::default(), device()).unwrap()
}

#[test]
fn an_autoencoder_is_simulated_and_killed_and_resumes_to_the_bit() {
    for config in
        [fedgan(3), effgan(2, 2), AlgorithmConfig::Fedyogi(server_optimiser(2, 0.01, 1e-3)), local_ensemble(2)]
    {
        let algorithm = autoencoder(&config);
        let whole = outcome_of(&*algorithm, None, 1, None);
        for (every_steps, jobs, cut) in [(None, 2, None), (Some(1), 1, Some(1)), (Some(2), 2, Some(1))] {
            assert_eq!(outcome_of(&*algorithm, every_steps, jobs, cut), whole, "{}", config.name());
        }
    }
}

#[test]
fn an_autoencoder_is_trained_over_sites_to_the_bits_of_its_simulation() {
    for config in [fedgan(2), effgan(1, 2)] {
        let algorithm = autoencoder(&config);
        let simulated = outcome_of(&*algorithm, None, 1, None);
        for cut in [1, u64::MAX] {
            let ((params, members, rounds, _), _) = run_over_sites(&*algorithm, &partition(), None, cut);
            assert_eq!((&params, &members), (&simulated.params, &simulated.members));
            assert_eq!(rounds, simulated.rounds.values().cloned().collect::<Vec<_>>());
        }
    }
}

#[test]
fn its_decoder_is_the_member_that_draws_images_and_its_losses_are_the_metrics() {
    let outcome = outcome_of(&*autoencoder(&effgan(20, 1)), None, 1, None);
    let names = |params: &Params| params.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&outcome.params), ["decoder.weight", "encoder.weight"]);
    assert_eq!(names(&outcome.members[0].2), ["weight"]);
    let losses = |round| &outcome.rounds[&round].clients[0].metrics;
    assert_eq!(losses(1).keys().collect::<Vec<_>>(), ["loss_image", "loss_total", "loss_z", "steps"]);
    assert!(losses(20)["loss_image"] < 0.95 * losses(1)["loss_image"], "{losses:?}", losses = outcome.rounds);
    let load = |member: usize| Ok(outcome.members[member].2.clone());
    let draw = |range| sample(&Autoencoder, &[1.0, 2.0], &load, &Draw::new(7, range, device(), 2)).unwrap();
    assert_eq!(draw(0..100), [draw(0..3), draw(3..100)].concat());
    assert!(draw(0..100).iter().any(|&pixel| pixel != draw(0..1)[0]));
}

#[test]
fn algorithms_that_train_a_discriminator_apart_refuse_it() {
    for (config, name) in [(md_gan(1), "md-gan"), (ua_gan(1), "ua-gan")] {
        let error =
            config.build(Arc::new(Autoencoder), local(), &AggregationConfig::default(), device()).err().unwrap();
        assert_eq!(error.to_string(), format!("{name} trains a generator and a discriminator, which the model is not"));
    }
}

/// Steps see these numbers of images in turn.
#[derive(Debug)]
struct Varying(&'static [usize]);

impl BatchSampler for Varying {
    fn batches<'a>(
        &self,
        train: &'a [u32],
        _: &'a Streams,
        _: usize,
        first: u64,
    ) -> Box<dyn Iterator<Item = Vec<u32>> + 'a> {
        let sizes = self.0;
        let size = move |step: usize| sizes[step % sizes.len()];
        Box::new(
            (first as usize..).map(move |step| train.iter().copied().cycle().skip(step).take(size(step)).collect()),
        )
    }
}

/// Stops after `stop` steps, and keeps the records and the state.
struct Watch {
    stop: u64,
    records: Vec<StepRecord>,
    state: Mutex<Option<Params>>,
    from: Option<TrainingState>,
}

impl StepObserver for Watch {
    fn step(&mut self, record: &StepRecord) -> ControlFlow<()> {
        self.records.push(record.clone());
        if record.step == self.stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn resume_from(&mut self, _: u64) -> effgan_fl::Result<Option<TrainingState>> {
        Ok(self.from.take())
    }

    fn saves(&self, _: u64) -> bool {
        true
    }

    fn save(&mut self, state: Params) -> effgan_fl::Result<()> {
        *self.state.lock().unwrap() = Some(state);
        Ok(())
    }
}

/// Seven steps of `training` at `north`, from a saved state if there is one, until step `stop`.
fn seven_steps(training: &LocalTraining, stop: u64, from: Option<TrainingState>) -> (effgan_fl::Result<Update>, Watch) {
    let params = training.init(SEED);
    let broadcast = Broadcast { round: 1, kind: ExchangeKind::Average, iteration: 0, iterations: 1, params };
    let (partition, images): (_, ImageSet) = (partition(), images());
    let share = &partition.clients[0];
    let shard = Shard { client: &share.name, images: &images, train: &share.train };
    let mut watch = Watch { stop, records: Vec::new(), state: Mutex::new(None), from };
    let streams = Streams::of_client(SEED, 1, "north");
    let update = training.update(&broadcast, LocalWork::Steps(7), &shard, &streams, &mut watch);
    (update, watch)
}

#[test]
fn numbers_of_images_that_a_model_does_not_take_end_the_work_with_an_error() {
    let update = |sizes, steps| {
        let discriminator_steps = DiscriminatorSteps::Fixed(steps);
        let local = LocalConfig { discriminator_steps, ..local() };
        let training = LocalTraining::new(Arc::new(local.gan(network())), local, device()).unwrap();
        seven_steps(&training.on(Arc::new(Varying(sizes))), 0, None).0.map_err(|error| error.to_string())
    };
    assert!(update(&[2, 7, 4], 1).is_ok());
    assert!(update(&[2, 6, 4], 2).is_ok());
    let error = |images, batches| {
        Err(format!("a step has {images} images; the model needs 2 or more, in {batches} equal batches"))
    };
    assert_eq!(update(&[4, 0], 1), error(0, 1));
    assert_eq!(update(&[4, 1], 1), error(1, 1));
    assert_eq!(update(&[3], 2), error(3, 2));
}

#[test]
fn steps_see_as_many_images_as_their_sampler_chooses_also_after_an_interruption() {
    let training = LocalTraining::new(Arc::new(Autoencoder), local(), device()).unwrap();
    let training = training.on(Arc::new(Varying(&[1, 2, 3])));
    let train = |stop, from| seven_steps(&training, stop, from);
    let (whole, watch) = train(0, None);
    let sizes: Vec<u64> = watch.records.iter().map(|record| record.batch_size).collect();
    assert_eq!(sizes, [1, 2, 3, 1, 2, 3, 1]);
    let (interrupted, at_four) = train(4, None);
    assert!(matches!(interrupted, Err(FlError::Interrupted)));
    let finished = |record: &StepRecord| FinishedStep { batch_size: record.batch_size, losses: record.losses.clone() };
    let steps = at_four.records.iter().map(finished).collect();
    let tensors = at_four.state.into_inner().unwrap().unwrap();
    let (resumed, rest) = train(0, Some(TrainingState { steps, tensors }));
    assert_eq!(resumed.unwrap(), whole.unwrap());
    assert_eq!(rest.records, watch.records);
}
