//! The steps of an algorithm, one call each, for programs with a loop or a transport of their own.

use std::sync::Arc;

use effgan_data::{ClientName, ImageSet};
use effgan_fl::local::check_shard;
use effgan_fl::message::Update;
use effgan_fl::{
    Algorithm, Broadcast, Exchange, FailurePolicy, FlError, Intake, Reply, Roster, RoundContext, ServerState, Shard,
};
use effgan_nn::{Params, Streams, Threads};

use crate::config::Config;
use crate::failure::Result;

/// Collected generators: client, n_k and params, in the order of names.
pub type Members = Vec<(ClientName, u64, Params)>;

/// An algorithm and its clients. The calls follow the contract of [`Algorithm`].
pub struct Steps {
    algorithm: Box<dyn Algorithm>,
    roster: Roster,
    seed: u64,
    image_shape: [usize; 3],
    num_classes: usize,
    jobs: usize,
}

impl Steps {
    /// The algorithm of `config` for `clients`, given by name and n_k.
    ///
    /// # Errors
    /// When the config is wrong, or a client has too few images for the network.
    pub(crate) fn new(
        config: &Config,
        clients: Vec<(ClientName, u64)>,
        image_shape: [usize; 3],
        num_classes: usize,
        jobs: usize,
    ) -> Result<Self> {
        config.check_clients(clients.len())?;
        let model = Arc::new(config.model(image_shape, num_classes)?);
        let (local, device) = (config.local.clone(), config.device()?);
        let algorithm = config.algorithm.build(model.clone(), local, &config.aggregation, device)?;
        for (name, num_examples) in &clients {
            check_shard(&*model, name, *num_examples as usize)?;
        }
        let (roster, seed) = (Roster::new(clients), config.seed);
        Ok(Self { algorithm, roster, seed, image_shape, num_classes, jobs })
    }

    fn context(&self) -> RoundContext<'_> {
        self.roster.context(self.seed)
    }

    /// The state before round 1.
    ///
    /// # Errors
    /// As [`Algorithm::init`].
    pub fn init(&self) -> Result<ServerState> {
        Ok(self.algorithm.init(&self.context())?)
    }

    /// The exchange that follows `state`; `None` when the algorithm is done.
    pub fn next(&self, state: &ServerState) -> Option<Exchange> {
        self.algorithm.next(state, &self.context())
    }

    /// The state after what the server computes once per exchange, before it broadcasts.
    ///
    /// # Errors
    /// As [`Algorithm::prepare`].
    pub fn prepare(&self, state: ServerState, exchange: &Exchange) -> Result<ServerState> {
        Ok(Threads::new(self.jobs).run(|| self.algorithm.prepare(state, exchange, &self.context()))?)
    }

    /// The broadcast to `client`.
    pub fn broadcast(&self, state: &ServerState, exchange: &Exchange, client: &ClientName) -> Broadcast {
        self.algorithm.broadcast(state, exchange, client)
    }

    /// The update of `client` from its images, u8 `[n, c, h, w]`, and their labels `[n]`. `client_state` is what the client keeps
    /// between rounds. `go_on` is called after each training step.
    ///
    /// # Errors
    /// When the images do not fit; as [`Algorithm::local_update`]; [`FlError::Interrupted`] when `go_on` returns false.
    pub fn local_update(
        &self,
        broadcast: &Broadcast,
        client: &ClientName,
        (pixels, labels): (Vec<u8>, Vec<u8>),
        client_state: &mut Params,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Update> {
        let images = ImageSet::new(self.image_shape, pixels, labels, self.num_classes)?;
        let train: Vec<u32> = (0..images.len() as u32).collect();
        let shard = Shard { client, images: &images, train: &train };
        let streams = Streams::of_client(self.seed, broadcast.round, client.as_str());
        let mut watch = |_: &_| {
            if go_on() { std::ops::ControlFlow::Continue(()) } else { std::ops::ControlFlow::Break(()) }
        };
        let update = || self.algorithm.local_update(broadcast, client_state, &shard, &streams, &mut watch);
        Ok(Threads::new(self.jobs).run(update)?)
    }

    /// Combines `replies`, given in any order, into the next state; collected generators are returned beside it.
    ///
    /// # Errors
    /// When a reply is unusable, naming its client; as [`Algorithm::aggregate`].
    pub fn aggregate(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        mut replies: Vec<(ClientName, Update)>,
    ) -> Result<(ServerState, Members)> {
        let expected = self.algorithm.expects(state, exchange)?;
        let mut intake =
            Intake::new(exchange, self.context(), expected, self.algorithm.losses(), FailurePolicy::default());
        replies.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut usable = replies.into_iter().map(|(client, update)| {
            let reply = Reply::new(client, exchange.id(), Ok(update));
            let taken = intake.take(&reply)?.cloned();
            let refused = || FlError::ClientFailed {
                client: reply.client.clone(),
                round: exchange.round,
                reason: "was not in the cohort, or replied twice".into(),
            };
            let update = taken.ok_or_else(refused)?;
            Ok((reply.client, update))
        });
        let mut members = Members::new();
        let fold = || self.algorithm.aggregate(state, exchange, &mut usable, &mut members);
        let state = Threads::new(self.jobs).run(fold)?;
        Ok((state, members))
    }
}
