//! Whether a client's offer of permessage-deflate is one that this server can keep (RFC 7692, section 7.1). Pure.

/// The answer to an offer that is accepted. Without context, nothing is kept between messages.
pub(in crate::native) const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// An extension that is offered, with its parameters.
#[derive(Debug, PartialEq, Eq)]
struct Offer<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<String>)>,
}

/// Whether one of these offers can be kept. What cannot be read offers nothing.
pub(in crate::native) fn is_acceptable<'a>(mut headers: impl Iterator<Item = &'a str>) -> bool {
    headers.any(|header| offers(header).is_some_and(|offers| offers.iter().any(Offer::can_be_kept)))
}

impl Offer<'_> {
    fn can_be_kept(&self) -> bool {
        self.name == "permessage-deflate"
            && self.parameters.iter().enumerate().all(|(index, (name, value))| {
                let is_repeated = self.parameters[..index].iter().any(|(other, _)| other == name);
                let is_known = match (*name, value) {
                    ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {
                        true
                    }
                    // What the client sends is read with the largest window.
                    ("client_max_window_bits", Some(bits)) => {
                        matches!(bits.as_str(), "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
                    }
                    // One body is compressed for all receivers, whatever window each would like.
                    _ => false,
                };
                is_known && !is_repeated
            })
    }
}

/// The offers of a header; `None` if it is not made as RFC 6455 says (section 9.1).
fn offers(header: &str) -> Option<Vec<Offer<'_>>> {
    let mut rest = Rest(header);
    let mut offers = Vec::new();
    loop {
        // A list may have empty places.
        while rest.skip(',') {}
        if rest.0.is_empty() {
            return Some(offers);
        }
        let mut offer = Offer { name: rest.token()?, parameters: Vec::new() };
        while rest.skip(';') {
            let name = rest.token()?;
            let value = if rest.skip('=') { Some(rest.value()?) } else { None };
            offer.parameters.push((name, value));
        }
        offers.push(offer);
        if !rest.0.is_empty() && !rest.0.starts_with(',') {
            return None;
        }
    }
}

/// What is still to be read, without spaces before it.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Whether this comes next; if so, it is behind us.
    fn skip(&mut self, separator: char) -> bool {
        self.trim();
        let rest = self.0.strip_prefix(separator);
        self.0 = rest.unwrap_or(self.0);
        self.trim();
        rest.is_some()
    }

    fn trim(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_in_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let (token, rest) = self.0.split_at(self.0.find(|c| !is_in_token(c)).unwrap_or(self.0.len()));
        self.0 = rest;
        self.trim();
        (!token.is_empty()).then_some(token)
    }

    /// A token, or a text in quotes that is one.
    fn value(&mut self) -> Option<String> {
        let Some(quoted) = self.0.strip_prefix('"') else { return self.token().map(str::to_owned) };
        let mut value = String::new();
        let mut letters = quoted.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.0 = &quoted[at + 1..];
                    self.trim();
                    return Some(value);
                }
                '\\' => value.push(letters.next()?.1),
                letter => value.push(letter),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_that_can_be_kept_is_accepted() {
        for offer in [
            &["permessage-deflate"][..],
            &["permessage-deflate; client_max_window_bits"],
            &["permessage-deflate;client_max_window_bits=15;server_no_context_takeover"],
            &["permessage-deflate; client_max_window_bits=\"8\" ; client_no_context_takeover"],
            &["permessage-deflate; client_max_window_bits=\"1\\0\""],
            &["permessage-deflate; server_max_window_bits=10, permessage-deflate"],
            &["\t, ,x-webkit-deflate-frame; a=\"b,c;d=\\\"\", permessage-deflate ,"],
            &["bbf-usp-protocol", "permessage-deflate; server_no_context_takeover"],
            &["not an offer", "permessage-deflate"],
        ] {
            assert!(is_acceptable(offer.iter().copied()), "{offer:?}");
        }
    }

    #[test]
    fn anything_else_is_no_offer() {
        let long = format!("permessage-deflate{}", "; client_max_window_bits".repeat(1_000));
        for offer in [
            "",
            ",",
            "deflate",
            "permessage-deflate2",
            "x; permessage-deflate",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=\"15",
            "permessage-deflate; client_max_window_bits=\"15\\",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=\"\"",
            "permessage-deflate; unknown",
            "permessage-deflate;",
            "permessage-deflate; =",
            "permessage-deflate permessage-deflate",
            "\"permessage-deflate\"",
            "permessage-deflate; ä",
            "ä",
            &long,
        ] {
            assert!(!is_acceptable([offer].into_iter()), "{offer:?}");
        }
    }
}
