//! An interpreter of the pickles that `torch.save` writes of a state dict (Python's `pickletools.py` says what each
//! operation does).
//!
//! It knows the operations that those need, two functions, and the names of storages. Nothing is called: what the two
//! functions would make is written down. Values lie in one list and name each other by their place, so that nothing is
//! deep and nothing is copied.

use std::collections::BTreeMap;

use super::{Read1, shortened};

/// Most bytes of a zip archive's pickle; that of a thousand tensors has some 0.1 MB.
pub(super) const MOST_BYTES: u64 = 1 << 24;
/// Most operations of a pickle; a tensor needs some forty. Each makes one value at most.
const MOST_STEPS: usize = 1 << 20;
/// Most dimensions of a tensor.
const MOST_SIZES: usize = 64;
/// Most bytes of a tensor's name or a storage's key.
const MOST_OF_NAME: usize = 1024;
/// Most tensors.
const MOST_TENSORS: usize = 1 << 16;

/// What a storage holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    /// Any other, by its name and the bytes of a number.
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

/// Numbers in the file.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub(super) kind: Kind,
    pub(super) key: String,
    /// How many numbers.
    pub(super) len: u64,
}

/// A tensor as a part of a storage; as many strides as sizes.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) storage: Storage,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

/// Place of a value in the list.
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

