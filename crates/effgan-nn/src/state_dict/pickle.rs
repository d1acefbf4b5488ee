//! An interpreter for the pickles that `torch.save` writes for a state dict; Python's `pickletools.py` documents each
//! operation.
//!
//! It supports the operations that these need, two functions, and the types of storages. No function is called: the
//! interpreter only records what the two would create. Values are in one list and refer to each other by index, so that
//! nesting needs no recursion and nothing is copied.

mod pickle_machine;

use super::{Parsed, shortened};
use pickle_machine::Machine;

/// Maximum number of bytes of the pickle in a zip archive; a thousand tensors take about 0.1 MB.
pub(super) const MAX_BYTES: u64 = 1 << 24;
/// Maximum number of operations of a pickle; a tensor needs about forty. Each creates at most one value.
const MAX_STEPS: usize = 1 << 20;
/// Maximum number of dimensions of a tensor.
const MAX_SIZES: usize = 64;
/// Maximum number of bytes of a tensor's name or a storage's key.
const MAX_OF_NAME: usize = 1024;
/// Maximum number of tensors.
const MAX_TENSORS: usize = 1 << 16;

/// The type of a storage's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    /// Any other type, with its name and the bytes of a number.
    Other(&'static str, u64),
}

const KINDS: [(&str, Kind); 10] = [
    ("FloatStorage", Kind::Float),
    ("DoubleStorage", Kind::Other("DoubleStorage", 8)),
    ("HalfStorage", Kind::Other("HalfStorage", 2)),
    ("BFloat16Storage", Kind::Other("BFloat16Storage", 2)),
    ("LongStorage", Kind::Other("LongStorage", 8)),
    ("IntStorage", Kind::Other("IntStorage", 4)),
    ("ShortStorage", Kind::Other("ShortStorage", 2)),
    ("CharStorage", Kind::Other("CharStorage", 1)),
    ("ByteStorage", Kind::Other("ByteStorage", 1)),
    ("BoolStorage", Kind::Other("BoolStorage", 1)),
];

impl Kind {
    /// Bytes of a number.
    pub(super) fn size(self) -> u64 {
        match self {
            Self::Float => 4,
            Self::Other(_, size) => size,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Float => "FloatStorage",
            Self::Other(name, _) => name,
        }
    }
}

/// A storage in the file.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub(super) kind: Kind,
    pub(super) key: String,
    /// Number of numbers.
    pub(super) len: u64,
}

/// A tensor as a view of a storage, with as many strides as sizes, both in numbers.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) storage: Storage,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

/// Index of a value in the list.
type Id = usize;

#[derive(Clone, Debug)]
enum Value {
    None,
    Bool(bool),
    Int(i128),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    OrderedDict,
    RebuildTensor,
    StorageType(Kind),
    Storage(Storage),
    Tensor(View),
}

/// Reads consecutive pickles.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes after the pickles that were read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads the next pickle as an integer.
    pub(super) fn number(&mut self) -> Parsed<i128> {
        let (values, top) = self.next()?;
        match values[top] {
            Value::Int(number) => Ok(number),
            _ => Err("it does not begin as torch.save does".into()),
        }
    }

    /// Reads the next pickle as the description of a machine, and returns whether its numbers are little-endian.
    pub(super) fn is_little_endian(&mut self) -> Parsed<bool> {
        let (values, top) = self.next()?;
        let Value::Dict(entries) = &values[top] else { return Err("it does not begin as torch.save does".into()) };
        let is_order = |id: Id| matches!(&values[id], Value::Text(text) if text == "little_endian");
        Ok(entries.iter().any(|&(key, value)| is_order(key) && matches!(values[value], Value::Bool(true))))
    }

    /// Reads the next pickle as a list of strings.
    pub(super) fn texts(&mut self) -> Parsed<Vec<String>> {
        let (values, top) = self.next()?;
        let Value::List(texts) = &values[top] else { return Err("it has no list of its storages".into()) };
        let text = |&id: &Id| match &values[id] {
            Value::Text(text) => Ok(text.clone()),
            _ => Err("it has no list of its storages".into()),
        };
        texts.iter().map(text).collect()
    }

    /// Reads the next pickle as a dict of tensors.
    pub(super) fn tensors(&mut self) -> Parsed<Vec<(String, View)>> {
        let (values, top) = self.next()?;
        let Value::Dict(entries) = &values[top] else { return Err("it holds no dict of tensors".into()) };
        if entries.len() > MAX_TENSORS {
            return Err(format!("it holds {} tensors, more than the {MAX_TENSORS} that are read", entries.len()));
        }
        let tensor = |&(key, value): &(Id, Id)| match (&values[key], &values[value]) {
            (Value::Text(name), _) if name.len() > MAX_OF_NAME => {
                Err(format!("{} is too long a name", shortened(name)))
            }
            (Value::Text(name), Value::Tensor(view)) => Ok((name.clone(), view.clone())),
            (Value::Text(name), _) => {
                Err(format!("{} is not a tensor; save model.state_dict() alone", shortened(name)))
            }
            _ => Err("it holds something without a name; save model.state_dict() alone".into()),
        };
        entries.iter().map(tensor).collect()
    }

    /// All values of the next pickle, and the index of its result.
    fn next(&mut self) -> Parsed<(Vec<Value>, Id)> {
        let mut machine = Machine::new(self.bytes);
        for _ in 0..MAX_STEPS {
            if let Some(top) = machine.step()? {
                self.bytes = machine.bytes;
                return Ok((machine.values, top));
            }
        }
        Err(format!("it takes more than {MAX_STEPS} operations"))
    }
}
