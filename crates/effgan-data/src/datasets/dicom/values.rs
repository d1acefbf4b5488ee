//! Values of elements as numbers and words. None is ever quoted in an error: a file may have anything in any place.

use super::{
    elements::{Value, Values},
    syntax::Encoding,
    tag::Tag,
};

/// The values of the file itself, or of one of its sequences.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    pub(super) values: &'a Values,
    pub(super) sequence: Option<Tag>,
    pub(super) encoding: Encoding,
}

impl<'a> Group<'a> {
    /// The same of another sequence.
    pub(super) fn within(self, sequence: Tag) -> Self {
        Self { sequence: Some(sequence), ..self }
    }

    /// A value that is not empty.
    fn get(self, tag: Tag) -> Option<&'a Value> {
        self.values.get(&(self.sequence, tag)).filter(|value| !value.bytes.is_empty())
    }

    /// Words of 16 bits; none where the value is absent.
    pub(super) fn words(self, tag: Tag) -> impl Iterator<Item = u16> + Clone {
        let bytes = self.get(tag).map_or(&[][..], |value| &value.bytes);
        bytes.as_chunks().0.iter().map(move |&word| self.encoding.u16(word))
    }

    /// The first word of 16 bits.
    pub(super) fn word(self, tag: Tag) -> Option<u16> {
        self.words(tag).next()
    }

    /// Whether the words of a value are signed, where its representation says so.
    pub(super) fn is_signed(self, tag: Tag) -> Option<bool> {
        match &self.get(tag)?.vr? {
            b"SS" => Some(true),
            b"US" => Some(false),
            _ => None,
        }
    }

    /// The first of the words that backslashes divide, without spaces.
    pub(super) fn text(self, tag: Tag) -> Option<&'a str> {
        let first = self.get(tag)?.bytes.split(|&byte| byte == b'\\').next()?;
        // What is not text is no number and no known word either.
        let text = std::str::from_utf8(first).unwrap_or("?").trim_matches(['\0', ' ']);
        Some(text).filter(|text| !text.is_empty())
    }

    /// The first decimal number; `keyword` is the name of its element.
    ///
    /// # Errors
    /// The reason when it is not a finite number.
    pub(super) fn decimal(self, tag: Tag, keyword: &str) -> Result<Option<f64>, String> {
        let number = self.text(tag).map(|text| text.parse().ok().filter(|number: &f64| number.is_finite()));
        number.map(|number| number.ok_or_else(|| no_number(keyword))).transpose()
    }

    /// The first whole number; `keyword` is the name of its element.
    ///
    /// # Errors
    /// The reason when it is not one.
    pub(super) fn whole(self, tag: Tag, keyword: &str) -> Result<Option<i32>, String> {
        let number = self.text(tag).map(|text| text.parse().ok());
        number.map(|number| number.ok_or_else(|| no_number(keyword))).transpose()
    }
}

fn no_number(keyword: &str) -> String {
    format!("has something other than a number as {keyword}; correct or erase it")
}
