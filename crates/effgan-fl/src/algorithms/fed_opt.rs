//! `FedAdam` and `FedYogi` (Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan 2021, arXiv:2003.00295,
//! Algorithm 2): `fedgan` whose server treats the mean of the clients' updates as a gradient, and applies it with an optimiser of its own.
//!
//! With Δ the mean update of a trainable parameter x: m ← β₁ m + (1 − β₁) Δ, v ← β₂ v + (1 − β₂) Δ² (`FedAdam`) or v
//! ← v − (1 − β₂) Δ² sign(v − Δ²) (`FedYogi`), x ← x + η m / (√v + τ); m starts at 0 and v at τ², without bias correction. Running
//! statistics are data: they are averaged, as in `fedgan`.

use effgan_data::ClientName;
use effgan_nn::model::LossName;
use effgan_nn::networks::is_running_statistic;
use effgan_nn::{Array, Params, Streams};
use serde::{Deserialize, Serialize};

use super::fedgan::{Asks, FedGan, FedGanConfig};
use super::{AlgorithmConfig, AlgorithmSettings, everyone};
use crate::aggregate::{MemberSink, Rule, Weights};
use crate::algorithm::Algorithm;
use crate::local::{LocalTraining, Shard};
use crate::message::{Broadcast, Exchange, Replies, Shapes, Update};
use crate::roster::RoundContext;
use crate::state::{ClientState, ServerState};
use crate::step_observer::StepObserver;
use crate::{FlError, Result};

/// Settings of `fedadam` and `fedyogi`; `V` is the rule of the second moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FedOptConfig<V> {
    /// Rounds, ≥ 1.
    pub rounds: u32,
    /// η, the server's step size, > 0; default 0.01.
    #[serde(default = "default_server_learning_rate")]
    pub server_learning_rate: f64,
    /// β₁, decay of the first moment, 0 ≤ β₁ < 1; default 0.9.
    #[serde(default = "default_beta1")]
    pub beta1: f64,
    /// β₂, decay of the second moment, 0 ≤ β₂ < 1; default 0.99.
    #[serde(default = "default_beta2")]
    pub beta2: f64,
    /// τ, the degree of adaptivity, > 0: the smaller, the more equal the step sizes of all parameters; default 0.001.
    #[serde(default = "default_tau")]
    pub tau: f64,
    /// Share of the clients that take part in a round, above 0 and at most 1; default 1.
    #[serde(default = "everyone")]
    pub cohort: f64,
    /// How clients are weighted in the mean.
    #[serde(default)]
    pub weights: Weights,
    /// The rule by which v is updated; not a key, but given by the algorithm's name.
    #[serde(skip)]
    pub second_moment: V,
}

/// Settings of `fedadam`.
pub type FedAdamConfig = FedOptConfig<Adam>;
/// Settings of `fedyogi`.
pub type FedYogiConfig = FedOptConfig<Yogi>;

fn default_server_learning_rate() -> f64 {
    1e-2
}

fn default_beta1() -> f64 {
    0.9
}

fn default_beta2() -> f64 {
    0.99
}

fn default_tau() -> f64 {
    1e-3
}

/// A rule by which v is updated, and the algorithm that has it.
pub trait SecondMoment: Clone + Send + Sync + 'static {
    /// The algorithm's name in a config.
    const NAME: &'static str;

    /// The algorithm with these settings.
    fn algorithm(settings: FedOptConfig<Self>) -> AlgorithmConfig;

    /// The value after `v`, where Δ² is `square`.
    fn next(v: f64, square: f64, beta2: f64) -> f64;
}

/// v ← β₂ v + (1 − β₂) Δ²
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adam;

impl SecondMoment for Adam {
    const NAME: &'static str = "fedadam";

    fn algorithm(settings: FedAdamConfig) -> AlgorithmConfig {
        AlgorithmConfig::Fedadam(settings)
    }

    fn next(v: f64, square: f64, beta2: f64) -> f64 {
        beta2 * v + (1.0 - beta2) * square
    }
}

/// v ← v − (1 − β₂) Δ² sign(v − Δ²)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Yogi;

impl SecondMoment for Yogi {
    const NAME: &'static str = "fedyogi";

    fn algorithm(settings: FedYogiConfig) -> AlgorithmConfig {
        AlgorithmConfig::Fedyogi(settings)
    }

    fn next(v: f64, square: f64, beta2: f64) -> f64 {
        v - (1.0 - beta2) * square * sign(v - square)
    }
}

/// −1, 0 or 1.
fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

impl<V: Default> FedOptConfig<V> {
    /// The algorithm of `rounds` rounds, with all other keys at their defaults.
    pub(super) fn of(rounds: u32) -> Self {
        Self {
            rounds,
            server_learning_rate: default_server_learning_rate(),
            beta1: default_beta1(),
            beta2: default_beta2(),
            tau: default_tau(),
            cohort: everyone(),
            weights: Weights::default(),
            second_moment: V::default(),
        }
    }
}

impl<V> FedOptConfig<V> {
    /// The algorithm whose server replaces its parameters by the mean.
    fn averaging(&self) -> FedGanConfig {
        FedGanConfig { rounds: self.rounds, cohort: self.cohort, weights: self.weights }
    }
}

