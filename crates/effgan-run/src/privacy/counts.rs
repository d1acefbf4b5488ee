//! How much a client trains on, as far as private training depends on it.

use std::fmt::{self, Display, Formatter};

use effgan_data::{Person, by_person};
use effgan_fl::RunRequest;

use crate::units::counted;

/// How many images a client trains on, and of how many persons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counts {
    /// n_k.
    pub images: u64,
    /// The number of persons, where the data name them.
    pub persons: Option<u64>,
}

impl Counts {
    /// Counts these `images`, given the person of each image of the data set where persons are named.
    pub(crate) fn of(images: &[u32], persons: Option<&[Person]>) -> Self {
        let persons = persons.map(|persons| by_person(images, persons).len() as u64);
        Self { images: images.len() as u64, persons }
    }

    /// Those of a request, once the images are counted.
    pub(crate) fn of_request(request: &RunRequest) -> Option<Self> {
        Some(Self { images: request.images?, persons: request.persons })
    }

    /// How many persons, or images where persons are not named, private training hides one of.
    pub(crate) fn num_hidden(self) -> u64 {
        self.persons.unwrap_or(self.images)
    }

    /// What private training hides one of.
    pub(crate) fn unit(self) -> &'static str {
        if self.persons.is_some() { "person" } else { "image" }
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&counted(self.images, "image"))?;
        self.persons.map_or(Ok(()), |persons| write!(f, " of {}", counted(persons, "person")))
    }
}
