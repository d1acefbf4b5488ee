//! Which images a site keeps from training: dealt once, by a secret that never leaves it, and not by the server's seed.

use ssh_key::rand_core::{OsRng, RngCore};

/// Bytes of the secret.
const SECRET_BYTES: usize = 32;

/// A new secret, as `hold-out.secret` holds it: 64 hex digits and an end of line.
///
/// # Panics
/// When the system gives no random bytes.
pub fn new_secret() -> String {
    let mut bytes = [0; SECRET_BYTES];
    OsRng.fill_bytes(&mut bytes);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}\n")
}
