//! The server's bounds on values, norms and n_k in what clients send.

use std::ops::ControlFlow;

use effgan_data::{ClientName, ClientShare, ImageSet, Partition};
use effgan_fl::aggregate::{MemberSink, Weights, average};
use effgan_fl::message::Numbers;
use effgan_fl::message::Replies;
use effgan_fl::state::ClientState;
use effgan_fl::{
    Algorithm, Bounds, Broadcast, CheckpointConfig, Checkpoints, Exchange, ExchangeKind, FailurePolicy, Missing,
    OnFailure, Result, RoundContext, RoundRecord, RunId, ServerState, Shapes, Shard, Simulation, SimulationConfig,
    StepObserver, Update,
};
use effgan_nn::{Array, Params, Streams};

/// Values of a tensor: with 3.4e38 in all of them, sums of squares and of signed groups leave the range of an f32.
const VALUES: usize = 8192;

/// One round of averaging, in which `east` (1 image) replies with 1 in all values, `north` (8 images) with the given value, and
/// `south` (1 image) with 3.
struct FixedReplies(f32);

fn tensor(value: f32) -> Params {
    [("w".to_owned(), Array::new([VALUES], vec![value; VALUES]))].into_iter().collect()
}

impl Algorithm for FixedReplies {
    fn init(&self, _: &RoundContext) -> Result<ServerState> {
        Ok(ServerState::after_round(0, tensor(0.0)))
    }

    fn next(&self, state: &ServerState, ctx: &RoundContext) -> Option<Exchange> {
        (state.round == 0).then(|| Exchange::of_round(1, ExchangeKind::Average, ctx.roster.to_vec()))
    }

    fn broadcast(&self, state: &ServerState, exchange: &Exchange, _: &ClientName) -> Broadcast {
        exchange.message(state.params.clone())
    }

    fn expects(&self, _: &ServerState, _: &Exchange) -> Result<Shapes> {
        Ok([("w".to_owned(), vec![VALUES])].into())
    }

    fn local_update(
        &self,
        _: &Broadcast,
        _: &mut ClientState,
        shard: &Shard,
        _: &Streams,
        _: &mut dyn StepObserver,
    ) -> Result<Update> {
        let value = match shard.client.as_str() {
            "east" => 1.0,
            "north" => self.0,
            _ => 3.0,
        };
        Ok(Update { params: tensor(value), num_examples: shard.train.len() as u64, metrics: Numbers::new() })
    }

    fn aggregate(
        &self,
        _: &ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        _: &mut dyn MemberSink,
    ) -> Result<ServerState> {
        Ok(ServerState::after_round(exchange.round, average(replies, Weights::Examples, exchange.round)?))
    }

    fn local_steps(&self, _: &Exchange, _: u64) -> u64 {
        1
    }
}

/// The mean of the round, and its record.
fn round(north: f32, on_failure: OnFailure, bounds: Bounds) -> Result<(f32, RoundRecord)> {
    let folder = tempfile::tempdir().unwrap();
    let images = ImageSet::new([1, 4, 4], vec![0; 10 * 16], vec![0; 10], 1).unwrap();
    let share = |name: &str, train: Vec<u32>| {
        let name = ClientName::new(name).unwrap();
        ClientShare { name, train, held_out: Vec::new() }
    };
    let clients = vec![share("east", vec![0]), share("north", (1..9).collect()), share("south", vec![9])];
    let simulation = Simulation {
        algorithm: &FixedReplies(north),
        images: &images,
        partition: &Partition { clients },
        participation: &SimulationConfig::default(),
        failures: FailurePolicy { on_failure, min_clients: None, bounds },
        seed: 1,
        jobs: 1,
        checkpoints: &Checkpoints::new(folder.path().into(), RunId::default(), CheckpointConfig::default(), |_| ()),
        on_step: &|_| ControlFlow::Continue(()),
    };
    let mut records = Vec::new();
    let mut on_round = |record: &RoundRecord, _: &ServerState| {
        records.push(record.clone());
        Ok(())
    };
    let state = simulation.run(None, &mut Vec::new(), &mut on_round)?;
    Ok((state.params.get("w")?.values()[0], records.remove(0)))
}

fn missing(reason: &str) -> Vec<Missing> {
    vec![Missing { name: ClientName::new("north").unwrap(), reason: reason.into() }]
}

#[test]
fn a_client_whose_values_would_make_sums_infinite_is_left_out_by_name() {
    for value in [3.4e38, -3.4e38, 1e16] {
        let (mean, record) = round(value, OnFailure::LeaveOut, Bounds::default()).unwrap();
        assert_eq!(mean, 2.0, "(1 + 3) / 2");
        let reason = format!(
            "unusable reply: tensor `w` has the value {value:e} at index 0, beyond 1e15, which no training reaches"
        );
        assert_eq!(record.missing, missing(&reason));
        let line = serde_json::to_string(&record).unwrap();
        assert!(!line.contains("null"), "{line}");
        let error = round(value, OnFailure::Stop, Bounds::default()).unwrap_err().to_string();
        assert!(
            error.starts_with("client north sent an unusable reply in round 1: tensor `w` has the value "),
            "{error}"
        );
    }
}

#[test]
fn a_client_with_an_update_beyond_a_bound_of_the_config_is_left_out_and_one_at_the_bound_is_not() {
    // A step of 2 in each of 8,192 values has the norm √8192 · 2 = 181.02; north's step of 20 has 1810.
    let norm = |max_norm| Bounds { max_norm: Some(max_norm), ..Bounds::default() };
    let (_, record) = round(2.0, OnFailure::LeaveOut, norm(272.0)).unwrap();
    assert_eq!(record.missing, []);
    let (mean, record) = round(20.0, OnFailure::LeaveOut, norm(272.0)).unwrap();
    assert_eq!(mean, 2.0);
    assert_eq!(
        record.missing,
        missing("unusable reply: its update has the norm 1.810e3, beyond aggregation.max_norm = 272.0")
    );

    let value = Bounds { max_value: Some(20.0), ..Bounds::default() };
    assert_eq!(round(20.0, OnFailure::LeaveOut, value).unwrap().1.missing, []);
    let (_, record) = round(-20.5, OnFailure::LeaveOut, value).unwrap();
    let reason = "unusable reply: tensor `w` has the value -2.05e1 at index 0, beyond aggregation.max_value = 20.0";
    assert_eq!(record.missing, missing(reason));
}

#[test]
fn a_client_counts_as_its_cap_and_the_record_has_both_numbers() {
    let mean = |bounds| round(7.0, OnFailure::Stop, bounds).unwrap();
    // (1·1 + 8·7 + 1·3) / 10
    let (all, record) = mean(Bounds::default());
    assert_eq!(all, 6.0);
    assert!(record.clients.iter().all(|client| client.counted.is_none()));
    // (1·1 + 2·7 + 1·3) / 4
    let capped = Bounds { max_examples: Some(2), ..Bounds::default() };
    let shared = Bounds { max_weight: Some(0.5), ..Bounds::default() };
    for bounds in [capped, shared] {
        let (mean, record) = mean(bounds);
        assert_eq!(mean, 4.5);
        let counts: Vec<_> = record.clients.iter().map(|client| (client.num_examples, client.counted)).collect();
        assert_eq!(counts, [(1, None), (8, Some(2)), (1, None)]);
    }
}
