//! Access control: only programs on this machine, or those with the token, may call, and no foreign
//! web page.
//!
//! A foreign page may run in the same browser, so listening on loopback is not enough. Two checks
//! refuse it. The `Host` must be an address, not a name that a foreign site may resolve to this
//! machine (DNS rebinding). A call to the API must come from this page, or from no page at all.

use std::net::{IpAddr, SocketAddr};

use actix_web::{
    Error, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
        uri::Authority,
    },
    middleware::Next,
    web,
};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{
    Site,
    body::{Answer, Held},
    failure::Failure,
};

/// The prefix of the name of the cookie, followed by the port, because browsers send the cookies of
/// one instance to all instances on the same host.
const COOKIE: &str = "fileshare-";

/// Headers that allow no scripts and styles but those of the program, and no frame around the page.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The rules of access.
#[derive(Debug)]
pub(super) struct Rules {
    bound: Vec<IpAddr>,
    port: u16,
    /// The digest of the token, which compares in constant time.
    token: Option<blake3::Hash>,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the Host header must be a loopback address, or the address that the page listens on")]
    Host,
    #[error("calls from pages of other origins are refused")]
    Origin,
    #[error("the token is missing: open the page at the address that the program printed")]
    Token,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::Host | Refusal::Origin => StatusCode::FORBIDDEN,
            Refusal::Token => StatusCode::UNAUTHORIZED,
        };
        Self::new(status, "refused", refusal.to_string())
    }
}

impl Rules {
    /// The rules of a page at these addresses, which have one port.
    pub(super) fn new(bound: &[SocketAddr], token: Option<&str>) -> Self {
        let port = bound.first().map_or(0, SocketAddr::port);
        let bound = bound.iter().map(SocketAddr::ip).collect();
        Self { bound, port, token: token.map(|token| blake3::hash(token.as_bytes())) }
    }

    fn check(&self, headers: &HeaderMap, api: bool) -> Result<(), Refusal> {
        let host = only(headers, header::HOST).map_err(|()| Refusal::Host)?;
        let host = host.filter(|host| self.is_this_machine(host)).ok_or(Refusal::Host)?;
        if !api {
            return Ok(());
        }
        let not_twice = |name| only(headers, name).map_err(|()| Refusal::Origin);
        let origin = not_twice(header::ORIGIN)?;
        // Browsers send it with every call, also without an origin. `none`: typed by the user.
        let site = not_twice(HeaderName::from_static("sec-fetch-site"))?;
        if origin.is_some_and(|origin| origin.strip_prefix("http://") != Some(host))
            || site.is_some_and(|site| site != "same-origin" && site != "none")
        {
            return Err(Refusal::Origin);
        }
        match &self.token {
            Some(token) if !self.shows(headers, token) => Err(Refusal::Token),
            _ => Ok(()),
        }
    }

    fn is_this_machine(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        if host.contains('@') {
            return false;
        }
        let name = authority.host();
        let address =
            name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        match address.parse::<IpAddr>() {
            Ok(ip) => {
                let is_bound = |bound: &IpAddr| *bound == ip || bound.is_unspecified();
                ip.is_loopback() || self.bound.iter().any(is_bound)
            }
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    }

    /// The cookie for a page that was opened with the right token.
    fn cookie(&self, query: &str) -> Option<HeaderValue> {
        let expected = self.token.as_ref()?;
        let given = query.split('&').find_map(|field| field.strip_prefix("token="))?;
        let given: Vec<u8> = percent_decode_str(given).collect();
        if blake3::hash(&given) != *expected {
            return None;
        }
        let cookie = self.cookie_name();
        let cookie = format!("{cookie}={}; Path=/; HttpOnly; SameSite=Strict", proof(expected));
        HeaderValue::try_from(cookie).ok()
    }

    fn cookie_name(&self) -> String {
        format!("{COOKIE}{}", self.port)
    }

    /// Whether the call has the token, or the cookie that the page got for it.
    fn shows(&self, headers: &HeaderMap, token: &blake3::Hash) -> bool {
        let bearer = only(headers, header::AUTHORIZATION).ok().flatten();
        if let Some(given) = bearer.and_then(|value| value.strip_prefix("Bearer ")) {
            return blake3::hash(given.as_bytes()) == *token;
        }
        let (own, proof) = (self.cookie_name(), blake3::hash(proof(token).as_bytes()));
        let cookies = headers.get_all(header::COOKIE).filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|value| value.split("; ")).filter_map(|pair| pair.split_once('='));
        pairs.any(|(name, value)| name == own && blake3::hash(value.as_bytes()) == proof)
    }
}

