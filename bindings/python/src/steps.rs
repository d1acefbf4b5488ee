//! `effgan.Steps`: the steps of an algorithm on named arrays, for programs with a loop or a transport of their own.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use effgan_data::ClientName;
use effgan_fl::message::Numbers;
use effgan_fl::{self as fl, ExchangeKind};
use effgan_run::api;
use numpy::{PyArray1, PyArray4, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::errors::{self, usage};
use crate::{arguments, run, tensors, work};

/// An algorithm and its clients.
#[pyclass(frozen, module = "effgan")]
pub struct Steps(api::Steps);

/// The state of the server between exchanges.
#[pyclass(frozen, module = "effgan")]
pub struct State(fl::ServerState);

/// The next exchange: its kind and its cohort.
#[pyclass(frozen, module = "effgan")]
pub struct Exchange(fl::Exchange);

/// A message from the server to a client.
#[pyclass(frozen, module = "effgan")]
pub struct Broadcast(fl::Broadcast);

/// A message from a client to the server.
#[pyclass(frozen, module = "effgan")]
pub struct Update(fl::Update);

#[pymethods]
impl Steps {
    #[new]
    #[pyo3(signature = (config, clients, *, image_shape, num_classes, settings=None, jobs=None))]
    fn new(
        config: &Bound<'_, PyAny>,
        clients: BTreeMap<String, i64>,
        image_shape: [usize; 3],
        num_classes: usize,
        settings: Option<&Bound<'_, PyDict>>,
        jobs: Option<i64>,
    ) -> PyResult<Self> {
        let settings =
            settings.map(|settings| arguments::tables(settings, "settings")).transpose()?.unwrap_or_default();
        let jobs = arguments::some_count(jobs, "jobs")?;
        let client = |(text, n): (String, i64)| Ok((name(&text)?, arguments::count(n, &text)?));
        let clients = clients.into_iter().map(client).collect::<PyResult<_>>()?;
        let steps = api::steps(run::source(config)?, &settings, clients, image_shape, num_classes, jobs);
        steps.map(Self).map_err(|failure| errors::exception(&failure))
    }

    /// The state before round 1.
    fn init(&self) -> PyResult<State> {
        self.0.init().map(State).map_err(|failure| errors::exception(&failure))
    }

    /// The exchange that follows `state`; `None` when the algorithm is done.
    fn next(&self, state: &State) -> Option<Exchange> {
        self.0.next(&state.0).map(Exchange)
    }

    /// The state after what the server computes once per exchange, before it broadcasts.
    fn prepare(&self, py: Python<'_>, state: &State, exchange: &Exchange) -> PyResult<State> {
        work::quietly(py, |_| self.0.prepare(state.0.clone(), &exchange.0)).map(State)
    }

    /// The broadcast to `client`.
    fn broadcast(&self, state: &State, exchange: &Exchange, client: &str) -> PyResult<Broadcast> {
        let client = name(client)?;
        if exchange.0.cohort.binary_search(&client).is_err() {
            return Err(usage(format!("{client} is not in the cohort of round {}", exchange.0.round)));
        }
        Ok(Broadcast(self.0.broadcast(&state.0, &exchange.0, &client)))
    }

    /// The update of `client` from its images, u8 `[n, c, h, w]`, and their labels, and the state that it keeps between rounds.
    #[pyo3(signature = (broadcast, client, images, labels, memory=None))]
    fn local_update<'py>(
        &self,
        py: Python<'py>,
        broadcast: &Broadcast,
        client: &str,
        images: &Bound<'py, PyArray4<u8>>,
        labels: &Bound<'py, PyArray1<u8>>,
        memory: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<(Update, Bound<'py, PyDict>)> {
        let client = name(client)?;
        let memory = memory.map(|memory| tensors::of_dict(memory, "memory")).transpose()?.unwrap_or_default();
        let images = images.readonly().as_array().iter().copied().collect();
        let labels = labels.readonly().as_array().iter().copied().collect();
        let (update, memory) = work::quietly(py, move |stop| {
            let mut memory = memory;
            let keep_going = || !stop.load(Ordering::Relaxed);
            let update = self.0.local_update(&broadcast.0, &client, (images, labels), &mut memory, &keep_going)?;
            Ok((update, memory))
        })?;
        Ok((Update(update), tensors::to_dict(py, memory)?))
    }

    /// Combines the updates of an exchange, given by client, into the next state; collected members are `(client, n_k, arrays)`.
    fn aggregate<'py>(
        &self,
        py: Python<'py>,
        state: &State,
        exchange: &Exchange,
        updates: &Bound<'py, PyDict>,
    ) -> PyResult<(State, Bound<'py, PyList>)> {
        let update = |(client, update): (Bound<'py, PyAny>, Bound<'py, PyAny>)| {
            let update = update.cast::<Update>()?.get().0.clone();
            Ok((name(&client.extract::<String>()?)?, update))
        };
        let updates = updates.iter().map(update).collect::<PyResult<_>>()?;
        let (state, members) = work::quietly(py, |_| self.0.aggregate(&state.0, &exchange.0, updates))?;
        let member = |(client, n, params): (ClientName, u64, _)| -> PyResult<Bound<'py, PyTuple>> {
            (client.as_str(), n, tensors::to_dict(py, params)?).into_pyobject(py)
        };
        let members = members.into_iter().map(member).collect::<PyResult<Vec<_>>>()?;
        Ok((State(state), PyList::new(py, members)?))
    }
}

