//! A site's identity in TLS: its own key, in a self-signed certificate that is made at each start and carries nothing but the key.

use p384::pkcs8::EncodePrivateKey;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P384_SHA384};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use ssh_key::private::{EcdsaKeypair, KeypairData};
use ssh_key::{PrivateKey, PublicKey};

use crate::error::GateError;
use crate::site_key::public_key;

/// A site's key and its current certificate.
#[derive(Debug)]
pub struct ClientIdentity {
    /// The public key, which the gate looks up in its list.
    pub public: PublicKey,
    /// The self-signed certificate.
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Clone for ClientIdentity {
    fn clone(&self) -> Self {
        Self { public: self.public.clone(), certificate: self.certificate.clone(), key: self.key.clone_key() }
    }
}

/// Makes the identity of a site from its private key. `text` is the file `key` of a kit: OpenSSH, P-384, without a passphrase.
///
/// # Errors
/// [`GateError::Key`].
pub fn client_identity(text: &str) -> Result<ClientIdentity, GateError> {
    let wrong = |reason: &str| GateError::Key { reason: reason.to_owned() };
    let key =
        PrivateKey::from_openssh(text).map_err(|error| wrong(&format!("the private key cannot be read: {error}")))?;
    let KeypairData::Ecdsa(EcdsaKeypair::NistP384 { private, .. }) = key.key_data() else {
        return Err(wrong("the private key has a passphrase or is of another kind than ecdsa-sha2-nistp384"));
    };
    let secret =
        p384::SecretKey::from_slice(private.as_slice()).map_err(|_| wrong("the private key is out of range"))?;
    let pkcs8 = secret.to_pkcs8_der().map_err(|_| wrong("the private key cannot be used"))?;
    let der = PrivatePkcs8KeyDer::from(pkcs8.as_bytes().to_vec());
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P384_SHA384)
        .map_err(|error| wrong(&format!("the private key cannot be used: {error}")))?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "effgan site");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&pair).map_err(|error| GateError::tls("the site's certificate", &error))?;
    let public = public_key(&key.public_key().to_openssh().map_err(|error| wrong(&error.to_string()))?)?;
    Ok(ClientIdentity { public, certificate: certificate.der().clone(), key: der.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::spki;

    #[test]
    fn a_certificate_carries_the_key_that_signed_it() {
        let identity = client_identity(include_str!("../tests/fixtures/north")).expect("a key");
        let public = public_key(include_str!("../tests/fixtures/north.pub")).expect("a key");
        assert_eq!(spki(&identity.certificate), Some(crate::site_key::spki_der(&public)));
        assert_eq!(identity.public.key_data(), public.key_data());
    }

    #[test]
    fn text_that_is_not_a_private_key_of_a_site_is_refused() {
        let public = client_identity(include_str!("../tests/fixtures/north.pub"));
        assert!(public.expect_err("a public key").to_string().contains("cannot be read"));
        assert!(client_identity("").is_err());
    }
}
