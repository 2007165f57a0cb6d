//! A client of the API for the subcommands.

use std::{
    io::{self, BufRead, BufReader, Read},
    time::Duration,
};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use ureq::{Agent, Body, BodyReader, RequestBuilder, http};

use crate::{
    instances::Instance,
    model::{ApiError, Event},
};

/// The time-out of an answer. A join asks one peer after another, so it may take long.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The maximum length of an answer or event; 10,000 files take about 2 MB.
const MAX_ANSWER: u64 = 256 * 1024 * 1024;

/// The characters that are escaped in a part of a path.
const PART: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\');

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// The instance refused.
    #[error("{}", .0.error)]
    Refused(ApiError),
    /// It cannot be reached, or has stopped.
    #[error("no answer from {url}: {reason}")]
    Unreachable { url: String, reason: String },
    /// Another program answers there.
    #[error("the program at {url} is not fileshare: {reason}")]
    NotFileshare { url: String, reason: String },
    /// A node has two ports: one for peers, and one for its page.
    #[error(
        "{url} is not a page, it may be the port for peers: give --web the address that the node prints after `page at`"
    )]
    NoPage { url: String },
    #[error(
        "no node of this user is running: start one with `fileshare`, or give --web HOST:PORT for another one"
    )]
    NoInstance,
    #[error("several nodes are running, choose one with --web:\n{}", .0.join("\n"))]
    Several(Vec<String>),
    #[error("cannot list the running nodes, give --web HOST:PORT: {0}")]
    Listing(io::Error),
    #[error("{0}")]
    Failed(String),
    #[error("cannot print the answer: {0}")]
    Printing(io::Error),
}

type Answer = Result<http::Response<Body>, ureq::Error>;

/// A client of one instance.
pub(super) struct Client {
    agent: Agent,
    url: String,
    bearer: Option<String>,
}

impl Client {
    pub(super) fn new(instance: &Instance) -> Self {
        Self::with_time_limit(instance, ANSWER_WITHIN)
    }

    /// `limit` is the time-out until an answer begins.
    pub(super) fn with_time_limit(instance: &Instance, limit: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(limit))
            .timeout_recv_response(Some(limit))
            // An instance on this machine is never behind a proxy.
            .proxy(None)
            .build();
        let bearer = instance.token.as_ref().map(|token| format!("Bearer {token}"));
        Self { agent: config.into(), url: instance.url.clone(), bearer }
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CommandError> {
        self.read(self.to(self.agent.get(self.at(path))).call())
    }

    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CommandError> {
        self.read(self.to(self.agent.post(self.at(path))).send_json(body))
    }

    pub(super) fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        part: &str,
    ) -> Result<T, CommandError> {
        let path = format!("{path}/{}", utf8_percent_encode(part, PART));
        self.read(self.to(self.agent.delete(self.at(&path))).call())
    }

    /// A snapshot, and then the events from now on. The stream ends after `limit`.
    pub(super) fn events(&self, limit: Option<Duration>) -> Result<Events, CommandError> {
        let request = self.to(self.agent.get(self.at("api/events")));
        let response = self.check(request.config().timeout_recv_body(limit).build().call())?;
        let reader = response.into_body().into_with_config().limit(u64::MAX).reader();
        Ok(Events { lines: BufReader::new(reader), url: self.url.clone() })
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Adds the token.
    fn to<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.bearer {
            Some(bearer) => request.header("authorization", bearer),
            None => request,
        }
    }

    fn check(&self, answer: Answer) -> Result<http::Response<Body>, CommandError> {
        match answer {
            Ok(response) if response.status().is_success() => Ok(response),
            Ok(mut response) => {
                let status = response.status();
                let error = response.body_mut().read_json::<ApiError>();
                let other = |_| self.not_fileshare(format!("status {status}"));
                Err(error.map_or_else(other, CommandError::Refused))
            }
            Err(ureq::Error::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let words = "nothing listens there: give --web the address that a node prints after `page at`";
                Err(self.unreachable(words))
            }
            Err(ureq::Error::Protocol(_)) => Err(CommandError::NoPage { url: self.url.clone() }),
            Err(error) => Err(self.unreachable(error)),
        }
    }

    fn read<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, CommandError> {
        let mut response = self.check(answer)?;
        let body = response.body_mut().with_config().limit(MAX_ANSWER);
        let text = body.read_to_string().map_err(|error| self.unreachable(error))?;
        serde_json::from_str(&text).map_err(|error| self.not_fileshare(error))
    }

    fn unreachable(&self, reason: impl ToString) -> CommandError {
        CommandError::Unreachable { url: self.url.clone(), reason: reason.to_string() }
    }

    fn not_fileshare(&self, reason: impl ToString) -> CommandError {
        CommandError::NotFileshare { url: self.url.clone(), reason: reason.to_string() }
    }
}

/// The stream of events of an instance.
pub(super) struct Events {
    lines: BufReader<BodyReader<'static>>,
    url: String,
}

impl Events {
    /// The next event of one of these kinds, or `None` when the time is up.
    pub(super) fn next(&mut self, kinds: &[&str]) -> Result<Option<Event>, CommandError> {
        let mut wanted = None;
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            if let Some(kind) = line.strip_prefix("event: ") {
                wanted = kinds.contains(&kind).then(|| kind.to_owned());
            } else if let (Some(data), Some(kind)) = (line.strip_prefix("data: "), &wanted) {
                let event = Event::from_lines(kind, data);
                return event.map(Some).map_err(|error| CommandError::NotFileshare {
                    url: self.url.clone(),
                    reason: error.to_string(),
                });
            }
        }
    }

    fn line(&mut self) -> Result<Option<String>, CommandError> {
        let gone =
            |reason: String| Err(CommandError::Unreachable { url: self.url.clone(), reason });
        let mut line = String::new();
        match (&mut self.lines).take(MAX_ANSWER).read_line(&mut line) {
            Ok(0) => gone("it has stopped".into()),
            Ok(_) => Ok(Some(line.trim_end().to_owned())),
            Err(error) if is_time_out(&error) => Ok(None),
            Err(error) => gone(error.to_string()),
        }
    }
}

fn is_time_out(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    error.kind() == io::ErrorKind::TimedOut || matches!(inner, Some(ureq::Error::Timeout(_)))
}
