//! Which web pages may use this server: a browser says with each request whose page asks, and only pages of the
//! server's own address may, and those that were allowed. Called by the native server and by the Worker. Pure.
//!
//! A page can open a WebSocket to any address that the browser reaches, also to one of the local machine or
//! network, and may send a "simple" POST anywhere without a question before. So WebSockets and http are looked
//! at alike. Clients that are no browsers send no `Origin`.

use super::Refused;

/// The pages that may. Without a pattern: those of the server's own host, and on a loopback address all that
/// come from one, so that a dev server on another port just works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origins(Vec<String>);

/// Whose page asks, and whom.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asking<'a> {
    /// The `Origin` header.
    pub(crate) origin: Option<&'a str>,
    /// The `Host` header.
    pub(crate) host: Option<&'a str>,
}

impl Origins {
    /// Allows what this pattern stands for: an origin, in which a `*` stands for any text, or `*` for all.
    pub(crate) fn allow(&mut self, pattern: &str) {
        self.0.push(normalised(pattern));
    }

    /// Allows all pages, or no longer all.
    pub(crate) fn allow_all(&mut self, all: bool) {
        self.0.retain(|pattern| pattern != "*");
        if all {
            self.0.push("*".to_owned());
        }
    }

    fn allows_all(&self) -> bool {
        self.0.iter().any(|pattern| pattern == "*")
    }

    fn allows(&self, asking: Asking<'_>) -> bool {
        let Some(origin) = asking.origin else { return true };
        let origin = normalised(origin);
        if !self.0.is_empty() {
            return self.0.iter().any(|pattern| matches(pattern, &origin));
        }
        // The scheme is not compared: behind a TLS proxy the server does not know its own.
        let (Some((scheme, authority)), Some(host)) = (origin.split_once("://"), asking.host) else { return false };
        let host = normalised(&format!("{scheme}://{host}"));
        let host = host.split_once("://").map_or("", |(_, host)| host);
        // A page from elsewhere has another origin, whatever the address that it asks.
        authority == host || (is_loopback(authority) && is_loopback(host))
    }

    /// Refuses the request of a page that may not.
    pub(crate) fn check(&self, asking: Asking<'_>) -> Result<(), Refused> {
        if self.allows(asking) {
            return Ok(());
        }
        let origin: String = asking.origin.unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
        Err(Refused::new(
            403,
            format!(
                "Origin {origin} is not allowed: start the server with --allow-origin {origin} (LIVESTORE_SYNC_ALLOW_ORIGIN, \
                 or allow_origin of its builder or Worker options)."
            ),
        ))
    }

    /// Whether a web page asks that is allowed by more than `*`: its requests may carry cookies that mean something. A
    /// page that is not could have a browser send the same.
    pub(crate) fn trusts(&self, asking: Asking<'_>) -> bool {
        let named = Self(self.0.iter().filter(|pattern| *pattern != "*").cloned().collect());
        asking.origin.is_some() && (!named.0.is_empty() || self.0.is_empty()) && named.allows(asking)
    }

    /// What a browser is told of who may read the answer; `None` where there is nothing to tell.
    pub(crate) fn cors<'a>(&self, asking: Asking<'a>) -> Option<Cors<'a>> {
        // Named first: a page that `*` allows as well may still send its cookies.
        if self.trusts(asking) {
            return asking.origin.map(|origin| Cors { origin, credentials: true });
        }
        self.allows_all().then_some(Cors { origin: "*", credentials: false })
    }
}

/// Who may read an answer (CORS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cors<'a> {
    origin: &'a str,
    /// Whether what it asks with cookies is answered as well.
    credentials: bool,
}

impl<'a> Cors<'a> {
    /// The headers of the answer; `asked` is what the request names in `access-control-request-headers`.
    pub(crate) fn headers(self, asked: Option<&'a str>) -> impl Iterator<Item = (&'static str, &'a str)> {
        let always = [
            ("access-control-allow-origin", self.origin),
            ("access-control-allow-methods", "GET, POST, OPTIONS"),
            // For requests with cookies, `*` is the name of a header.
            ("access-control-allow-headers", asked.unwrap_or("*")),
        ];
        // What is kept for one page is not for another.
        let named = [("access-control-allow-credentials", "true"), ("vary", "origin")];
        always.into_iter().chain(named.into_iter().filter(move |_| self.credentials))
    }
}

