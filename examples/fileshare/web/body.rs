//! Bodies of calls, with an end: a time, a number at once, and a close for who never comes to it.

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

/// From the headers to the end of a JSON body. It is short.
const JSON_WITHIN: Duration = Duration::from_secs(10);

/// A body that comes in this time is none that anybody waits for.
const AT_ONCE: Duration = Duration::from_millis(250);

/// JSON bodies that are awaited at once: a part of the connections that there may be.
pub(super) const MAX_JSON_BODIES: usize = 64;

/// What a call takes, as JSON, when it comes in time.
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
            let busy = |_| Failure::busy(format!("{MAX_JSON_BODIES} calls are on their way"));
            let _place = site.json_bodies.try_acquire().map_err(busy)?;
            let json = timeout(JSON_WITHIN, json).await;
            Ok(Self(json.map_err(|_| late(JSON_WITHIN))??.into_inner()))
        })
    }
}

/// The body did not come in time.
pub(super) fn late(within: Duration) -> Failure {
    let text = format!("the body did not come within {} s", within.as_secs());
    Failure::new(StatusCode::REQUEST_TIMEOUT, "bad_request", text)
}

/// The body of a call, kept until it is answered. The server waits for the end of a body in chunks
/// that nobody holds any more, however long that takes, and closes on one that somebody holds.
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

/// An answer, and the body of its call.
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
