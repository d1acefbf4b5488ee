//! Which images a site holds out from training. A secret that never leaves the site decides it, not the server's seed: the server could
//! otherwise choose which images train, and two runs that differ in one image would show that image.
//!
//! The images of each class are ordered by a keyed hash of their content, and the first of them are held out. A larger share therefore
//! holds out the same images and more, the same images stay held out when others are added, and nobody without the secret can tell which
//! they are. Where the data name persons, these are held out in the same way, each with all images, by a keyed hash of the name.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use effgan_data::datasets::FileList;
use effgan_data::{DataError, Dataset, Person, by_person, most_frequent_class};
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

/// How many of a class's `num` images, or persons, are held out for a share in 0..1: the share, rounded up, but at least one trains.
pub fn num_held_out(num: usize, share: f64) -> usize {
    ((share * num as f64).ceil() as usize).min(num.saturating_sub(1))
}

/// What is held out as a whole.
pub(super) struct Unit {
    /// The places of its images in the data set.
    images: Vec<u32>,
    /// The class that most of these have.
    label: u8,
    /// What no other unit has, and stays the same when others are added.
    fingerprint: String,
}

/// The persons that `images` are of, given the class and the person of each image of the data set.
pub(super) fn persons(images: &[u32], labels: &[u8], of: &[Person]) -> Vec<Unit> {
    let unit = |images: Vec<u32>| {
        let label = most_frequent_class(&images, labels);
        Unit { fingerprint: format!("person {}", of[images[0] as usize]), images, label }
    };
    by_person(images, of).into_iter().map(unit).collect()
}

/// Each of `images` by itself, given the class and the [fingerprint](fingerprints) of each image of the data set.
pub(super) fn single_images(images: &[u32], labels: &[u8], fingerprints: &[String]) -> Vec<Unit> {
    let unit = |&image: &u32| {
        let (label, fingerprint) = (labels[image as usize], fingerprints[image as usize].clone());
        Unit { images: vec![image], label, fingerprint }
    };
    images.iter().map(unit).collect()
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

/// Splits `units` into the images that train and those that are held out, both ascending.
pub(super) fn split(units: Vec<Unit>, secret: &str, share: f64) -> [Vec<u32>; 2] {
    let mut classes = vec![Vec::new(); 256];
    for Unit { images, label, fingerprint } in units {
        let key = params::sha256(format!("{secret} {fingerprint}").as_bytes());
        classes[usize::from(label)].push((key, images));
    }
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for mut class in classes {
        class.sort_unstable();
        let num = num_held_out(class.len(), share);
        let add =
            |to: &mut Vec<u32>, units: &[(String, Vec<u32>)]| to.extend(units.iter().flat_map(|(_, images)| images));
        add(&mut held_out, &class[..num]);
        add(&mut train, &class[num..]);
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
        let [train, held_out] = split(single_images(&images, labels, &fingerprints(n as usize)), secret, share);
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
    fn a_person_is_held_out_with_all_images_and_stays_so_when_others_are_added() {
        let of = |num: u32| -> Vec<Person> { (0..num).map(|image| format!("patient {}", image / 5).into()).collect() };
        let held_out = |num: u32| {
            let images: Vec<u32> = (0..num).collect();
            let [train, held_out] = split(persons(&images, &vec![0; num as usize], &of(num)), "secret", 0.3);
            assert!(train.is_sorted() && held_out.is_sorted() && train.len() + held_out.len() == num as usize);
            held_out
        };
        let first = held_out(100);
        assert_eq!(first.len(), 30);
        assert!(first.chunks(5).all(|images| images[0] % 5 == 0 && images[4] == images[0] + 4), "{first:?}");
        let more = held_out(105);
        assert!(first.iter().filter(|image| !more.contains(image)).count() <= 5);
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
