//! A batch of CIFAR-10's Python version (Krizhevsky 2009): a pickled dict of `data`, u8 `[n, 3072]`, and `labels`, n integers.
//!
//! Its rows are the pixels `[3, 32, 32]` of an image, as in the binary version. `NumPy` pickles an array as a call of `_reconstruct` with a
//! state, or, in protocol 5, as a call of `_frombuffer`; Python 3 pickles bytes in protocol 2 as a call of `_codecs.encode`.

use super::{IMAGE_LEN, MAX_RECORDS};
use crate::datasets::{
    npy::Kind,
    pickle::{Id, Pickle, Value, shown},
};

/// The functions that a batch needs: `NumPy` 2 renamed the module `core` of `NumPy` 1.
const FUNCTIONS: [&str; 7] = [
    "_codecs.encode",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.numeric._frombuffer",
    "numpy._core.numeric._frombuffer",
];
/// Maximum number of entries that a message names.
const MAX_NAMED: usize = 8;

/// The images and labels of a batch, 1 to [`MAX_RECORDS`] of each.
pub(super) struct Batch<'a> {
    /// Pixels `[n, 3, 32, 32]`.
    pub(super) pixels: Raw<'a>,
    pub(super) labels: Vec<u8>,
}

impl<'a> Batch<'a> {
    /// Reads a pickled batch; an error is the reason without the file's name.
    pub(super) fn read(file: &'a [u8]) -> Result<Self, String> {
        let pickle = Pickle::read(file, &FUNCTIONS)?;
        let labels = labels(&pickle, entry(&pickle, "labels")?)?;
        check_num(labels.len())?;
        let data = PickledArray::of(&pickle, entry(&pickle, "data")?).map_err(|reason| format!("`data` {reason}"))?;
        if data.kind != Kind::U8 {
            return Err("`data` does not hold u8 values; images are bytes 0..=255".into());
        }
        if data.shape != [labels.len(), IMAGE_LEN] {
            let (shape, n) = (data.shape, labels.len());
            return Err(format!(
                "`data` has shape {shape:?}, expected [{n}, {IMAGE_LEN}]: a row for each of {n} labels"
            ));
        }
        Ok(Self { pixels: data.raw, labels })
    }
}

/// Bytes in a pickle.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    Bytes(&'a [u8]),
    /// Text whose characters are the bytes.
    Latin1(&'a str),
}

impl Raw<'_> {
    fn len(self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Latin1(text) => text.chars().count(),
        }
    }

    /// Appends the bytes to `output`.
    ///
    /// # Errors
    /// When a character is not a byte.
    pub(super) fn append_to(self, output: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Bytes(bytes) => output.extend_from_slice(bytes),
            Self::Latin1(text) => {
                for letter in text.chars() {
                    output.push(u8::try_from(letter).map_err(|_| "has bytes beyond 255; get the file again")?);
                }
            }
        }
        Ok(())
    }
}

/// The value of the dict's entry `name`.
fn entry(pickle: &Pickle, name: &str) -> Result<Id, String> {
    let Value::Dict(entries) = pickle.top() else {
        return Err("is a pickle, but not of a dict as CIFAR-10's are".into());
    };
    let found = entries.iter().rev().find(|(key, _)| text(pickle, *key) == Some(name));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let keys = entries.iter().filter_map(|(key, _)| text(pickle, *key)).take(MAX_NAMED).map(shown);
        format!("has no `{name}` in its dict, which holds: {}", keys.collect::<Vec<_>>().join(", "))
    })
}

/// The labels: a list or an array of integers 0..=255.
fn labels(pickle: &Pickle, id: Id) -> Result<Vec<u8>, String> {
    let numbers = match pickle.value(id) {
        Value::List(list) => list.iter().map(|&id| int(pickle, id)).collect::<Option<Vec<i64>>>(),
        _ => return array_of_labels(pickle, id),
    };
    let numbers = numbers.ok_or("`labels` has something that is not an integer; save labels.tolist()")?;
    numbers.into_iter().map(|number| u8::try_from(number).map_err(|_| wrong_label(number.into()))).collect()
}

