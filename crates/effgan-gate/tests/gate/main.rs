//! The gate and the forwarder on 127.0.0.1, with real TLS, in front of the tests' own `SuperLink`.

mod forwarder;
mod forwarder_connection;
mod limits;
mod measurements;
mod probe;
mod replies;
mod requests;
mod sites_list;
mod strangers;
mod support;
