//! What a forwarder says of the way to the server: each change once.

use std::sync::Mutex;

use hyper::StatusCode;

use crate::destination::Destination;
use crate::key::fingerprint;
use crate::tls::{CertificateTrouble, Trouble};

#[derive(Debug)]
pub(crate) struct News {
    server: String,
    fingerprint: String,
    /// What was said last.
    last: Mutex<Option<Trouble>>,
}

impl News {
    pub(crate) fn new(destination: &Destination) -> Self {
        let server = destination.server.to_string();
        Self { server, fingerprint: fingerprint(&destination.identity.public), last: Mutex::new(None) }
    }

    /// The server answered; a line if it did not before, or takes the key no more.
    pub(crate) fn answered(&self, status: StatusCode) -> Option<String> {
        if status == StatusCode::UNAUTHORIZED {
            // SuperNode ends at such an answer, and whoever started both ends this with it.
            return self.failed(Trouble::NotAdmitted).map(|_| {
                let fingerprint = &self.fingerprint;
                format!(
                    "the server does not know this site's key any more (its fingerprint is {fingerprint}): the site ends; start it again once it is admitted"
                )
            });
        }
        let before = self.last.lock().expect("nobody panics with the news").take();
        before.map(|_| format!("{} is reached", self.server))
    }

    /// It did not; a line if that is new.
    pub(crate) fn failed(&self, trouble: Trouble) -> Option<String> {
        let line = self.line(&trouble);
        let mut last = self.last.lock().expect("nobody panics with the news");
        // The system's words for one and the same trouble may be several.
        let is_new = last.as_ref().is_none_or(|last| std::mem::discriminant(last) != std::mem::discriminant(&trouble));
        *last = Some(trouble);
        is_new.then_some(line)
    }

    fn line(&self, trouble: &Trouble) -> String {
        let Self { server, fingerprint, .. } = self;
        match trouble {
            Trouble::NotAdmitted => format!(
                "the server does not know this site's key (its fingerprint is {fingerprint}): it was removed or never admitted; waiting"
            ),
            Trouble::Certificate(trouble) => format!("{server}: {}; waiting", trouble.words()),
            Trouble::NoTls => format!("{server} answers without TLS 1.3; is it the server's port?"),
            Trouble::Unreachable(why) => format!("{server} is not reached: {why}; waiting"),
        }
    }
}

impl CertificateTrouble {
    /// What is wrong, and what to do.
    pub fn words(self) -> &'static str {
        match self {
            Self::Expired => {
                "the server's certificate has ended; effgan federation renew at the server makes a new one"
            }
            Self::NotYet => "the server's certificate is not good yet; is the clock right?",
            Self::OtherAuthority => {
                "the server's certificate is not signed by this kit's ca.crt; ask for a new kit, or it is another server"
            }
            Self::OtherName => "the server's certificate is for another name than the kit calls it by",
            Self::Unusable => "the server's certificate cannot be used",
        }
    }
}
