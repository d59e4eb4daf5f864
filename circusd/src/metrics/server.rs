//! Serves `/metrics` over HTTP. One page, no state; what a request may cost is bounded.
//!
//! hyper speaks the protocol; a framework above it would bring routing for a single route.

use super::exposition::Format;
use super::gather::Gatherer;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::{task, time};
use tracing::{info, warn};

/// Connections at the same time; more wait in the accept queue.
const CONNECTIONS: usize = 16;

/// How long a client may take for its request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection is closed after so long, whatever the client does.
const LONGEST: Duration = Duration::from_secs(300);

/// After a failure to accept, as when files have run out, so long is waited.
const PAUSE: Duration = Duration::from_secs(1);

/// The whole body of an answer.
type Body = http_body_util::Full<Bytes>;

/// The endpoint cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics on {endpoint} ([circus] metrics_endpoint): {reason}")]
pub struct MetricsError {
    endpoint: String,
    reason: String,
}

/// Binds the endpoint, `HOST:PORT`, `:PORT` or `PORT` on the loopback, and serves it from now on.
///
/// # Errors
/// [`MetricsError`].
pub async fn start(endpoint: &str, gatherer: Gatherer) -> Result<(), MetricsError> {
    let failed = |reason: String| MetricsError { endpoint: endpoint.to_owned(), reason };
    let place = place(endpoint).ok_or_else(|| failed(NO_PLACE.to_owned()))?;
    // The name of a host may have to be looked up.
    let lookup = task::spawn_blocking(move || place.to_socket_addrs().map(Vec::from_iter));
    let addresses = lookup.await.map_err(|_| failed("the look-up failed".to_owned()))?;
    let addresses = addresses.map_err(|error| failed(error.to_string()))?;
    let listener =
        TcpListener::bind(&*addresses).await.map_err(|error| failed(error.to_string()))?;
    info!("metrics at http://{endpoint}/metrics");
    task::spawn(accept(listener, Arc::new(gatherer)));
    Ok(())
}

/// What an endpoint must look like.
pub const NO_PLACE: &str = "not HOST:PORT or PORT";

/// The endpoint as host and port; the loopback stands in for a host that is not given. None if it is not of this
/// form.
pub fn place(endpoint: &str) -> Option<String> {
    let (host, port) = endpoint.rsplit_once(':').unwrap_or(("", endpoint));
    let port: u16 = port.parse().ok()?;
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    Some(format!("{host}:{port}"))
}

async fn accept(listener: TcpListener, gatherer: Arc<Gatherer>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Closed never happens: the semaphore is ours.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let gatherer = Arc::clone(&gatherer);
                task::spawn(async move {
                    let _ = time::timeout(LONGEST, converse(stream, gatherer)).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!("cannot accept a connection for metrics: {error}");
                time::sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, gatherer: Arc<Gatherer>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let gatherer = Arc::clone(&gatherer);
        async move { Ok::<_, Infallible>(answer(&request, &gatherer).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(16 * 1024);
    // A client that breaks off is the client's business.
    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
}

async fn answer(request: &Request<Incoming>, gatherer: &Gatherer) -> Response<Body> {
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "the page is /metrics\n");
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        refusal.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    match gatherer.page(format).await {
        Ok(page) => body(StatusCode::OK, format.content_type(), page),
        Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "circusd is ending\n"),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    body(status, "text/plain; charset=utf-8", text.to_owned())
}

fn body(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_port_or_has_one() {
        for (endpoint, place_of_it) in [
            ("9100", Some("127.0.0.1:9100")),
            (":9100", Some("127.0.0.1:9100")),
            ("0.0.0.0:9100", Some("0.0.0.0:9100")),
            ("[::1]:9100", Some("[::1]:9100")),
            ("abc", None),
            ("99999", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(place(endpoint).as_deref(), place_of_it, "{endpoint}");
        }
    }
}