fn array_of_labels(pickle: &Pickle, id: Id) -> Result<Vec<u8>, String> {
    let PickledArray { shape, kind, raw } =
        PickledArray::of(pickle, id).map_err(|reason| format!("`labels` {reason}"))?;
    let [n] = shape[..] else { return Err(format!("`labels` has shape {shape:?}, expected [n]")) };
    check_num(n)?;
    let mut bytes = Vec::new();
    raw.append_to(&mut bytes)?;
    let label =
        |label: f64| if (0.0..=255.0).contains(&label) { Ok(label as u8) } else { Err(wrong_label(label as i128)) };
    bytes.chunks_exact(kind.size).map(|value| label(kind.value(value))).collect()
}

fn check_num(num_labels: usize) -> Result<(), String> {
    match num_labels as u64 {
        1..=MAX_RECORDS => Ok(()),
        _ => Err(format!("has {num_labels} labels, expected 1 to {MAX_RECORDS}; get the file again")),
    }
}

fn wrong_label(label: i128) -> String {
    format!("a record has label {label}, expected 0..=9")
}

/// An array of integers in C order, whose bytes are as many as its shape says.
struct PickledArray<'a> {
    shape: Vec<usize>,
    kind: Kind,
    raw: Raw<'a>,
}

impl<'a> PickledArray<'a> {
    fn of(pickle: &Pickle<'a>, id: Id) -> Result<Self, String> {
        let (shape, dtype, is_c_order, values) = parts(pickle, id).ok_or("is not an array of NumPy")?;
        let kind = dtype_of(pickle, dtype).ok_or("is not an array of integers")?;
        if !is_c_order {
            return Err("is in Fortran order; save numpy.ascontiguousarray of it".into());
        }
        let raw = raw(pickle, values).ok_or("has no values")?;
        let shape = sizes(pickle, shape).ok_or("has no shape")?;
        let expected = shape.iter().try_fold(kind.size, |bytes, &size| bytes.checked_mul(size));
        if expected != Some(raw.len()) {
            return Err(format!("has {} bytes, which its shape {shape:?} does not fit; get the file again", raw.len()));
        }
        Ok(Self { shape, kind, raw })
    }
}

/// Shape, type, whether the order is C's, and values of an array.
fn parts(pickle: &Pickle, array: Id) -> Option<(Id, Id, bool, Id)> {
    let Value::Call { function, arguments, state } = pickle.value(array) else { return None };
    match (function.rsplit('.').next()?, state) {
        ("_reconstruct", Some(state)) => {
            let [_version, shape, dtype, is_fortran, values] = tuple(pickle, *state)?.try_into().ok()?;
            Some((shape, dtype, is_false(pickle, is_fortran), values))
        }
        ("_frombuffer", None) => {
            let [values, dtype, shape, order] = tuple(pickle, *arguments)?.try_into().ok()?;
            Some((shape, dtype, text(pickle, order) == Some("C"), values))
        }
        _ => None,
    }
}

/// The type of numbers: a call of `numpy.dtype` with a name such as `u1`, whose state has the order of bytes behind a version.
fn dtype_of(pickle: &Pickle, id: Id) -> Option<Kind> {
    let Value::Call { function: "numpy.dtype", arguments, state: Some(state) } = pickle.value(id) else { return None };
    let name = text(pickle, *tuple(pickle, *arguments)?.first()?)?;
    let order = text(pickle, *tuple(pickle, *state)?.get(1)?)?;
    Kind::parse(&format!("{order}{name}")).filter(|kind| kind.is_whole())
}

fn sizes(pickle: &Pickle, shape: Id) -> Option<Vec<usize>> {
    tuple(pickle, shape)?.iter().map(|&size| usize::try_from(int(pickle, size)?).ok()).collect()
}

fn tuple<'p>(pickle: &'p Pickle, id: Id) -> Option<&'p [Id]> {
    if let Value::Tuple(parts) = pickle.value(id) { Some(parts) } else { None }
}

