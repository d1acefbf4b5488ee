//! Persons from an array: one whole number for each image.

use super::{
    budget::Budget,
    npy::{Header, OpenArray},
};
use crate::{DataError, Person};
use std::collections::BTreeMap;

/// Of a person with a single image: the name, and its places in the map and in the list.
const BYTES_PER_PERSON: usize = 128;
/// What to do with names, and with other numbers.
const NUMBER_THEM: &str = "numpy.unique(persons, return_inverse=True)[1] numbers them";
/// Larger numbers are not all told apart as floating-point numbers.
const MAX_NUMBER: f64 = 9_007_199_254_740_991.0;

/// Reads the persons of `num_images` images, called by their numbers; their memory is reserved first.
pub(super) fn read(array: OpenArray, num_images: usize, budget: &mut Budget) -> Result<Vec<Person>, DataError> {
    array.check_size()?;
    let Header { shape, .. } = &array.header;
    let ([num] | [num, 1]) = **shape else {
        return Err(array.malformed(format!("has shape {shape:?}, expected [n] or [n, 1], one number for each image")));
    };
    if array.header.numbers().is_none() {
        return Err(array.malformed(format!("holds no numbers, expected a whole one for each image; {NUMBER_THEM}")));
    }
    if num != num_images {
        let reason = format!("has {num} numbers, expected one for each of the {num_images} images");
        return Err(array.malformed(reason));
    }
    budget.reserve_in_place(num, [BYTES_PER_PERSON, 1, 1])?;
    // Images of one person share the name.
    let (_, persons) = array.values(
        |num| (BTreeMap::<i64, Person>::new(), Vec::with_capacity(num)),
        |(known, persons), i, value| {
            if value.fract() != 0.0 || value.abs() > MAX_NUMBER {
                return Err(format!(
                    "has {value} for image {i}, expected a whole number up to {MAX_NUMBER}; {NUMBER_THEM}"
                ));
            }
            let number = value as i64;
            persons.push(known.entry(number).or_insert_with(|| Person::from(number.to_string())).clone());
            Ok(())
        },
    )?;
    Ok(persons)
}
