//! Who may ask.
//!
//! A kiosk's browser runs pages of strangers, and every one of them can send requests to a
//! listener on the same machine. Four things keep them out:
//!
//! - **`Host`** has to name this machine. A page whose own name was pointed at 127.0.0.1 (DNS
//!   rebinding) counts as the same origin for the browser, but it cannot choose its `Host`.
//! - **`Origin`**, which browsers add wherever a page of another site posts or wants to read, has
//!   to be allowed by name.
//! - **`Sec-Fetch-Site`** tells of the requests that carry no `Origin` (images, links, forms). A
//!   link to the status page, which holds no data, may stand anywhere.
//! - **Content types** that a form can send are refused (`super::events`), so that whatever gets
//!   here from a page has been through a preflight.
//!
//! The token comes on top, for TCP alone: whoever can open the Unix socket is known by its mode.

use std::net::IpAddr;

use hyper::{
    HeaderMap, Method,
    header::{self, HeaderName, HeaderValue},
    http::{request::Parts, uri::Authority},
};

use super::{
    options::{AllowedHost, AllowedOrigin, Host, HttpOptions},
    page,
    problem::{Kind, Problem},
    token::Token,
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// How a connection came in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entrance {
    /// TCP, on this address of ours.
    Tcp(Option<IpAddr>),
    /// The Unix socket.
    Unix,
}

/// The rules of a listener.
pub(super) struct Guard {
    hosts: Vec<AllowedHost>,
    origins: Vec<AllowedOrigin>,
    token: Option<Token>,
}

/// A request that may be answered. What is allowed to a page depends on it.
#[derive(Debug)]
pub(super) struct Admitted {
    /// The allowed origin it came from, if it came from a page of another site.
    pub(super) origin: Option<HeaderValue>,
}

impl Guard {
    pub(super) fn new(options: &HttpOptions) -> Self {
        Self {
            hosts: options.allowed_hosts.clone(),
            origins: options.allowed_origins.clone(),
            token: options.token.clone(),
        }
    }

    /// Checks where a request comes from and whom it is for.
    pub(super) fn admit(&self, entrance: Entrance, head: &Parts) -> Result<Admitted, Problem> {
        self.check_host(entrance, head)?;
        let origin = self.check_origin(head)?;
        Ok(Admitted { origin })
    }

    /// Checks the token, where one is asked for.
    pub(super) fn check_token(
        &self,
        entrance: Entrance,
        headers: &HeaderMap,
    ) -> Result<(), Problem> {
        let (Entrance::Tcp(_), Some(token)) = (entrance, &self.token) else {
            return Ok(());
        };
        let shown = only(headers, &header::AUTHORIZATION);
        if shown.is_some_and(|shown| token.is_shown_by(shown.as_bytes())) {
            return Ok(());
        }
        Err(Problem::new(
            Kind::TokenRequired,
            "no token, or not the one of this listener",
        )
        .hint("send the token as \"Authorization: Bearer …\", or use the Unix socket"))
    }

    fn check_host(&self, entrance: Entrance, head: &Parts) -> Result<(), Problem> {
        let said = only(&head.headers, &header::HOST).and_then(|host| host.to_str().ok());
        let Some(said) = said else {
            return Err(Problem::new(
                Kind::BadRequest,
                "no Host header, or more than one",
            ));
        };
        // A request in absolute form names the host a second time, with precedence.
        let in_target = head.uri.authority().map(Authority::as_str);
        for host in [Some(said), in_target].into_iter().flatten() {
            if !self.is_ours(entrance, host) {
                let detail = format!("this listener does not answer for the host {host:?}");
                return Err(Problem::new(Kind::HostNotAllowed, detail)
                    .hint("ask for localhost, or add the name to allowed_hosts"));
            }
        }
        Ok(())
    }

    fn is_ours(&self, entrance: Entrance, authority: &str) -> bool {
        let Some(host) = host_of(authority) else {
            return false;
        };
        let by_itself = match &host {
            Host::Name(name) => name == "localhost",
            Host::Address(address) if address.is_loopback() => true,
            Host::Address(address) => match entrance {
                Entrance::Tcp(local) => local.map(|ip| ip.to_canonical()) == Some(*address),
                Entrance::Unix => false,
            },
        };
        by_itself || self.hosts.iter().any(|allowed| allowed.is(&host))
    }