/// The value of a header that may occur once. Twice, or invalid, is an error.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, ()> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// The value of the cookie. It does not contain the token, so it cannot be used elsewhere.
fn proof(token: &blake3::Hash) -> String {
    blake3::hash(token.as_bytes()).to_hex().to_string()
}

/// The address with the token, for a browser.
pub(super) fn entrance(url: &str, token: &str) -> String {
    format!("{url}?token={}", utf8_percent_encode(token, NON_ALPHANUMERIC))
}

/// Accepts or refuses a call, and adds the security headers to the answer.
pub(super) async fn pass(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Answer>, Error> {
    let held = Held::of(&mut request);
    let api = request.path().starts_with("/api") || request.path() == "/metrics";
    let (checked, cookie) = match request.app_data::<web::Data<Site>>() {
        Some(site) => {
            (site.rules.check(request.headers(), api), site.rules.cookie(request.query_string()))
        }
        None => (Err(Refusal::Host), None),
    };
    let response = match checked {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        Err(refusal) => request.into_response(Failure::from(refusal).error_response()),
    };
    let mut response = response.map_body(|_, answer| held.until_sent(answer));
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let (Ok(()), Some(cookie), false) = (checked, cookie, api) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    fn rules(bound: &str) -> Rules {
        Rules::new(&[bound.parse().unwrap()], None)
    }

    #[test]
    fn only_addresses_of_this_machine_are_its_names() {
        let (loopback, any, one) =
            (rules("127.0.0.1:80"), rules("0.0.0.0:80"), rules("192.0.2.7:80"));
        for host in ["127.0.0.1", "127.1.2.3:99", "[::1]:80", "localhost", "LOCALHOST:80"] {
            assert!(loopback.is_this_machine(host), "{host}");
            assert!(any.is_this_machine(host) && one.is_this_machine(host), "{host}");
        }
        for host in ["example.org", "localhost.example.org", "127.0.0.1.nip.io", "2130706433", ""] {
            assert!(!any.is_this_machine(host), "{host}");
        }
        assert!(!loopback.is_this_machine("192.0.2.7"));
        assert!(one.is_this_machine("192.0.2.7:80") && any.is_this_machine("192.0.2.7:80"));
        assert!(!one.is_this_machine("192.0.2.8"));
    }

    #[test]
    fn a_repeated_header_is_refused() {
        let mut twice = headers(&[("host", "127.0.0.1"), ("origin", "http://127.0.0.1")]);
        assert_eq!(rules("127.0.0.1:80").check(&twice, true), Ok(()));
        twice.append(header::HOST, HeaderValue::from_static("127.0.0.1"));
        assert_eq!(rules("127.0.0.1:80").check(&twice, true), Err(Refusal::Host));
    }

    #[test]
    fn the_entrance_carries_any_token_to_the_cookie() {
        let token = "a&b=c %/?#\u{e4}";
        let rules = Rules::new(&["127.0.0.1:80".parse().unwrap()], Some(token));
        let entrance = entrance("http://127.0.0.1/", token);
        let query = entrance.split_once('?').unwrap().1;
        let cookie = rules.cookie(query).unwrap();
        let cookie = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        let mut headers = headers(&[("host", "127.0.0.1")]);
        headers.insert(header::COOKIE, HeaderValue::try_from(cookie).unwrap());
        assert_eq!(rules.check(&headers, true), Ok(()));
        assert_eq!(rules.cookie("token=a"), None);
    }
}
