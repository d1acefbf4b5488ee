//! A site's public key: ECDSA on P-384, the kind that Flower accepts.

use ssh_key::public::{EcdsaPublicKey, KeyData};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, PublicKey};

use crate::error::GateError;

/// DER of a P-384 public key's `SubjectPublicKeyInfo` before the 97 bytes of the point (RFC 5480).
const SPKI_HEAD: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];

/// Maximum number of bytes of a public key in OpenSSH's format.
const MAX_BYTES: usize = 1024;

/// Parses a public key in OpenSSH's format, with or without a comment.
///
/// # Errors
/// [`GateError::Key`] for anything but a P-384 key whose point is on the curve.
pub fn public_key(line: &str) -> Result<PublicKey, GateError> {
    let wrong = |reason: String| GateError::Key { reason };
    if line.len() > MAX_BYTES {
        return Err(wrong(format!("the key has {} characters, more than {MAX_BYTES}", line.len())));
    }
    let key =
        PublicKey::from_openssh(line.trim()).map_err(|error| wrong(format!("the key cannot be read: {error}")))?;
    if key.algorithm() != (Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 }) {
        return Err(wrong(format!("the key is of the kind {}", key.algorithm())));
    }
    p384::PublicKey::from_sec1_bytes(point(&key)).map_err(|_| wrong("the key is not a point of P-384".into()))?;
    Ok(key)
}

/// The key's fingerprint as OpenSSH computes it: SHA-256, as 64 hexadecimal digits in 16 groups of four, to be read out by telephone.
///
/// `ssh-keygen -lf key.pub` prints the same 256 bits in base64.
pub fn fingerprint(key: &PublicKey) -> String {
    let digest = key.fingerprint(HashAlg::Sha256);
    let groups: Vec<String> = digest.as_bytes().chunks(2).map(|two| format!("{:02x}{:02x}", two[0], two[1])).collect();
    groups.join(" ")
}

/// `key` in OpenSSH's format, without its comment.
pub(crate) fn openssh(key: &PublicKey) -> String {
    let bare = PublicKey::new(key.key_data().clone(), "");
    bare.to_openssh().expect("a parsed key can be written").trim().to_owned()
}

/// The key's `SubjectPublicKeyInfo`, as in a certificate.
pub(crate) fn spki_der(key: &PublicKey) -> Vec<u8> {
    [&SPKI_HEAD, point(key)].concat()
}

/// The key as Flower sends it: PEM, lines of 64 characters, as Python's `cryptography` writes it.
pub(crate) fn pem(key: &PublicKey) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(spki_der(key));
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

/// The key's point; empty for another kind of key.
fn point(key: &PublicKey) -> &[u8] {
    match key.key_data() {
        KeyData::Ecdsa(EcdsaPublicKey::NistP384(point)) => point.as_bytes(),
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = include_str!("../tests/fixtures/north.pub");

    #[test]
    fn a_fingerprint_is_that_of_ssh_keygen() {
        // ssh-keygen -lf north.pub | cut -d: -f2 | base64 -d | xxd -p
        let key = public_key(LINE).expect("a key");
        assert_eq!(fingerprint(&key), include_str!("../tests/fixtures/north.fingerprint").trim());
    }

    #[test]
    fn a_key_in_pem_is_what_openssl_writes() {
        // ssh-keygen -e -m PKCS8 -f north.pub
        let key = public_key(LINE).expect("a key");
        assert_eq!(pem(&key), include_str!("../tests/fixtures/north.pem"));
    }

    #[test]
    fn other_kinds_of_keys_are_refused() {
        let ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0TQVXC6vQGMCYiB1zfCGB0oyBpkjVFp7JUVMPvsuSd";
        assert!(public_key(ed25519).expect_err("another kind").to_string().contains("ssh-ed25519"));
        assert!(public_key("no key").is_err());
        assert!(public_key(&format!("{LINE}{}", "x".repeat(2000))).is_err());
    }
}