    fn check_origin(&self, head: &Parts) -> Result<Option<HeaderValue>, Problem> {
        let headers = &head.headers;
        let refused = || {
            Problem::new(
                Kind::OriginNotAllowed,
                "pages of this origin are not answered",
            )
            .hint("add the origin to allowed_origins if the page is one of your own")
        };
        if headers.contains_key(header::ORIGIN) {
            let origin = only(headers, &header::ORIGIN);
            let allowed = origin.filter(|origin| {
                self.origins
                    .iter()
                    .any(|allowed| allowed.is(origin.as_bytes()))
            });
            return allowed.cloned().map(Some).ok_or_else(refused);
        }
        match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
            None | Some(b"none" | b"same-origin") => Ok(None),
            Some(_) if opens_page(head) => Ok(None),
            Some(_) => Err(refused()),
        }
    }
}

/// Whether a person follows a link to the status page, and no page reads or shows it within itself.
fn opens_page(head: &Parts) -> bool {
    let says = |name, value: &[u8]| {
        let said = only(&head.headers, &name);
        said.is_some_and(|said| said.as_bytes() == value)
    };
    head.method == Method::GET
        && head.uri.path() == page::PATH
        && says(SEC_FETCH_MODE, b"navigate")
        && says(SEC_FETCH_DEST, b"document")
}

/// What a preflight is answered with, if this is one from an allowed origin. The methods and
/// headers are the same for every path.
pub(super) fn preflight(head: &Parts, admitted: &Admitted) -> Option<HeaderMap> {
    let asked = head
        .headers
        .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if head.method != Method::OPTIONS || !asked || admitted.origin.is_none() {
        return None;
    }
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, ce-specversion, ce-id, ce-source, ce-type, ce-subject, \
             ce-time, ce-aggregateid, ce-subjectid, ce-eventversion",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    const REQUEST_PRIVATE: &str = "access-control-request-private-network";
    const ALLOW_PRIVATE: HeaderName =
        HeaderName::from_static("access-control-allow-private-network");
    if head
        .headers
        .get(REQUEST_PRIVATE)
        .is_some_and(|asked| asked == "true")
    {
        headers.insert(ALLOW_PRIVATE, HeaderValue::from_static("true"));
    }
    Some(headers)
}