/// Reads one pickle after the other.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What is behind the pickles that were read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next pickle: a whole number.
    pub(super) fn number(&mut self) -> Read1<i128> {
        let (values, top) = self.next()?;
        match values[top] {
            Value::Int(number) => Ok(number),
            _ => Err("it does not begin as torch.save does".into()),
        }
    }

    /// The next pickle, which describes the machine: whether its numbers begin with their last byte.
    pub(super) fn is_little_endian(&mut self) -> Read1<bool> {
        let (values, top) = self.next()?;
        let Value::Dict(entries) = &values[top] else { return Err("it does not begin as torch.save does".into()) };
        let is_order = |id: Id| matches!(&values[id], Value::Text(text) if text == "little_endian");
        Ok(entries.iter().any(|&(key, value)| is_order(key) && matches!(values[value], Value::Bool(true))))
    }

    /// The next pickle: a list of texts.
    pub(super) fn texts(&mut self) -> Read1<Vec<String>> {
        let (values, top) = self.next()?;
        let Value::List(texts) = &values[top] else { return Err("it has no list of its storages".into()) };
        let text = |&id: &Id| match &values[id] {
            Value::Text(text) => Ok(text.clone()),
            _ => Err("it has no list of its storages".into()),
        };
        texts.iter().map(text).collect()
    }

    /// The next pickle: tensors by name.
    pub(super) fn tensors(&mut self) -> Read1<Vec<(String, View)>> {
        let (values, top) = self.next()?;
        let Value::Dict(entries) = &values[top] else { return Err("it holds no dict of tensors".into()) };
        if entries.len() > MOST_TENSORS {
            return Err(format!("it holds {} tensors, more than the {MOST_TENSORS} that are read", entries.len()));
        }
        let tensor = |&(key, value): &(Id, Id)| match (&values[key], &values[value]) {
            (Value::Text(name), _) if name.len() > MOST_OF_NAME => {
                Err(format!("{} is too long a name", shortened(name)))
            }
            (Value::Text(name), Value::Tensor(view)) => Ok((name.clone(), view.clone())),
            (Value::Text(name), _) => Err(format!("{} is no tensor; save model.state_dict() alone", shortened(name))),
            _ => Err("it holds something without a name; save model.state_dict() alone".into()),
        };
        entries.iter().map(tensor).collect()
    }

    /// All values of the next pickle, and which of them it is.
    fn next(&mut self) -> Read1<(Vec<Value>, Id)> {
        let mut machine = Machine { bytes: self.bytes, ..Machine::default() };
        for _ in 0..MOST_STEPS {
            if let Some(top) = machine.step()? {
                self.bytes = machine.bytes;
                return Ok((machine.values, top));
            }
        }
        Err(format!("it takes more than {MOST_STEPS} operations"))
    }
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack where something of many parts begins.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// One operation; the value when it was the last.
    fn step(&mut self) -> Read1<Option<Id>> {
        match self.number::<1>()? as u8 {
            0x80 => drop(self.take(1)?), // PROTO
            b'.' => return self.pop().map(Some),
            b'c' => self.global()?,
            b'q' => self.remember::<1>()?,
            b'r' => self.remember::<4>()?,
            b'h' => self.recall::<1>()?,
            b'j' => self.recall::<4>()?,
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' => self.int::<1>()?,
            b'M' => self.int::<2>()?,
            b'J' => {
                let four = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(four.into()));
            }
            0x8a => self.long()?,
            b'X' => self.text::<4>()?,
            0x8c => self.text::<1>()?,
            b')' => self.push(Value::Tuple(Vec::new())),
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let parts = self.since_mark()?;
                self.push(Value::Tuple(parts));
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b's' => {
                let parts = self.last(2)?;
                self.set_items(&parts)?;
            }
            b'u' => {
                let parts = self.since_mark()?;
                self.set_items(&parts)?;
            }
            b'a' => {
                let parts = self.last(1)?;
                self.append(&parts)?;
            }
            b'e' => {
                let parts = self.since_mark()?;
                self.append(&parts)?;
            }
            b'Q' => self.storage()?,
            b'R' => self.call()?,
            b'b' => self.build()?,
            other => return Err(format!("operation {other:#04x} is none that a state dict needs")),
        }
        Ok(None)
    }

    fn take(&mut self, len: usize) -> Read1<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or("it ends early")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read1<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many as were taken"))
    }

    /// A number of `N` bytes, 4 at most, the last byte first.
    fn number<const N: usize>(&mut self) -> Read1<u32> {
        Ok(self.array::<N>()?.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }

    /// The rest of a line.
    fn line(&mut self) -> Read1<String> {
        let end = self.bytes.iter().position(|&byte| byte == b'\n').ok_or("it ends early")?;
        let line = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Read1<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() > floor {
            Ok(self.stack.pop().expect("something is above the floor"))
        } else {
            Err(EMPTY.into())
        }
    }

    /// The last `n` values, in the order in which they were pushed.
    fn last(&mut self, n: usize) -> Read1<Vec<Id>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let first = self.stack.len().checked_sub(n).filter(|&first| first >= floor).ok_or(EMPTY)?;
        Ok(self.stack.split_off(first))
    }

    fn since_mark(&mut self) -> Read1<Vec<Id>> {
        let mark = self.marks.pop().ok_or(EMPTY)?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Read1<&mut Value> {
        let &top = self.stack.last().ok_or(EMPTY)?;
        Ok(&mut self.values[top])
    }

    fn remember<const N: usize>(&mut self) -> Read1<()> {
        let place = self.number::<N>()?;
        let &top = self.stack.last().ok_or(EMPTY)?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall<const N: usize>(&mut self) -> Read1<()> {
        let place = self.number::<N>()?;
        let &id = self.memo.get(&place).ok_or("it recalls what it did not remember")?;
        self.stack.push(id);
        Ok(())
    }

    fn int<const N: usize>(&mut self) -> Read1<()> {
        let number = self.number::<N>()?;
        self.push(Value::Int(number.into()));
        Ok(())
    }

    /// A number of up to 16 bytes, of which the highest bit is the sign.
    fn long(&mut self) -> Read1<()> {
        let len = self.number::<1>()? as usize;
        let bytes = self.take(len)?;
        if len > 16 {
            return Err(format!("a number has {len} bytes"));
        }
        let sign = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut all = [if sign { 0xff } else { 0 }; 16];
        all[..len].copy_from_slice(bytes);
        self.push(Value::Int(i128::from_le_bytes(all)));
        Ok(())
    }

    fn text<const N: usize>(&mut self) -> Read1<()> {
        let len = self.number::<N>()? as usize;
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| "a text is not UTF-8")?;
        self.push(Value::Text(text.to_owned()));
        Ok(())
    }

    fn tuple(&mut self, n: usize) -> Read1<()> {
        let parts = self.last(n)?;
        self.push(Value::Tuple(parts));
        Ok(())
    }

    fn set_items(&mut self, parts: &[Id]) -> Read1<()> {
        let (pairs, []) = parts.as_chunks::<2>() else { return Err("a key has no value".into()) };
        let Value::Dict(entries) = self.top()? else { return Err("it sets items of what is no dict".into()) };
        entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    fn append(&mut self, parts: &[Id]) -> Read1<()> {
        let Value::List(list) = self.top()? else { return Err("it appends to what is no list".into()) };
        list.extend(parts);
        Ok(())
    }

    fn global(&mut self) -> Read1<()> {
        let (module, name) = (self.line()?, self.line()?);
        let kind = KINDS.iter().find(|(known, _)| *known == name).map(|&(_, kind)| kind);
        let value = match (module.as_str(), name.as_str(), kind) {
            ("collections", "OrderedDict", _) => Value::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2", _) => Value::RebuildTensor,
            ("torch", _, Some(kind)) => Value::StorageType(kind),
            _ => {
                let wanted = shortened(&format!("{module}.{name}"));
                return Err(format!("it calls for {wanted}, which no state dict needs; nothing of it was run"));
            }
        };
        self.push(value);
        Ok(())
    }

    /// Persistent id: `("storage", type, key, device, numbers)`, and `None` behind in the older form.
    fn storage(&mut self) -> Read1<()> {
        let id = self.pop()?;
        let Value::Tuple(parts) = &self.values[id] else { return Err(NO_STORAGE.into()) };
        let part = |i: usize| parts.get(i).map_or(&Value::None, |&id| &self.values[id]);
        let storage = match [part(0), part(1), part(2), part(4), part(5)] {
            [Value::Text(word), Value::StorageType(kind), Value::Text(key), Value::Int(len), Value::None]
                if word == "storage" && key.len() <= MOST_OF_NAME =>
            {
                Storage { kind: *kind, key: key.clone(), len: u64::try_from(*len).map_err(|_| NO_STORAGE)? }
            }
            _ => return Err(NO_STORAGE.into()),
        };
        self.push(Value::Storage(storage));
        Ok(())
    }

    fn call(&mut self) -> Read1<()> {
        let [function, arguments] = self.last(2)?[..] else { return Err(EMPTY.into()) };
        let Value::Tuple(arguments) = &self.values[arguments] else { return Err("it calls without a tuple".into()) };
        let made = match (&self.values[function], arguments.as_slice()) {
            (Value::OrderedDict, []) => Value::Dict(Vec::new()),
            (Value::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
                Value::Tensor(self.view([storage, offset, shape, strides])?)
            }
            _ => return Err("it calls what is no function of a state dict".into()),
        };
        self.push(made);
        Ok(())
    }

    fn view(&self, [storage, offset, shape, strides]: [Id; 4]) -> Read1<View> {
        let Value::Storage(storage) = &self.values[storage] else { return Err("a tensor has no storage".into()) };
        let storage = storage.clone();
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() || shape.len() > MOST_SIZES {
            return Err(format!("a tensor has {} sizes and {} strides", shape.len(), strides.len()));
        }
        Ok(View { storage, offset: self.size(offset)?, shape, strides })
    }

    fn sizes(&self, id: Id) -> Read1<Vec<u64>> {
        let Value::Tuple(sizes) = &self.values[id] else { return Err("a tensor has no sizes".into()) };
        sizes.iter().take(MOST_SIZES + 1).map(|&size| self.size(size)).collect()
    }

    fn size(&self, id: Id) -> Read1<u64> {
        match self.values[id] {
            Value::Int(size) => u64::try_from(size).map_err(|_| format!("a tensor has a size of {size}")),
            _ => Err("a tensor has a size that is no number".into()),
        }
    }

    /// Attributes of the dict below, `_metadata`: they say nothing of tensors.
    fn build(&mut self) -> Read1<()> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            _ => Err("it gives attributes to what is no dict".into()),
        }
    }
}

const EMPTY: &str = "it takes more values than it has";
const NO_STORAGE: &str = "a persistent id names no storage";
