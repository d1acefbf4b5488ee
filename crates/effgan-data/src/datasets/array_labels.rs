//! Labels from an array: one number for each image, or one column for each class.

use super::{
    array_images::Images,
    budget::Budget,
    npy::{Header, OpenArray},
};
use crate::DataError;

/// Classes are numbered by a byte.
const MAX_CLASSES: usize = 256;

/// Labels `[n]`.
pub(super) struct Labels {
    pub(super) of_images: Vec<u8>,
    /// Columns of an array `[n, k]`, in which each image has a 1 in one column and 0 in the others.
    columns: Option<usize>,
    /// The name of the array in messages.
    file: String,
}

impl Labels {
    /// Reads the labels of `images`; their memory is reserved first.
    pub(super) fn read(array: OpenArray, images: &Images, budget: &mut Budget) -> Result<Self, DataError> {
        array.check_size()?;
        let (file, header) = (array.file.clone(), array.header.clone());
        header.kind().map_err(|reason| array.malformed(reason))?;
        let ([num_labels] | [num_labels, _]) = *header.shape else { return Err(array.malformed(wrong_shape(&header))) };
        if num_labels != images.num {
            let images_file = images.file.clone();
            return Err(DataError::CountMismatch {
                images_file,
                num_images: images.num,
                labels_file: file,
                num_labels,
            });
        }
        budget.reserve_in_place(num_labels, [1; 3])?;
        let (of_images, columns) = match *header.shape {
            [_, k @ 2..=MAX_CLASSES] => (one_hot(array, k)?, Some(k)),
            [_] | [_, 1] => (numbers(array)?, None),
            _ => return Err(array.malformed(wrong_shape(&header))),
        };
        Ok(Self { of_images, columns, file })
    }

    /// Checks that each of the columns has an image: others may be findings, of which an image may have several. `num_classes`
    /// is the number of classes where it is known; then as many columns are these.
    pub(super) fn check_columns(&self, num_classes: Option<usize>) -> Result<(), DataError> {
        let Some(columns) = self.columns.filter(|&columns| num_classes != Some(columns)) else { return Ok(()) };
        let has_image = |column: &usize| self.of_images.iter().any(|&label| usize::from(label) == *column);
        let Some(empty) = (0..columns).find(|column| !has_image(column)) else { return Ok(()) };
        let reason = format!(
            "has {columns} columns, and no image has a 1 in column {empty}, so these may be labels of which an image can have several, \
             which are not read; if each image has one class, save numpy.argmax(labels, 1)"
        );
        Err(DataError::Malformed { file: self.file.clone(), reason })
    }
}

fn wrong_shape(Header { shape, .. }: &Header) -> String {
    format!(
        "has shape {shape:?}, expected [n] or [n, 1], one number for each image, or [n, k] with one 1 for each image in 2 to \
         {MAX_CLASSES} columns of 0"
    )
}

/// Labels `[n]` or `[n, 1]`.
fn numbers(array: OpenArray) -> Result<Vec<u8>, DataError> {
    array.values(Vec::with_capacity, |labels, i, value| {
        if !(0.0..=255.0).contains(&value) || value.fract() != 0.0 {
            return Err(format!("has label {value} for image {i}, expected a whole number from 0 to 255"));
        }
        labels.push(value as u8);
        Ok(())
    })
}

/// Labels `[n, k]`: the column of the 1 in each row.
fn one_hot(array: OpenArray, k: usize) -> Result<Vec<u8>, DataError> {
    let mut column_of_one = None;
    array.values(
        |num| Vec::with_capacity(num / k),
        |labels, i, value| {
            let (image, column) = (i / k, i % k);
            match (value, column_of_one) {
                (0.0, _) => {}
                (1.0, None) => column_of_one = Some(column),
                (1.0, Some(first)) => return Err(several_labels(image, [first, column])),
                _ => return Err(format!("has value {value} at [{image}, {column}], expected 0 or 1 in {k} columns")),
            }
            if column == k - 1 {
                let column = column_of_one.take().ok_or_else(|| no_label(image, k))?;
                labels.push(column as u8);
            }
            Ok(())
        },
    )
}

fn several_labels(image: usize, [first, second]: [usize; 2]) -> String {
    format!(
        "has several labels for image {image}, a 1 in column {first} and in column {second}; an image has one class, \
         so save one number for each image"
    )
}

fn no_label(image: usize, k: usize) -> String {
    format!(
        "has no label for image {image}, a 0 in all {k} columns; an image has one class, so save one number for each image"
    )
}