impl<V: SecondMoment> AlgorithmSettings for FedOptConfig<V> {
    fn name(&self) -> &'static str {
        V::NAME
    }

    fn check(&self) -> Result<()> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let keys = [
            (
                "server_learning_rate",
                self.server_learning_rate,
                positive(self.server_learning_rate),
                "must be above 0 and finite",
            ),
            (
                "tau",
                self.tau,
                (1e-18..=1e19).contains(&self.tau),
                "must be from 1e-18 to 1e19 (its square is computed in 32 bits)",
            ),
            ("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "must be at least 0 and below 1"),
            ("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "must be at least 0 and below 1"),
        ];
        if let Some((key, value, _, bound)) = keys.into_iter().find(|(_, _, is_valid, _)| !is_valid) {
            return Err(FlError::Config(format!("algorithm.{key} = {value:?} {bound}")));
        }
        self.averaging().check()
    }

    fn build_with(&self, training: LocalTraining, rule: Rule) -> Result<Box<dyn Algorithm>> {
        let averaging = FedGan { config: self.averaging(), training, rule, asks: Asks::Cohort };
        Ok(Box::new(FedOpt { config: self.clone(), averaging }))
    }

    fn rounds(&self) -> Option<u32> {
        Some(self.rounds)
    }

    fn with_rounds(&self, rounds: u32) -> AlgorithmConfig {
        V::algorithm(Self { rounds, ..self.clone() })
    }

    fn weights(&self) -> Weights {
        self.weights
    }

    fn cohort(&self) -> f64 {
        self.cohort
    }
}

/// Prefixes of m and v in the server's state.
const MOMENTS: [&str; 2] = ["first_moment", "second_moment"];

/// Federated averaging with an optimiser at the server.
struct FedOpt<V> {
    config: FedOptConfig<V>,
    averaging: FedGan,
}

impl<V: SecondMoment> FedOpt<V> {
    /// x, m and v of one tensor after a step from x to the clients' `mean`.
    fn step(&self, [x, m, v]: [&Array; 3], mean: &Array) -> [Array; 3] {
        let now = [x, m, v].map(Array::values);
        let mut next = now.map(|values| Vec::with_capacity(values.len()));
        for (i, &mean) in mean.values().iter().enumerate() {
            let stepped = self.step_value(now.map(|values| f64::from(values[i])), f64::from(mean));
            next.iter_mut().zip(stepped).for_each(|(values, value)| values.push(value as f32));
        }
        next.map(|values| Array::new(mean.shape.clone(), values))
    }

    fn step_value(&self, [x, m, v]: [f64; 3], mean: f64) -> [f64; 3] {
        let FedOptConfig { server_learning_rate, beta1, beta2, tau, .. } = self.config;
        let delta = mean - x;
        let square = delta * delta;
        let m = beta1 * m + (1.0 - beta1) * delta;
        let v = V::next(v, square, beta2);
        // Yogi's v is never negative but for rounding.
        [x + server_learning_rate * m / (v.max(0.0).sqrt() + tau), m, v]
    }
}

impl<V: SecondMoment> Algorithm for FedOpt<V> {
    fn init(&self, ctx: &RoundContext) -> Result<ServerState> {
        let mut state = self.averaging.init(ctx)?;
        let first = [0.0, (self.config.tau * self.config.tau) as f32];
        let learned = state.params.clone();
        for (name, array) in learned.iter().filter(|(name, _)| !is_running_statistic(name)) {
            for (prefix, value) in MOMENTS.into_iter().zip(first) {
                let moment = Array::new(array.shape.clone(), vec![value; array.values().len()]);
                state.params.insert(format!("{prefix}.{name}"), moment);
            }
        }
        Ok(state)
    }

    fn next(&self, state: &ServerState, ctx: &RoundContext) -> Option<Exchange> {
        self.averaging.next(state, ctx)
    }

    fn broadcast(&self, state: &ServerState, exchange: &Exchange, _: &ClientName) -> Broadcast {
        let is_moment = |name: &str| MOMENTS.iter().any(|prefix| name.starts_with(prefix));
        let networks = state.params.iter().filter(|(name, _)| !is_moment(name));
        exchange.message(networks.map(|(name, array)| (name.clone(), array.clone())).collect())
    }

    fn expects(&self, state: &ServerState, exchange: &Exchange) -> Result<Shapes> {
        self.averaging.expects(state, exchange)
    }

    fn local_update(
        &self,
        broadcast: &Broadcast,
        client_state: &mut ClientState,
        shard: &Shard,
        streams: &Streams,
        observer: &mut dyn StepObserver,
    ) -> Result<Update> {
        self.averaging.local_update(broadcast, client_state, shard, streams, observer)
    }

    fn aggregate(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        _: &mut dyn MemberSink,
    ) -> Result<ServerState> {
        let mut params = Params::new();
        let means = self.averaging.rule.fold(
            &state.params,
            replies,
            self.config.weights,
            exchange.round,
            exchange.cohort.len(),
        )?;
        for (name, mean) in &means {
            if is_running_statistic(name) {
                params.insert(name.clone(), mean.clone());
                continue;
            }
            let names = [name.clone(), format!("{}.{name}", MOMENTS[0]), format!("{}.{name}", MOMENTS[1])];
            let [x, m, v] = names.each_ref().map(|name| state.params.get(name));
            let stepped = self.step([x?, m?, v?], mean);
            names.into_iter().zip(stepped).for_each(|(name, array)| params.insert(name, array));
        }
        Ok(ServerState::after_round(exchange.round, params))
    }

    fn local_steps(&self, exchange: &Exchange, num_examples: u64) -> u64 {
        self.averaging.local_steps(exchange, num_examples)
    }

    fn losses(&self) -> &'static [LossName] {
        self.averaging.losses()
    }

    fn weights(&self) -> Weights {
        self.averaging.weights()
    }
}
