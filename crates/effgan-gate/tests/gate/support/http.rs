//! HTTP/1.1, read by the tests themselves.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

/// A request or a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Http {
    /// Its first line.
    pub line: String,
    /// Headers by name, in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Http {
    pub(crate) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
    }

    pub(crate) fn path(&self) -> &str {
        self.line.split(' ').nth(1).expect("a request line")
    }

    /// `None` at the end of the stream.
    pub(crate) fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut http = Self::default();
        if stream.read_line(&mut http.line)? == 0 {
            return Ok(None);
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            http.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = http.headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        http.body = vec![0; length];
        stream.read_exact(&mut http.body)?;
        Ok(Some(http))
    }
}
