//! Connections to the gate: the handshake, and then one request after another.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::session::Session;
use super::{FAREWELL, POLL, Shared};
use crate::body::{Body, DrainedBody};
use crate::connection_count::Counted;
use crate::gate_limits::{HEAD, Limits, NUM_HEADERS};
use crate::headers::empty_response;
use crate::tls;

impl Shared {
    /// Accepts connections, for ever.
    pub(super) async fn accept_all(self: Arc<Self>, listener: tokio::net::TcpListener) {
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                // Out of file descriptors: open connections will end.
                sleep(POLL).await;
                continue;
            };
            let peer = peer.ip().to_canonical();
            let limits = [self.limits.handshakes, self.limits.handshakes_per_peer];
            let start = |number| tokio::spawn(Arc::clone(&self).connect(stream, peer, number)).abort_handle();
            self.handshakes.start(peer, limits, start);
        }
    }

    async fn connect(self: Arc<Self>, stream: TcpStream, peer: IpAddr, number: u64) {
        let accepted = timeout(self.limits.handshake, self.shake_hands(stream, peer)).await.ok().flatten();
        // A handshake that was evicted meanwhile ends here as well.
        if let (Some((stream, session)), true) = (accepted, self.handshakes.finish(number)) {
            self.serve(stream, session).await;
        }
    }

    async fn shake_hands(&self, stream: TcpStream, peer: IpAddr) -> Option<(TlsStream<TcpStream>, Arc<Session>)> {
        stream.set_nodelay(true).ok()?;
        match self.acceptor.accept(stream).into_fallible().await {
            Ok(stream) => {
                let certificate = stream.get_ref().1.peer_certificates()?.first()?;
                let sites = self.sites.current();
                let session = self.sessions.of(sites.by_key(&tls::spki(certificate)?)?)?;
                Some((stream, session))
            }
            Err((error, stream)) => {
                self.log_limited(&self.refused_strangers, || format!("refused {peer}: {error}"));
                close_after_reading(stream).await;
                None
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TlsStream<TcpStream>, session: Arc<Session>) {
        let all = Counted::new(Arc::clone(&self), |shared| &shared.connections);
        let of_site = Counted::new(Arc::clone(&session), |session| &session.connections);
        let is_too_many = all.number > self.limits.connections || of_site.number > self.limits.connections_per_site;
        let service = service_fn(|request| {
            let (shared, session) = (Arc::clone(&self), Arc::clone(&session));
            async move { io::Result::Ok(shared.respond(&session, request, is_too_many).await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle)
            .max_headers(NUM_HEADERS)
            .max_header_size(HEAD);
        // However the connection ends, the node opens another one.
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn respond(&self, session: &Arc<Session>, request: Request<Incoming>, is_too_many: bool) -> Response<Body> {
        let request = request.map(DrainedBody::new);
        let sites = self.sites.current();
        self.log_changes();
        let Some(site) = sites.by_key(&session.spki) else {
            return last_response(StatusCode::UNAUTHORIZED);
        };
        session.mark_seen();
        let Limits { requests_per_second, request_burst, .. } = self.limits;
        if is_too_many || !session.allows_request(requests_per_second, request_burst) {
            self.log_refusal(&format!("{}: too many connections or requests", site.name));
            return last_response(StatusCode::SERVICE_UNAVAILABLE);
        }
        self.relay(site, session, request).await.unwrap_or_else(|refusal| {
            self.log_refusal(&format!("{}: {}", site.name, refusal.reason));
            let is_last = refusal.status == StatusCode::UNAUTHORIZED;
            if is_last { last_response(refusal.status) } else { empty_response(refusal.status) }
        })
    }
}

/// The last response on a connection.
fn last_response(status: StatusCode) -> Response<Body> {
    let mut response = empty_response(status);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Reads what a refused client has already sent, then closes the connection.
// Closing with unread bytes would make the system reset the connection before the client has read the alert.
async fn close_after_reading(mut stream: TcpStream) {
    let mut bytes = [0; 4096];
    let read = async {
        stream.shutdown().await?;
        for _ in 0..16 {
            if stream.read(&mut bytes).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // A client that is gone needs no farewell.
    let _ = timeout(FAREWELL, read).await;
}
