//! The DNS name or IP address by which sites reach the server: one that a certificate can be issued for and that can be called.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A DNS name, in lower case, or an IP address.
///
/// Its text has no brackets and no port; [`at`](Self::at) adds both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Host {
    /// Labels of RFC 1123, the last one not all digits; at most 253 characters.
    Name(String),
    /// The address of one machine.
    Address(IpAddr),
}

impl Host {
    /// `host:port`, an IPv6 address in brackets.
    pub fn at(&self, port: u16) -> String {
        match self {
            Self::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            _ => format!("{self}:{port}"),
        }
    }

    /// Whether only the machine itself can call it.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Self::Address(address) => address.is_loopback(),
        }
    }
}

impl FromStr for Host {
    type Err = String;

    /// Parses a name or an address.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with the text.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(why.to_owned());
        if let Ok(address) = text.parse::<IpAddr>() {
            return match why_unreachable(address) {
                Some(why) => wrong(why),
                None => Ok(Self::Address(address)),
            };
        }
        if text.contains("://") {
            return wrong("is a URL; give its host alone");
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return wrong(&format!("has brackets; write {inner}"));
        }
        if let Some((host, port)) = text.rsplit_once(':').filter(|(_, port)| is_number(port))
            && (!host.contains(':') || host.ends_with(']'))
        {
            return wrong(&format!("takes no port; use --port {port}"));
        }
        if text.contains('%') {
            return wrong("has a zone, which differs from machine to machine; give an address that all sites can call");
        }
        if text.contains(':') {
            return wrong("is not an IPv6 address");
        }
        let name = text.to_ascii_lowercase();
        match why_not_a_name(&name) {
            Some(why) => wrong(why),
            None => Ok(Self::Name(name)),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}

/// Why no machine can be called by this address, if so.
fn why_unreachable(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => why_unreachable_v4(address),
        IpAddr::V6(address) => why_unreachable_v6(address),
    }
}

fn why_unreachable_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets()[0] {
        0 => Some("is not an address that can be called; give the server's own"),
        224..=239 => Some("is a multicast address, not one machine's"),
        240..=255 => Some("is a reserved address, not one machine's"),
        _ => None,
    }
}

fn why_unreachable_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("is not an address that can be called; give the server's own")
    } else if address.is_multicast() {
        Some("is a multicast address, not one machine's")
    } else if address.is_unicast_link_local() {
        Some("is a link-local address, whose zone differs from machine to machine; give one that all sites can call")
    } else if address.to_ipv4_mapped().is_some() {
        Some("is an IPv4 address in IPv6's form; write it with dots")
    } else {
        None
    }
}

fn why_not_a_name(name: &str) -> Option<&'static str> {
    let labels: Vec<&str> = name.split('.').collect();
    let is_label = |label: &&str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !name.is_ascii() {
        Some("is not ASCII; write the name as DNS has it (xn--…)")
    } else if !labels.iter().all(is_label) {
        Some("is not a DNS name (labels of a-z, 0-9 and -, with dots between) and not an IP address")
    } else if labels.last().is_some_and(|last| is_number(last)) {
        Some("ends in a number and is not an IPv4 address (four numbers from 0 to 255)")
    } else if name.len() > 253 {
        Some("has more than the 253 characters of a DNS name")
    } else {
        None
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.pad(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::pki_types::ServerName;

    use super::*;

    fn why(text: &str) -> String {
        text.parse::<Host>().expect_err(text)
    }

    #[test]
    fn a_host_that_no_site_could_call_is_refused_with_what_to_write_instead() {
        for (text, reason) in [
            ("fl.example:9000", "takes no port; use --port 9000"),
            ("10.0.0.1:9000", "takes no port; use --port 9000"),
            ("[::1]:9000", "takes no port; use --port 9000"),
            ("10.0.0.256", "ends in a number and is not an IPv4 address"),
            ("010.0.0.1", "ends in a number and is not an IPv4 address"),
            ("1", "ends in a number"),
            ("0x7f.1", "ends in a number"),
            ("...", "is not a DNS name"),
            ("", "is not a DNS name"),
            ("fl.example.", "is not a DNS name"),
            ("-fl.example", "is not a DNS name"),
            ("fl_1.example", "is not a DNS name"),
            ("h;rm", "is not a DNS name"),
            ("h\n", "is not a DNS name"),
            ("bücher.example", "is not ASCII"),
            ("https://fl.example", "is a URL"),
            ("0.0.0.0", "is not an address that can be called"),
            ("255.255.255.255", "is a reserved address"),
            ("224.0.0.1", "is a multicast address"),
            ("::", "is not an address that can be called"),
            ("ff02::1", "is a multicast address"),
            ("fe80::1", "is a link-local address"),
            ("fe80::1%eth0", "has a zone"),
            ("::ffff:10.0.0.1", "is an IPv4 address in IPv6's form"),
            ("[2001:db8::1]", "has brackets; write 2001:db8::1"),
            ("2001:db8::12345", "is not an IPv6 address"),
            (&"x".repeat(64), "is not a DNS name"),
            (&vec!["x".repeat(50); 5].join("."), "has more than the 253 characters"),
        ] {
            assert!(why(text).starts_with(reason), "{text}: {}", why(text));
        }
    }

    #[test]
    fn names_and_addresses_are_kept_and_an_ipv6_address_gets_brackets_before_its_port() {
        for (text, shown, address) in [
            ("FL.Hospital.example", "fl.hospital.example", "fl.hospital.example:8000"),
            ("server", "server", "server:8000"),
            ("3com.example", "3com.example", "3com.example:8000"),
            ("10.0.0.25", "10.0.0.25", "10.0.0.25:8000"),
            ("2001:DB8::1", "2001:db8::1", "[2001:db8::1]:8000"),
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!((host.to_string().as_str(), host.at(8000).as_str()), (shown, address));
            assert!(!host.is_loopback());
        }
        for text in ["localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.8.0.1", "::1"] {
            assert!(text.parse::<Host>().unwrap().is_loopback(), "{text}");
        }
    }

    proptest! {
        /// Any text is refused, or is a name that rustls accepts, parses again to itself, and can be recovered from its address.
        #[test]
        fn what_is_accepted_can_be_called(text in "\\PC{0,20}|[a-zA-Z0-9.:%-]{0,40}|([a-z0-9-]{1,63}\\.){0,5}[a-z0-9-]{1,20}|([0-9a-f]{0,4}:){1,8}[0-9a-f]{0,4}") {
            if let Ok(host) = text.parse::<Host>() {
                let shown = host.to_string();
                prop_assert!(ServerName::try_from(shown.clone()).is_ok());
                prop_assert_eq!(&shown.parse::<Host>().unwrap(), &host);
                let address = host.at(9);
                let (before, port) = address.rsplit_once(':').unwrap();
                prop_assert_eq!(port, "9");
                prop_assert_eq!(before.trim_matches(['[', ']']), &shown);
                prop_assert_eq!(before.starts_with('['), shown.contains(':'));
            }
        }

        #[test]
        fn every_ipv4_address_of_a_machine_is_accepted(address: [u8; 4]) {
            let address = Ipv4Addr::from(address);
            let first = address.octets()[0];
            prop_assert_eq!(address.to_string().parse::<Host>().is_ok(), (1..224).contains(&first));
        }
    }
}
