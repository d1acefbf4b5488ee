//! The gate and the forwarder on 127.0.0.1, with real TLS, and a `SuperLink` of the tests' own behind them.

#![allow(unreachable_pub)]

mod answers;
mod bounds;
mod figures;
mod forwarder;
mod list;
mod probes;
mod requests;
mod strangers;
mod support;
