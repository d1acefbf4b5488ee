//! A driver copies no model: clients share the one that the server sends, and their replies go to their files as they are.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use effgan_data::{ClientName, ClientShare, ImageSet, Partition};
use effgan_fl::aggregate::{MemberSink, Weights};
use effgan_fl::algorithms::{FedAdamConfig, FedGanConfig};
use effgan_fl::message::{Numbers, Replies};
use effgan_fl::state::ClientState;
use effgan_fl::{
    AggregationConfig, Algorithm, AlgorithmConfig, Broadcast, Carrier, CheckpointConfig, Checkpoints, Exchange,
    FailurePolicy, Federation, LocalConfig, Reply, Result, Roster, RoundContext, RoundRecord, RunId, ServerState,
    Shapes, Shard, Simulation, SimulationConfig, SiteMessage, StepObserver, Update,
};
use effgan_nn::networks::{DcganConfig, Network, NetworkConfig, num_bytes};
use effgan_nn::{Device, Streams};

#[path = "../../effgan-kernels/tests/counting/allocator.rs"]
mod allocator;

/// An algorithm whose clients reply with the model that they were sent, so that only the driver allocates.
struct Untrained(Box<dyn Algorithm>);

impl Algorithm for Untrained {
    fn init(&self, ctx: &RoundContext) -> Result<ServerState> {
        self.0.init(ctx)
    }

    fn next(&self, state: &ServerState, ctx: &RoundContext) -> Option<Exchange> {
        self.0.next(state, ctx)
    }

    fn broadcast(&self, state: &ServerState, exchange: &Exchange, client: &ClientName) -> Broadcast {
        self.0.broadcast(state, exchange, client)
    }

    fn expects(&self, state: &ServerState, exchange: &Exchange) -> Result<Shapes> {
        self.0.expects(state, exchange)
    }

    fn local_update(
        &self,
        broadcast: &Broadcast,
        _: &mut ClientState,
        shard: &Shard,
        _: &Streams,
        _: &mut dyn StepObserver,
    ) -> Result<Update> {
        let (params, num_examples) = (broadcast.params.clone(), shard.train.len() as u64);
        Ok(Update { params, num_examples, metrics: Numbers::new() })
    }

    fn aggregate(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        members: &mut dyn MemberSink,
    ) -> Result<ServerState> {
        self.0.aggregate(state, exchange, replies, members)
    }

    fn local_steps(&self, exchange: &Exchange, num_examples: u64) -> u64 {
        self.0.local_steps(exchange, num_examples)
    }
}

fn network() -> Network {
    let dcgan = DcganConfig { latent_dim: 16, base_channels: 64, ..DcganConfig::default() };
    Network::new(NetworkConfig::Dcgan(dcgan), [1, 28, 28]).unwrap()
}

/// Bytes that a simulated round of `clients` allocates.
fn simulated(algorithm: &dyn Algorithm, clients: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let images = ImageSet::new([1, 28, 28], vec![0; clients * 784], vec![0; clients], 1).unwrap();
    let share =
        |i| ClientShare { name: ClientName::simulated(i, clients), train: vec![i as u32], held_out: Vec::new() };
    let partition = Partition { clients: (0..clients).map(share).collect() };
    let simulation = Simulation {
        algorithm,
        images: &images,
        partition: &partition,
        participation: &SimulationConfig::default(),
        failures: FailurePolicy::default(),
        seed: 1,
        // With one worker, each reply arrives in order: none waits in a file, from which its model would be read.
        jobs: 1,
        checkpoints: &checkpoints(folder.path()),
        on_step: &|_| ControlFlow::Continue(()),
    };
    allocated(|| simulation.run(None, &mut Vec::new(), &mut |_: &RoundRecord, _: &ServerState| Ok(())))
}

/// Bytes that the server of a round of `clients` at sites of their own allocates.
fn federated(algorithm: &dyn Algorithm, clients: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let roster = Roster::new((0..clients).map(|i| (ClientName::simulated(i, clients), 1)).collect());
    let federation = Federation {
        algorithm,
        roster: &roster,
        failures: FailurePolicy::default(),
        deadline: Duration::from_mins(1),
        seed: 1,
        jobs: 2,
        checkpoints: &checkpoints(folder.path()),
    };
    allocated(|| {
        federation.run(&mut Mirror::default(), None, &mut Vec::new(), &mut |_: &RoundRecord, _: &ServerState| Ok(()))
    })
}

fn allocated(run: impl FnOnce() -> Result<ServerState>) -> usize {
    let before = allocator::BYTES.load(Ordering::Relaxed);
    run().unwrap();
    allocator::BYTES.load(Ordering::Relaxed) - before
}

fn checkpoints(folder: &Path) -> Checkpoints {
    Checkpoints::new(folder.into(), RunId::default(), CheckpointConfig::default(), |line| panic!("{line}"))
}

/// Sites that reply at once with what they were sent.
#[derive(Default)]
struct Mirror(VecDeque<Reply>);

impl Carrier for Mirror {
    fn send(&mut self, client: &ClientName, message: &SiteMessage, _: u64) -> Result<()> {
        let params = message.broadcast.params.clone();
        let update = Update { params, num_examples: 1, metrics: Numbers::new() };
        self.0.push_back(Reply::new(client.clone(), message.broadcast.id(), Ok(update)));
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Reply>> {
        Ok(self.0.pop_front())
    }

    fn close(&mut self) {}
}

#[test]
fn a_further_client_of_a_round_allocates_no_model() {
    let fedgan = FedGanConfig { rounds: 1, cohort: 1.0, weights: Weights::Examples };
    let fedadam: FedAdamConfig = toml::from_str("rounds = 1").unwrap();
    let bytes = num_bytes(&network().generator_tensors()) + num_bytes(&network().discriminator_tensors());
    let local = LocalConfig { batch_size: 2, steps: Some(1), ..LocalConfig::default() };
    for config in [AlgorithmConfig::Fedgan(fedgan), AlgorithmConfig::Fedadam(fedadam)] {
        let model = Arc::new(local.gan(network()));
        let algorithm =
            config.build(model, local.clone(), &AggregationConfig::default(), Device::cpu().unwrap()).unwrap();
        let algorithm = Untrained(algorithm);
        for round in [simulated, federated] {
            let per_client = (round(&algorithm, 30) - round(&algorithm, 10)) / 20;
            assert!(per_client as u64 <= bytes / 10, "{}: {per_client} bytes for a model of {bytes}", config.name());
        }
    }
}
