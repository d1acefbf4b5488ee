//! Why a server could not be reached over TLS, in words.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// Why a connection to the server failed.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectError {
    /// The gate does not accept this site's key.
    NotAdmitted,
    /// The server's certificate is not valid.
    Certificate(CertificateProblem),
    /// Something answers, but not in TLS 1.3.
    NoTls,
    /// Nothing answers, or no proxy lets the connection through; in the system's words.
    Unreachable(String),
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateProblem {
    /// It has expired, or a clock is wrong.
    Expired,
    /// It is not valid yet, or a clock is wrong.
    NotYet,
    /// It was signed by another CA than the kit's `ca.crt`.
    OtherAuthority,
    /// It is for another name than the one that was called.
    OtherName,
    /// Anything else.
    Unusable,
}

impl ConnectError {
    /// The meaning of `error` or of one of its causes.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        match tls_error(error) {
            Some(rustls::Error::AlertReceived(AlertDescription::AccessDenied)) => Self::NotAdmitted,
            Some(rustls::Error::InvalidCertificate(error)) => Self::Certificate(CertificateProblem::of(error)),
            Some(
                rustls::Error::InvalidMessage(_)
                | rustls::Error::PeerIncompatible(_)
                | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion),
            ) => Self::NoTls,
            _ => Self::Unreachable(innermost(error)),
        }
    }
}

impl CertificateProblem {
    fn of(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYet,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::OtherAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::OtherName,
            _ => Self::Unusable,
        }
    }

    /// What is wrong, and what to do.
    pub fn message(self) -> &'static str {
        match self {
            Self::Expired => {
                "the server's certificate has expired (effgan federation renew at the server), or this machine's clock is wrong"
            }
            Self::NotYet => "the server's certificate is not valid yet: this machine's clock is wrong",
            Self::OtherAuthority => {
                "the server's certificate is not signed by this kit's ca.crt; ask for a new kit, or it is another server"
            }
            Self::OtherName => "the server's certificate is for another name than the one in the kit",
            Self::Unusable => "the server's certificate cannot be used",
        }
    }
}

fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    causes(error).find_map(|error| error.downcast_ref())
}

/// An error and its causes, those inside an [`io::Error`] included.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(outer) => outer.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    }
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