/// In lower case, without the port that its scheme has anyway.
fn normalised(origin: &str) -> String {
    let origin = origin.trim().trim_end_matches('/').to_ascii_lowercase();
    let default = if origin.starts_with("https:") || origin.starts_with("wss:") { ":443" } else { ":80" };
    origin.strip_suffix(default).map_or_else(|| origin.clone(), str::to_owned)
}

/// Whether a text is one that the pattern stands for.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether an authority is of the machine itself. Browsers know those names without asking anybody.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    let is_address = host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    is_address || host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(patterns: &[&str]) -> Origins {
        let mut origins = Origins::default();
        patterns.iter().for_each(|pattern| origins.allow(pattern));
        origins
    }

    fn status(origins: &Origins, origin: &str, host: &str) -> u16 {
        origins.check(Asking { origin: Some(origin), host: Some(host) }).map_or_else(|refused| refused.status, |()| 200)
    }

    #[test]
    fn without_a_list_a_page_must_be_of_the_same_host() {
        let none = origins(&[]);
        assert_eq!(none.check(Asking { origin: None, host: Some("a") }), Ok(()));
        assert_eq!(none.check(Asking { origin: None, host: None }), Ok(()));
        for (origin, host, expected) in [
            ("https://sync.example", "sync.example", 200),
            ("http://sync.example", "sync.example", 200),
            ("https://Sync.Example", "sync.example:443", 200),
            ("http://sync.example", "sync.example:80", 200),
            ("http://sync.example:8787", "sync.example:8787", 200),
            ("http://192.168.1.5:8787", "192.168.1.5:8787", 200),
            ("http://sync.example:8788", "sync.example:8787", 403),
            ("https://app.example", "sync.example", 403),
            ("https://sync.example.evil.example", "sync.example", 403),
            ("https://evil.example", "localhost:8787", 403),
            ("https://evil.example", "127.0.0.1:8787", 403),
            ("null", "localhost:8787", 403),
            ("null", "null", 403),
            ("", "", 403),
            ("file://", "localhost", 403),
            ("chrome-extension://abc", "localhost", 403),
        ] {
            assert_eq!(status(&none, origin, host), expected, "{origin} to {host}");
        }
        assert!(none.check(Asking { origin: Some("http://a"), host: None }).is_err());
    }

    #[test]
    fn dev_servers_on_other_ports_of_the_machine_just_work() {
        let none = origins(&[]);
        for (origin, host, expected) in [
            ("http://localhost:5173", "localhost:8787", 200),
            ("http://localhost:5173", "127.0.0.1:8787", 200),
            ("http://127.0.0.1:5173", "localhost:8787", 200),
            ("https://[::1]:5173", "[::1]:8787", 200),
            ("http://app.localhost:3000", "localhost:8787", 200),
            ("http://localhost", "localhost", 200),
            // The server is in the network: pages of the reader's own machine are not its own.
            ("http://localhost:5173", "192.168.1.5:8787", 403),
            ("http://localhost:5173", "sync.example", 403),
            ("http://localhost.evil.example", "localhost:8787", 403),
            ("http://127.0.0.1.evil.example", "localhost:8787", 403),
            ("http://evil-localhost", "localhost:8787", 403),
        ] {
            assert_eq!(status(&none, origin, host), expected, "{origin} to {host}");
        }
    }

    #[test]
    fn a_list_decides_alone() {
        let listed = origins(&["https://app.example/", "http://localhost:*", "https://*.preview.example", "null"]);
        for (origin, expected) in [
            ("https://app.example", 200),
            ("https://app.example:443", 200),
            ("http://app.example", 403),
            ("https://app.example:8443", 403),
            ("http://localhost:5173", 200),
            ("http://localhost", 403),
            ("http://127.0.0.1:5173", 403),
            ("https://a.b.preview.example", 200),
            ("https://preview.example", 403),
            ("https://sync.example", 403),
            ("null", 200),
        ] {
            assert_eq!(status(&listed, origin, "sync.example"), expected, "{origin}");
        }
        assert_eq!(status(&origins(&["*"]), "null", "localhost"), 200);
        assert_eq!(status(&origins(&["a*b*c"]), "a-c", "x"), 403);
        assert_eq!(status(&origins(&["a*b*c"]), "a-b-c", "x"), 200);
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let refused = origins(&[]).check(Asking { origin: Some("http://app:5173"), host: Some("b") });
        let text = refused.expect_err("not allowed").text;
        assert!(text.starts_with(
            "Origin http://app:5173 is not allowed: start the server with --allow-origin http://app:5173"
        ));
        let long = "x".repeat(10_000);
        let refused = origins(&[]).check(Asking { origin: Some(&long), host: Some("b") });
        assert!(refused.expect_err("not allowed").text.len() < 1_000);
    }

    #[test]
    fn browsers_are_told_who_may_read() {
        let asking = |origin| Asking { origin, host: Some("localhost:8787") };
        let told = |patterns: &[&str], origin| {
            let cors = origins(patterns).cors(asking(origin));
            cors.map(|cors| (cors.origin.to_owned(), cors.credentials))
        };
        let (all, a) = (Some(("*".to_owned(), false)), Some(("https://a".to_owned(), true)));
        assert_eq!(told(&["*"], None), all);
        assert_eq!(told(&["*"], Some("https://a")), all);
        assert_eq!(told(&["https://a"], Some("https://a")), a);
        assert_eq!(told(&["https://a"], Some("https://b")), None);
        assert_eq!(told(&[], Some("http://localhost:5173")), Some(("http://localhost:5173".to_owned(), true)));
        assert_eq!(told(&[], None), None);
        // Whoever is named may send cookies, also where all others may ask without.
        assert_eq!(told(&["*", "https://a"], Some("https://a")), a);
        assert_eq!(told(&["*", "https://a"], Some("https://b")), all);
        let mut all = origins(&["https://a"]);
        all.allow_all(true);
        assert!(all.allows_all());
        all.allow_all(false);
        assert_eq!(all, origins(&["https://a"]));
    }

    #[test]
    fn cookies_count_for_pages_that_are_named_or_of_the_same_host() {
        for (patterns, origin, expected) in [
            (&[][..], Some("https://sync.example"), true),
            (&[], Some("https://evil.example"), false),
            // No browser: nothing says that its cookies are meant.
            (&[], None, false),
            (&["https://app.example"], Some("https://app.example"), true),
            (&["https://app.example"], Some("https://sync.example"), false),
            (&["https://*.app.example"], Some("https://a.app.example"), true),
            // The door is open to all, and not to their visitors' cookies.
            (&["*"], Some("https://evil.example"), false),
            (&["*"], Some("https://sync.example"), false),
            (&["*", "https://app.example"], Some("https://app.example"), true),
        ] {
            let trusted = origins(patterns).trusts(Asking { origin, host: Some("sync.example") });
            assert_eq!(trusted, expected, "{patterns:?} {origin:?}");
        }
    }

    #[test]
    fn credentials_are_allowed_to_whom_is_named() {
        let named = Cors { origin: "https://a", credentials: true };
        let headers: Vec<_> = named.headers(Some("x-b")).collect();
        assert_eq!(
            headers[..3],
            [
                ("access-control-allow-origin", "https://a"),
                ("access-control-allow-methods", "GET, POST, OPTIONS"),
                ("access-control-allow-headers", "x-b"),
            ]
        );
        assert_eq!(headers[3..], [("access-control-allow-credentials", "true"), ("vary", "origin")]);
        let all: Vec<_> = Cors { origin: "*", credentials: false }.headers(None).collect();
        assert_eq!((all.len(), all[2].1), (3, "*"));
    }
}