#[pymethods]
impl State {
    #[new]
    fn new(round: u32, exchanges: u64, arrays: &Bound<'_, PyDict>) -> PyResult<Self> {
        Ok(Self(fl::ServerState { round, exchanges, params: tensors::of_dict(arrays, "arrays")? }))
    }

    /// Finished rounds.
    #[getter]
    fn round(&self) -> u32 {
        self.0.round
    }

    /// Finished exchanges of the round that follows; 0 between rounds.
    #[getter]
    fn exchanges(&self) -> u64 {
        self.0.exchanges
    }

    /// `generator.*`, `discriminator.*`, and other state of the algorithm.
    #[getter]
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        tensors::to_dict(py, self.0.params.clone())
    }
}

#[pymethods]
impl Exchange {
    /// The round, from 1.
    #[getter]
    fn round(&self) -> u32 {
        self.0.round
    }

    /// The kind: `average`, `collect`, `feedback`, `logits` or `swap`.
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.name()
    }

    /// The index of the server's step in the round, from 0.
    #[getter]
    fn iteration(&self) -> u64 {
        self.0.iteration
    }

    /// The clients that take part, sorted.
    #[getter]
    fn cohort(&self) -> Vec<&str> {
        self.0.cohort.iter().map(ClientName::as_str).collect()
    }

    fn __repr__(&self) -> String {
        format!("<effgan.Exchange {} of round {} with {} clients>", self.kind(), self.round(), self.0.cohort.len())
    }
}

#[pymethods]
impl Broadcast {
    #[new]
    fn new(round: u32, kind: &str, iteration: u64, iterations: u64, arrays: &Bound<'_, PyDict>) -> PyResult<Self> {
        let params = tensors::of_dict(arrays, "arrays")?;
        let kind = ExchangeKind::of_broadcast(kind, &params)
            .ok_or_else(|| usage(format!("there is no exchange of kind {kind:?}")))?;
        Ok(Self(fl::Broadcast { round, kind, iteration, iterations, params }))
    }

    /// The round, from 1.
    #[getter]
    fn round(&self) -> u32 {
        self.0.round
    }

    /// The kind of the exchange.
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.name()
    }

    /// The index of the server's step in the round, from 0.
    #[getter]
    fn iteration(&self) -> u64 {
        self.0.iteration
    }

    /// The number of the server's steps in the round.
    #[getter]
    fn iterations(&self) -> u64 {
        self.0.iterations
    }

    /// The tensors for the client.
    #[getter]
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        tensors::to_dict(py, self.0.params.clone())
    }
}

#[pymethods]
impl Update {
    #[new]
    fn new(arrays: &Bound<'_, PyDict>, num_examples: u64, metrics: &Bound<'_, PyDict>) -> PyResult<Self> {
        let (params, metrics) = (tensors::of_dict(arrays, "arrays")?, tensors::numbers(metrics, "metrics")?);
        Ok(Self(fl::Update { params, num_examples, metrics }))
    }

    /// The tensors of the reply.
    #[getter]
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        tensors::to_dict(py, self.0.params.clone())
    }

    /// n_k, the number of the client's training images.
    #[getter]
    fn num_examples(&self) -> u64 {
        self.0.num_examples
    }

    /// Mean losses, and the number of steps.
    #[getter]
    fn metrics(&self) -> Numbers {
        self.0.metrics.clone()
    }
}

fn name(text: &str) -> PyResult<ClientName> {
    ClientName::new(text).map_err(|error| usage(error.to_string()))
}

/// Splits a config's data set: the training images u8 `[n, c, h, w]` and labels `[n]` of each client, by name.
#[pyfunction]
#[pyo3(signature = (config, *, settings=None))]
pub fn deal<'py>(config: &Bound<'py, PyAny>, settings: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyDict>> {
    let py = config.py();
    let settings = settings.map(|settings| arguments::tables(settings, "settings")).transpose()?.unwrap_or_default();
    let source = run::source(config)?;
    let shares = work::quietly(py, |_| api::deal(source, &settings))?;
    let dict = PyDict::new(py);
    for share in shares {
        let [c, h, w] = share.shape;
        let n = share.labels.len();
        let images = PyArray1::from_vec(py, share.pixels).reshape([n, c, h, w])?;
        dict.set_item(share.name.as_str(), (images, PyArray1::from_vec(py, share.labels)))?;
    }
    Ok(dict)
}
