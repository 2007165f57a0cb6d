//! A client of the API, for the calls that the subcommands need.

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

/// Until an answer begins. Joining asks one peer after another, so it may take a while.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Bytes of one answer or event; 10,000 files are about 2 MB.
const MAX_ANSWER: u64 = 256 * 1024 * 1024;

/// What a part of a path cannot hold as it is.
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

/// Why a subcommand did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The instance said no.
    #[error("{}", .0.error)]
    Refused(ApiError),
    /// It cannot be reached, or went away.
    #[error("no answer from {url}: {reason}")]
    Unreachable { url: String, reason: String },
    /// Something else answers there.
    #[error("{url} does not answer like this program: {reason}")]
    Strange { url: String, reason: String },
    /// A node has two ports: one for peers, one for its page.
    #[error(
        "{url} is no page, it may be the port for peers: --web takes what the node prints after `page at`"
    )]
    NoPage { url: String },
    #[error(
        "no node of this user is running: start one with `fileshare`, or give --web HOST:PORT for one that is elsewhere"
    )]
    NoInstance,
    #[error("several nodes are running; say which one with --web:\n{}", .0.join("\n"))]
    Several(Vec<String>),
    #[error("the nodes that run cannot be listed, give --web HOST:PORT: {0}")]
    Listing(io::Error),
    #[error("{0}")]
    Failed(String),
    #[error("the answer cannot be printed: {0}")]
    Printing(io::Error),
}

type Answer = Result<http::Response<Body>, ureq::Error>;

/// Talks to one instance.
pub(super) struct Client {
    agent: Agent,
    url: String,
    bearer: Option<String>,
}

impl Client {
    pub(super) fn new(instance: &Instance) -> Self {
        Self::with_time_limit(instance, ANSWER_WITHIN)
    }

    /// `limit` is for an answer to begin.
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

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        self.read(self.to(self.agent.get(self.at(path))).call())
    }

    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Trouble> {
        self.read(self.to(self.agent.post(self.at(path))).send_json(body))
    }

    pub(super) fn delete<T: DeserializeOwned>(&self, path: &str, part: &str) -> Result<T, Trouble> {
        let path = format!("{path}/{}", utf8_percent_encode(part, PART));
        self.read(self.to(self.agent.delete(self.at(&path))).call())
    }

    /// The events from now on, a snapshot first; they end after `limit`.
    pub(super) fn events(&self, limit: Option<Duration>) -> Result<Events, Trouble> {
        let request = self.to(self.agent.get(self.at("api/events")));
        let response = self.check(request.config().timeout_recv_body(limit).build().call())?;
        let reader = response.into_body().into_with_config().limit(u64::MAX).reader();
        Ok(Events { lines: BufReader::new(reader), url: self.url.clone() })
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// With the right to call.
    fn to<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.bearer {
            Some(bearer) => request.header("authorization", bearer),
            None => request,
        }
    }

    fn check(&self, answer: Answer) -> Result<http::Response<Body>, Trouble> {
        match answer {
            Ok(response) if response.status().is_success() => Ok(response),
            Ok(mut response) => {
                let status = response.status();
                let error = response.body_mut().read_json::<ApiError>();
                let strange = |_| self.strange(format!("status {status}"));
                Err(error.map_or_else(strange, Trouble::Refused))
            }
            Err(ureq::Error::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let words = "nothing listens there: --web takes what a node prints after `page at`";
                Err(self.unreachable(words))
            }
            Err(ureq::Error::Protocol(_)) => Err(Trouble::NoPage { url: self.url.clone() }),
            Err(error) => Err(self.unreachable(error)),
        }
    }

    fn read<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, Trouble> {
        let mut response = self.check(answer)?;
        let body = response.body_mut().with_config().limit(MAX_ANSWER);
        let text = body.read_to_string().map_err(|error| self.unreachable(error))?;
        serde_json::from_str(&text).map_err(|error| self.strange(error))
    }

    fn unreachable(&self, reason: impl ToString) -> Trouble {
        Trouble::Unreachable { url: self.url.clone(), reason: reason.to_string() }
    }

    fn strange(&self, reason: impl ToString) -> Trouble {
        Trouble::Strange { url: self.url.clone(), reason: reason.to_string() }
    }
}

/// The events of an instance as they come.
pub(super) struct Events {
    lines: BufReader<BodyReader<'static>>,
    url: String,
}

impl Events {
    /// The next event of one of these kinds, or `None` when the time is over.
    pub(super) fn next(&mut self, kinds: &[&str]) -> Result<Option<Event>, Trouble> {
        let mut wanted = None;
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            if let Some(kind) = line.strip_prefix("event: ") {
                wanted = kinds.contains(&kind).then(|| kind.to_owned());
            } else if let (Some(data), Some(kind)) = (line.strip_prefix("data: "), &wanted) {
                let event = Event::from_lines(kind, data);
                return event.map(Some).map_err(|error| Trouble::Strange {
                    url: self.url.clone(),
                    reason: error.to_string(),
                });
            }
        }
    }

    fn line(&mut self) -> Result<Option<String>, Trouble> {
        let gone = |reason: String| Err(Trouble::Unreachable { url: self.url.clone(), reason });
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
