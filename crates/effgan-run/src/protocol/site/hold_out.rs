//! Which images a site holds out from training. A secret that never leaves the site decides it, not the server's seed: the server could
//! otherwise choose which images train, and two runs that differ in one image would show that image.
//!
//! The images of each class are ordered by a keyed hash of their content, and the first of them are held out. A larger share therefore
//! holds out the same images and more, the same images stay held out when others are added, and nobody without the secret can tell which
//! they are.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use effgan_data::datasets::FileList;
use effgan_data::{DataError, Dataset};
use effgan_nn::params;
use ssh_key::rand_core::{OsRng, RngCore};

/// The secret's name in a site's folder.
pub const SECRET: &str = "hold-out.secret";
/// Length of the secret in bytes.
const SECRET_BYTES: usize = 32;

/// A new secret as the file [`SECRET`] holds it: 64 hex digits and a line feed.
///
/// # Panics
/// When the system gives no random bytes.
pub fn new_secret() -> String {
    let mut bytes = [0; SECRET_BYTES];
    OsRng.fill_bytes(&mut bytes);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}\n")
}

/// The secret of the site in this folder; it is created if the site has none yet.
///
/// # Errors
/// When the file cannot be read or created, or is malformed.
pub fn secret(site: &Path) -> io::Result<String> {
    let path = site.join(SECRET);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = new_secret();
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            text
        }
        text => text?,
    };
    let secret = text.trim();
    if secret.len() != 2 * SECRET_BYTES || !secret.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(io::Error::other(format!(
            "is not {SECRET_BYTES} bytes in hex; restore it from a backup, because another secret holds out other images"
        )));
    }
    Ok(secret.into())
}

/// How many of a class's `num` images are held out for a share in 0..1: the share, rounded up, but at least one image trains.
pub fn num_held_out(num: usize, share: f64) -> usize {
    ((share * num as f64).ceil() as usize).min(num.saturating_sub(1))
}

/// A fingerprint of each training image: the SHA-256 of its file, or its place in the data set where one file holds many images.
///
/// # Errors
/// When a file cannot be read again.
pub(super) fn fingerprints(dataset: &Dataset, listed: Option<&FileList>) -> Result<Vec<String>, DataError> {
    let Some(listed) = listed else {
        return Ok((0..dataset.train.len()).map(|place| format!("{place}")).collect());
    };
    let fingerprint = |path: &Path| {
        let bytes =
            fs::read(path).map_err(|reason| DataError::Unreadable { file: path.display().to_string(), reason })?;
        Ok(params::sha256(&bytes))
    };
    listed.paths_of(dataset).map(fingerprint).collect()
}

/// Splits `images`, given by their places in the data set, into those that train and those that are held out, both ascending.
pub(super) fn split(images: &[u32], labels: &[u8], fingerprints: &[String], secret: &str, share: f64) -> [Vec<u32>; 2] {
    let mut classes = vec![Vec::new(); 256];
    for &image in images {
        let key = params::sha256(format!("{secret} {}", fingerprints[image as usize]).as_bytes());
        classes[usize::from(labels[image as usize])].push((key, image));
    }
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for mut class in classes {
        class.sort_unstable();
        let num = num_held_out(class.len(), share);
        held_out.extend(class[..num].iter().map(|(_, image)| image));
        train.extend(class[num..].iter().map(|(_, image)| image));
    }
    train.sort_unstable();
    held_out.sort_unstable();
    [train, held_out]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fingerprints(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("fingerprint {i}")).collect()
    }

    fn held_out(n: u32, labels: &[u8], secret: &str, share: f64) -> Vec<u32> {
        let images: Vec<u32> = (0..n).collect();
        let [train, held_out] = split(&images, labels, &fingerprints(n as usize), secret, share);
        let mut all = [train, held_out.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, images, "every image is on one list");
        held_out
    }

    #[test]
    fn a_larger_share_holds_out_the_same_images_and_more() {
        let labels: Vec<u8> = (0..200).map(|i| i % 3).collect();
        let mut before = Vec::new();
        for share in [0.0, 0.01, 0.1, 0.25, 0.5, 0.99] {
            let now = held_out(200, &labels, "secret", share);
            assert!(before.iter().all(|image| now.contains(image)), "{share}");
            for class in 0..3 {
                let of_class = |image: &&u32| labels[**image as usize] == class;
                let size = (0..200).filter(|image| of_class(&image)).count();
                assert_eq!(now.iter().filter(of_class).count(), num_held_out(size, share), "{share}");
            }
            before = now;
        }
        assert_eq!([0, 1, 2, 10, 11].map(|num| num_held_out(num, 0.1)), [0, 0, 1, 1, 2]);
    }

    #[test]
    fn another_secret_holds_out_other_images_and_an_added_image_displaces_at_most_one() {
        let labels = [0; 201];
        let first = held_out(200, &labels, "secret", 0.5);
        assert_ne!(first, held_out(200, &labels, "another", 0.5));
        let more = held_out(201, &labels, "secret", 0.5);
        assert!(first.iter().filter(|image| !more.contains(image)).count() <= 1);
    }

    #[test]
    fn a_site_creates_its_secret_once_and_readable_by_its_owner_alone() {
        let site = tempfile::tempdir().unwrap();
        let first = secret(site.path()).unwrap();
        assert_eq!((first.len(), secret(site.path()).unwrap()), (64, first));
        let mode = fs::metadata(site.path().join(SECRET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(site.path().join(SECRET), "1234\n").unwrap();
        assert!(secret(site.path()).unwrap_err().to_string().starts_with("is not 32 bytes in hex"));
        assert_ne!(new_secret(), new_secret());
    }
}