/// The value of a header that is there exactly once.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// The host of `host` or `host:port`. A user before an `@` makes it neither.
fn host_of(authority: &str) -> Option<Host> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => port
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(host)?,
        _ => authority,
    };
    Host::parse(host)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hyper::Request;

    use super::*;

    const LAN: Entrance = Entrance::Tcp(Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7))));

    fn guard() -> Guard {
        Guard::new(&HttpOptions {
            allowed_hosts: vec!["kiosk.school.lan".parse().unwrap()],
            allowed_origins: vec![
                "https://app.example".parse().unwrap(),
                "null".parse().unwrap(),
            ],
            token: Some(Token::new("0123456789abcdef").unwrap()),
            ..HttpOptions::default()
        })
    }

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/v1/status");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_names_of_this_machine_pass_as_host() {
        for host in [
            "localhost",
            "LOCALHOST:7411",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:7411",
            "10.0.0.7",
            "[::ffff:10.0.0.7]:80",
            "Kiosk.School.LAN:7411",
        ] {
            assert!(
                guard().admit(LAN, &head(&[("host", host)])).is_ok(),
                "{host}"
            );
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "localhost.",
            "user@localhost",
            "10.0.0.8",
            "0.0.0.0",
            "localhost:evil",
            "kiosk.school.lan.evil.example:7411",
            "2130706433",
        ] {
            let problem = guard()
                .admit(LAN, &head(&[("host", host)]))
                .expect_err(host);
            assert_eq!(problem.kind(), Kind::HostNotAllowed, "{host}");
        }
    }

    #[test]
    fn a_request_without_exactly_one_host_is_refused() {
        for headers in [&[][..], &[("host", "localhost"), ("host", "localhost")]] {
            let problem = guard().admit(LAN, &head(headers)).expect_err("refused");
            assert_eq!(problem.kind(), Kind::BadRequest);
        }
    }

    #[test]
    fn a_target_in_absolute_form_cannot_go_around_the_host() {
        let mut head = head(&[("host", "localhost")]);
        head.uri = "http://evil.example/v1/status".parse().unwrap();
        let problem = guard().admit(LAN, &head).expect_err("refused");
        assert_eq!(problem.kind(), Kind::HostNotAllowed);
    }

    #[test]
    fn on_the_socket_the_host_is_checked_all_the_same() {
        assert!(
            guard()
                .admit(Entrance::Unix, &head(&[("host", "localhost")]))
                .is_ok()
        );
        assert!(
            guard()
                .admit(Entrance::Unix, &head(&[("host", "10.0.0.7")]))
                .is_err()
        );
    }

    #[test]
    fn only_pages_of_allowed_origins_pass() {
        for origin in ["https://app.example", "null"] {
            let head = head(&[
                ("host", "localhost"),
                ("origin", origin),
                ("sec-fetch-site", "cross-site"),
            ]);
            let admitted = guard().admit(LAN, &head).unwrap();
            assert_eq!(admitted.origin.unwrap(), origin);
        }
        for origin in [
            "https://evil.example",
            "http://app.example",
            "https://app.example:444",
            "",
            "*",
        ] {
            let head = head(&[("host", "localhost"), ("origin", origin)]);
            let problem = guard().admit(LAN, &head).expect_err(origin);
            assert_eq!(problem.kind(), Kind::OriginNotAllowed, "{origin}");
        }
        let twice = [
            ("host", "localhost"),
            ("origin", "https://app.example"),
            ("origin", "https://evil.example"),
        ];
        assert!(guard().admit(LAN, &head(&twice)).is_err());
    }

    #[test]
    fn a_request_of_another_sites_page_without_an_origin_is_refused() {
        for (site, passes) in [
            ("none", true),
            ("same-origin", true),
            ("same-site", false),
            ("cross-site", false),
        ] {
            let head = head(&[("host", "localhost"), ("sec-fetch-site", site)]);
            assert_eq!(guard().admit(LAN, &head).is_ok(), passes, "{site}");
        }
    }

    #[test]
    fn a_link_of_another_site_leads_to_the_page_and_to_nothing_else() {
        let link = [
            ("host", "localhost"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        let to = |path: &'static str, headers: &[(&str, &str)]| {
            let mut head = head(headers);
            head.uri = path.parse().unwrap();
            head
        };
        assert!(guard().admit(LAN, &to("/", &link)).is_ok());
        assert!(guard().admit(LAN, &to("/v1/status", &link)).is_err());
        for (name, value) in [
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-dest", "iframe"),
            ("host", "evil.example"),
        ] {
            let other = link.map(|each| if each.0 == name { (name, value) } else { each });
            assert!(guard().admit(LAN, &to("/", &other)).is_err(), "{value}");
        }
        let posted = [&link[..], &[("origin", "https://evil.example")]].concat();
        assert!(guard().admit(LAN, &to("/", &posted)).is_err());
        let mut posted = to("/", &link);
        posted.method = Method::POST;
        assert!(guard().admit(LAN, &posted).is_err());
    }

    #[test]
    fn the_token_is_asked_for_on_tcp_alone() {
        let shown = head(&[("authorization", "Bearer 0123456789abcdef")]).headers;
        let wrong = head(&[("authorization", "Bearer 0123456789abcdeX")]).headers;
        assert!(guard().check_token(LAN, &shown).is_ok());
        assert!(guard().check_token(LAN, &wrong).is_err());
        assert!(guard().check_token(LAN, &HeaderMap::new()).is_err());
        assert!(
            guard()
                .check_token(Entrance::Unix, &HeaderMap::new())
                .is_ok()
        );
        let open = Guard::new(&HttpOptions::default());
        assert!(open.check_token(LAN, &HeaderMap::new()).is_ok());
    }
}
