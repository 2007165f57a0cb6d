//! Limits for bodies of calls: a time-out, a maximum number at once, and a close of unfinished
//! ones.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest},
    http::StatusCode,
    web::{Bytes, Data, Json},
};
use futures::{StreamExt, future::LocalBoxFuture, stream};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{Site, failure::Failure};

/// The time-out from the headers to the end of a JSON body.
const JSON_WITHIN: Duration = Duration::from_secs(10);

/// A body that arrives within this time needs no permit.
const AT_ONCE: Duration = Duration::from_millis(250);

/// The maximum number of JSON bodies that are being received: a part of all connections.
pub(super) const MAX_JSON_BODIES: usize = 64;

/// A JSON body that has to arrive in time.
pub(super) struct InTime<T>(pub(super) T);

impl<T: DeserializeOwned + 'static> FromRequest for InTime<T> {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let mut json = Json::<T>::from_request(request, payload);
        let site = request.app_data::<Data<Site>>().cloned();
        Box::pin(async move {
            let site = site.ok_or_else(Failure::stopped)?;
            if let Ok(json) = timeout(AT_ONCE, &mut json).await {
                return Ok(Self(json?.into_inner()));
            }
            let busy =
                |_| Failure::busy(format!("{MAX_JSON_BODIES} calls are already being received"));
            let _permit = site.json_bodies.try_acquire().map_err(busy)?;
            let json = timeout(JSON_WITHIN, json).await;
            Ok(Self(json.map_err(|_| late(JSON_WITHIN))??.into_inner()))
        })
    }
}

/// The error of a body that did not arrive in time.
pub(super) fn late(within: Duration) -> Failure {
    let text = format!("the body did not arrive within {} s", within.as_secs());
    Failure::new(StatusCode::REQUEST_TIMEOUT, "bad_request", text)
}

/// The body of a call, kept until the call is answered. After the answer, the server closes a
/// connection whose unfinished body is still held; otherwise it would wait for the end of a chunked
/// body without a time-out.
pub(super) struct Held {
    _payload: Rc<RefCell<Payload>>,
}

impl Held {
    pub(super) fn of(request: &mut ServiceRequest) -> Self {
        let held = Rc::new(RefCell::new(request.take_payload()));
        let source = Rc::clone(&held);
        let pieces =
            stream::poll_fn(move |cx| source.borrow_mut().poll_next_unpin(cx)).boxed_local();
        request.set_payload(Payload::Stream { payload: pieces });
        Self { _payload: held }
    }

    pub(super) fn until_sent(self, answer: BoxBody) -> Answer {
        Answer { answer, _held: self }
    }
}

/// An answer with the body of its call.
pub(super) struct Answer {
    answer: BoxBody,
    _held: Held,
}

impl MessageBody for Answer {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.answer).poll_next(cx)
    }
}