fn int(pickle: &Pickle, id: Id) -> Option<i64> {
    if let Value::Int(number) = pickle.value(id) { Some(*number) } else { None }
}

fn is_false(pickle: &Pickle, id: Id) -> bool {
    matches!(pickle.value(id), Value::Bool(false) | Value::Int(0))
}

/// Bytes, which may be a call of `_codecs.encode`.
fn raw<'a>(pickle: &Pickle<'a>, id: Id) -> Option<Raw<'a>> {
    match pickle.value(id) {
        Value::Bytes(bytes) => Some(Raw::Bytes(bytes)),
        Value::Call { function: "_codecs.encode", arguments, .. } => match *tuple(pickle, *arguments)? {
            [values, encoding] if text(pickle, encoding) == Some("latin1") => text(pickle, values).map(Raw::Latin1),
            _ => None,
        },
        _ => None,
    }
}

/// Text, which Python 2 keeps as bytes and Python 3 may encode as bytes.
fn text<'a>(pickle: &Pickle<'a>, id: Id) -> Option<&'a str> {
    match pickle.value(id) {
        Value::Text(text) => Some(text),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        Value::Call { function: "_codecs.encode", arguments, .. } => {
            match pickle.value(*tuple(pickle, *arguments)?.first()?) {
                Value::Text(text) => Some(text),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches that Python wrote: see `tests/fixtures/cifar_batches.py`.
    const WRITTEN: [(&str, &[u8]); 8] = [
        ("python2", include_bytes!("../../../tests/fixtures/cifar_batch_python2.pickle")),
        ("numpy1_protocol4", include_bytes!("../../../tests/fixtures/cifar_batch_numpy1_protocol4.pickle")),
        ("numpy1_protocol5", include_bytes!("../../../tests/fixtures/cifar_batch_numpy1_protocol5.pickle")),
        ("numpy2_protocol2", include_bytes!("../../../tests/fixtures/cifar_batch_numpy2_protocol2.pickle")),
        ("numpy2_protocol3", include_bytes!("../../../tests/fixtures/cifar_batch_numpy2_protocol3.pickle")),
        ("numpy2_protocol4", include_bytes!("../../../tests/fixtures/cifar_batch_numpy2_protocol4.pickle")),
        ("numpy2_protocol5", include_bytes!("../../../tests/fixtures/cifar_batch_numpy2_protocol5.pickle")),
        ("saved_again", include_bytes!("../../../tests/fixtures/cifar_batch_saved_again.pickle")),
    ];

    /// Pixels and labels of a batch.
    fn read(file: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
        let Batch { pixels, labels } = Batch::read(file)?;
        let mut bytes = Vec::new();
        pixels.append_to(&mut bytes)?;
        Ok((bytes, labels))
    }

    /// The error of the batch of Python 2 with `to` in place of `from`, which is there once.
    fn error(from: &[u8], to: &[u8]) -> String {
        let (_, file) = WRITTEN[0];
        let places: Vec<usize> = (0..file.len()).filter(|&at| file[at..].starts_with(from)).collect();
        let [at] = places[..] else { panic!("{from:?} is at {places:?}") };
        read(&[&file[..at], to, &file[at + from.len()..]].concat()).unwrap_err()
    }

    #[test]
    fn every_python_writes_the_same_batch() {
        let pixels: Vec<u8> = (0..2).flat_map(|n| (0..3072).map(move |i| ((7 * i + 31 * n) % 256) as u8)).collect();
        for (name, file) in WRITTEN {
            assert_eq!(read(file).unwrap(), (pixels.clone(), vec![3, 8]), "{name}");
        }
    }

    #[test]
    fn a_batch_cut_anywhere_or_longer_is_an_error() {
        for (name, file) in WRITTEN {
            for len in 0..file.len() {
                assert!(read(&file[..len]).is_err(), "{name} cut at {len}");
            }
            assert_eq!(read(&[file, b"x"].concat()).unwrap_err(), "continues after its pickle; get the file again");
        }
    }

    #[test]
    fn a_batch_with_any_byte_changed_is_read_or_refused() {
        for (_, file) in WRITTEN {
            // Pixels are a slice of thousands of bytes, of which a few stand for all.
            for at in (0..300).chain(file.len() - 300..file.len()) {
                for byte in [0, 1, b'(', b'.', b'h', 0x7f, 0x85, 0x94, 0xff] {
                    let mut changed = file.to_vec();
                    changed[at] = byte;
                    if let Ok((pixels, labels)) = read(&changed) {
                        assert_eq!(pixels.len(), 3072 * labels.len());
                    }
                }
            }
        }
    }

    #[test]
    fn a_dict_without_data_or_labels_is_described() {
        assert_eq!(
            error(b"U\x06labels", b"U\x0bfine_labels"),
            "has no `labels` in its dict, which holds: `data`, `fine_labels`, `batch_label`, `filenames`"
        );
        assert!(error(b"U\x04data", b"U\x04Data").starts_with("has no `data` in its dict, which holds: `Data`, "));
        assert_eq!(read(b"\x80\x02K\x01.").unwrap_err(), "is a pickle, but not of a dict as CIFAR-10's are");
        let escape = error(b"U\x06labels", b"U\x07\x1b[2Jabc");
        assert!(!escape.contains('\x1b'), "{escape}");
    }

    #[test]
    fn data_must_be_a_row_of_bytes_for_each_label() {
        assert_eq!(
            error(b"K\x02M\x00\x0c\x86", b"M\x00\x0cK\x02\x86"),
            "`data` has shape [3072, 2], expected [2, 3072]: a row for each of 2 labels"
        );
        assert_eq!(
            error(b"K\x02M\x00\x0c\x86", b"K\x03M\x00\x0c\x86"),
            "`data` has 6144 bytes, which its shape [3, 3072] does not fit; get the file again"
        );
        let huge = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
        assert!(error(b"K\x02M\x00\x0c\x86", &[&huge[..], huge, b"\x86"].concat()).contains("does not fit"));
        assert_eq!(error(b"K\x02M\x00\x0c\x86", b"K\x02J\xff\xff\xff\xff\x86"), "`data` has no shape");
        assert_eq!(
            error(b"K\x03K\x08e", b"K\x03e"),
            "`data` has shape [2, 3072], expected [1, 3072]: a row for each of 1 labels"
        );
        assert_eq!(error(b"U\x02u1", b"U\x02i1"), "`data` does not hold u8 values; images are bytes 0..=255");
        assert_eq!(error(b"U\x02u1", b"U\x02f4"), "`data` is not an array of integers");
        assert_eq!(error(b"b\x89T", b"b\x88T"), "`data` is in Fortran order; save numpy.ascontiguousarray of it");
    }

    #[test]
    fn labels_must_be_integers_of_bytes() {
        assert_eq!(
            error(b"K\x03K\x08e", b"K\x03Ne"),
            "`labels` has something that is not an integer; save labels.tolist()"
        );
        assert_eq!(error(b"K\x03K\x08e", b"K\x03J\xff\xff\xff\xffe"), "a record has label -1, expected 0..=9");
        assert_eq!(error(b"K\x03K\x08e", b"K\x03M\x00\x01e"), "a record has label 256, expected 0..=9");
        assert_eq!(error(b"K\x03K\x08e", b"e"), "has 0 labels, expected 1 to 10000; get the file again");
        assert_eq!(
            error(b"K\x03K\x08e", &[&b"K\x01".repeat(10_001)[..], b"e"].concat()),
            "has 10001 labels, expected 1 to 10000; get the file again"
        );
    }

    #[test]
    fn a_batch_calls_nothing() {
        assert_eq!(
            error(b"cnumpy.core.multiarray\n_reconstruct", b"cos\nsystem"),
            "names `os.system`, which is not a function that such a file needs; no code was run"
        );
        // Also where nobody would look: in an entry that is not read.
        let evil = error(b"U\x14testing batch 1 of 1", b"cbuiltins\neval\nU\x01x\x85R");
        assert!(evil.starts_with("names `builtins.eval`"), "{evil}");
    }
}
