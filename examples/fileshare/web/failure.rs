//! Errors of the API, each as an [`ApiError`] with an HTTP status.

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    error::JsonPayloadError,
    http::{Method, StatusCode},
};

use crate::{app::AppError, model::ApiError};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Failure {
    status: StatusCode,
    kind: &'static str,
    text: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, kind: &'static str, text: impl Into<String>) -> Self {
        Self { status, kind, text: text.into() }
    }

    pub(super) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", text)
    }

    pub(super) fn busy(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text)
    }

    pub(super) fn stopped() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", "this node is stopping")
    }

    pub(super) fn too_large(text: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "bad_request", text)
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let error = ApiError { kind: self.kind.to_owned(), error: self.text.clone() };
        HttpResponse::build(self.status).json(error)
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        let kind = error.kind();
        let status = match kind {
            "not_found" => StatusCode::NOT_FOUND,
            "exists" | "here" => StatusCode::CONFLICT,
            "bad_request" => StatusCode::BAD_REQUEST,
            "unreachable" => StatusCode::BAD_GATEWAY,
            "refused" => StatusCode::FORBIDDEN,
            "busy" | "stopped" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, kind, error.to_string())
    }
}

pub(super) fn json(error: JsonPayloadError, _: &HttpRequest) -> actix_web::Error {
    match &error {
        JsonPayloadError::OverflowKnownLength { limit, .. }
        | JsonPayloadError::Overflow { limit } => {
            Failure::too_large(format!("the body is longer than {limit} bytes"))
        }
        JsonPayloadError::ContentType => Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "bad_request",
            "the body must be application/json",
        ),
        _ => return unexpected("body", error),
    }
    .into()
}

/// The error of a query, a path or a body that cannot be parsed.
pub(super) fn unexpected(what: &str, error: impl std::fmt::Display) -> actix_web::Error {
    Failure::bad_request(format!("the {what} is invalid: {error}")).into()
}

/// The answer if there is no such path, or not with this method.
pub(super) async fn nothing_here(method: Method, request: HttpRequest) -> HttpResponse {
    let text = format!("there is no {method} {}", request.path());
    Failure::new(StatusCode::NOT_FOUND, "not_found", text).error_response()
}
