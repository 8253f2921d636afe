//! Answers of one message, whose memory stays charged until the network has taken them.
//!
//! A handler returns its message before it is encoded, and the encoded one may be much slower to leave than it was to come:
//! a caller that reads slowly would have it for nothing. So the charge goes with the response, and then with its bytes.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use sabre_runtime::budget::Reservation;
use tonic::{Response, body::Body, server::NamedService};
use tower::Service;

/// A service whose responses keep what [`holding`] gave them.
#[derive(Clone, Debug)]
pub struct Holding<S>(S);

/// What a response holds.
#[derive(Clone, Debug)]
struct Held {
    _charge: Arc<Reservation>,
}

/// Encoded bytes with the charge of what they were made of.
struct HeldPiece {
    piece: Bytes,
    _held: Held,
}

/// A response that holds its charge until it is sent, if the service is in [`Holding`].
pub(crate) fn holding<T>(message: T, charge: Option<Reservation>) -> Response<T> {
    let mut response = Response::new(message);
    if let Some(charge) = charge {
        response.extensions_mut().insert(Held {
            _charge: Arc::new(charge),
        });
    }
    response
}

impl<S> Holding<S> {
    /// Wraps a service.
    pub fn new(service: S) -> Holding<S> {
        Holding(service)
    }
}

impl AsRef<[u8]> for HeldPiece {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl<S: NamedService> NamedService for Holding<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<B>> for Holding<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move { Ok(held_while_sent(answer.await?)) })
    }
}

fn held_while_sent(mut response: http::Response<Body>) -> http::Response<Body> {
    let Some(held) = response.extensions_mut().remove::<Held>() else {
        return response;
    };
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            frame.map_data(|piece| {
                let _held = held.clone();
                Bytes::from_owner(HeldPiece { piece, _held })
            })
        }))
    })
}
