//! The stack machine of pickles, with the operations that state dicts need.

use std::collections::BTreeMap;

use super::{Id, KINDS, MAX_OF_NAME, MAX_SIZES, Storage, Value, View};
use crate::state_dict::{Parsed, shortened};

const EMPTY: &str = "it takes more values than it has";
const NO_STORAGE: &str = "a persistent id does not name a storage";

/// An interpreter of one pickle.
#[derive(Default)]
pub(super) struct Machine<'a> {
    /// The bytes that are left to read.
    pub(super) bytes: &'a [u8],
    pub(super) values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack where marks were set.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// At the start of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Runs one operation; returns the result of the pickle if it was the last one.
    pub(super) fn step(&mut self) -> Parsed<Option<Id>> {
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
            other => return Err(format!("operation {other:#04x} is not one that a state dict needs")),
        }
        Ok(None)
    }

    fn take(&mut self, len: usize) -> Parsed<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or("it ends early")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many as were taken"))
    }

    /// Reads a little-endian number of `N` ≤ 4 bytes.
    fn number<const N: usize>(&mut self) -> Parsed<u32> {
        Ok(self.array::<N>()?.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }

    /// The rest of a line.
    fn line(&mut self) -> Parsed<String> {
        let end = self.bytes.iter().position(|&byte| byte == b'\n').ok_or("it ends early")?;
        let line = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Parsed<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() > floor {
            Ok(self.stack.pop().expect("something is above the floor"))
        } else {
            Err(EMPTY.into())
        }
    }

    /// The last `n` values, in the order in which they were pushed.
    fn last(&mut self, n: usize) -> Parsed<Vec<Id>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let first = self.stack.len().checked_sub(n).filter(|&first| first >= floor).ok_or(EMPTY)?;
        Ok(self.stack.split_off(first))
    }

    fn since_mark(&mut self) -> Parsed<Vec<Id>> {
        let mark = self.marks.pop().ok_or(EMPTY)?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Parsed<&mut Value> {
        let &top = self.stack.last().ok_or(EMPTY)?;
        Ok(&mut self.values[top])
    }

    fn remember<const N: usize>(&mut self) -> Parsed<()> {
        let place = self.number::<N>()?;
        let &top = self.stack.last().ok_or(EMPTY)?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall<const N: usize>(&mut self) -> Parsed<()> {
        let place = self.number::<N>()?;
        let &id = self.memo.get(&place).ok_or("it reads a memo entry that it did not write")?;
        self.stack.push(id);
        Ok(())
    }

    fn int<const N: usize>(&mut self) -> Parsed<()> {
        let number = self.number::<N>()?;
        self.push(Value::Int(number.into()));
        Ok(())
    }

    /// Reads a signed integer of up to 16 bytes.
    fn long(&mut self) -> Parsed<()> {
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

    fn text<const N: usize>(&mut self) -> Parsed<()> {
        let len = self.number::<N>()? as usize;
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| "a text is not UTF-8")?;
        self.push(Value::Text(text.to_owned()));
        Ok(())
    }

    fn tuple(&mut self, n: usize) -> Parsed<()> {
        let parts = self.last(n)?;
        self.push(Value::Tuple(parts));
        Ok(())
    }

    fn set_items(&mut self, parts: &[Id]) -> Parsed<()> {
        let (pairs, []) = parts.as_chunks::<2>() else { return Err("a key has no value".into()) };
        let Value::Dict(entries) = self.top()? else {
            return Err("it sets items of something that is not a dict".into());
        };
        entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    fn append(&mut self, parts: &[Id]) -> Parsed<()> {
        let Value::List(list) = self.top()? else { return Err("it appends to something that is not a list".into()) };
        list.extend(parts);
        Ok(())
    }

    fn global(&mut self) -> Parsed<()> {
        let (module, name) = (self.line()?, self.line()?);
        let kind = KINDS.iter().find(|(known, _)| *known == name).map(|&(_, kind)| kind);
        let value = match (module.as_str(), name.as_str(), kind) {
            ("collections", "OrderedDict", _) => Value::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2", _) => Value::RebuildTensor,
            ("torch", _, Some(kind)) => Value::StorageType(kind),
            _ => {
                let wanted = shortened(&format!("{module}.{name}"));
                return Err(format!("it calls {wanted}, which no state dict needs; no code was run"));
            }
        };
        self.push(value);
        Ok(())
    }

    /// Reads a persistent id: `("storage", type, key, device, numbers)`, followed by `None` in the older format.
    fn storage(&mut self) -> Parsed<()> {
        let id = self.pop()?;
        let Value::Tuple(parts) = &self.values[id] else { return Err(NO_STORAGE.into()) };
        let part = |i: usize| parts.get(i).map_or(&Value::None, |&id| &self.values[id]);
        let storage = match [part(0), part(1), part(2), part(4), part(5)] {
            [Value::Text(word), Value::StorageType(kind), Value::Text(key), Value::Int(len), Value::None]
                if word == "storage" && key.len() <= MAX_OF_NAME =>
            {
                Storage { kind: *kind, key: key.clone(), len: u64::try_from(*len).map_err(|_| NO_STORAGE)? }
            }
            _ => return Err(NO_STORAGE.into()),
        };
        self.push(Value::Storage(storage));
        Ok(())
    }

    fn call(&mut self) -> Parsed<()> {
        let [function, arguments] = self.last(2)?[..] else { return Err(EMPTY.into()) };
        let Value::Tuple(arguments) = &self.values[arguments] else { return Err("it calls without a tuple".into()) };
        let made = match (&self.values[function], arguments.as_slice()) {
            (Value::OrderedDict, []) => Value::Dict(Vec::new()),
            (Value::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
                Value::Tensor(self.view([storage, offset, shape, strides])?)
            }
            _ => return Err("it calls something that is not a function of a state dict".into()),
        };
        self.push(made);
        Ok(())
    }

    fn view(&self, [storage, offset, shape, strides]: [Id; 4]) -> Parsed<View> {
        let Value::Storage(storage) = &self.values[storage] else { return Err("a tensor has no storage".into()) };
        let storage = storage.clone();
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() || shape.len() > MAX_SIZES {
            return Err(format!("a tensor has {} sizes and {} strides", shape.len(), strides.len()));
        }
        Ok(View { storage, offset: self.size(offset)?, shape, strides })
    }

    fn sizes(&self, id: Id) -> Parsed<Vec<u64>> {
        let Value::Tuple(sizes) = &self.values[id] else { return Err("a tensor has no sizes".into()) };
        sizes.iter().take(MAX_SIZES + 1).map(|&size| self.size(size)).collect()
    }

    fn size(&self, id: Id) -> Parsed<u64> {
        match self.values[id] {
            Value::Int(size) => u64::try_from(size).map_err(|_| format!("a tensor has a size of {size}")),
            _ => Err("a tensor has a size that is not a number".into()),
        }
    }

    /// Drops the attributes (`_metadata`) of the dict below, which do not matter for its tensors.
    fn build(&mut self) -> Parsed<()> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            _ => Err("it sets attributes of something that is not a dict".into()),
        }
    }
}
