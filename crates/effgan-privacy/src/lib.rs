//! What private training costs: ε of many steps of the sampled Gaussian mechanism, by two accountants.
//!
//! A step of DP-SGD (Abadi et al. 2016, arXiv:1607.00133) takes each record with probability q, clips its gradient to a norm C, and adds
//! Gaussian noise of deviation σC to the sum: a [`SampledGaussian`]. A training is a [`Composition`] of such steps. [`epsilon`] bounds what
//! it reveals of one record that is added or removed: for any set S of outcomes, P(S) ≤ e^ε · Q(S) + δ, where P and Q are the outcomes with
//! and without the record, or without and with it. [`noise_multiplier`] and [`steps`] go the other way, from a budget to σ or to a number of
//! steps.
//!
//! Both accountants bound ε from above, and either number may be stated; [`epsilon`] takes the smaller. See [`Accountant`].

#![forbid(unsafe_code)]

mod accountant;
mod bounds;
mod budget;
mod composition;
mod error;
mod filter;
mod mechanism;
mod pld;
mod rdp;

pub use accountant::{Accountant, Epsilon, epsilon};
pub use budget::{noise_multiplier, steps};
pub use composition::Composition;
pub use error::{PrivacyError, Result};
pub use filter::Filter;
pub use mechanism::SampledGaussian;
pub use rdp::renyi_divergence;
