//! An interpreter of Python's pickles, of protocols 2 to 5, that calls nothing; Python's `pickletools.py` documents each operation.
//!
//! A pickle is a program that may call any function of Python. Here a call is a value like others, of a function that the reader of the
//! pickle has to know by name, and any other function is an error. Only the operations that dicts of bytes, texts, integers and arrays need
//! are supported. Values are in one list and refer to each other by index, so that nesting needs no recursion; bytes and texts are slices of
//! the pickle, so that nothing is copied. `effgan-nn` has an interpreter for `PyTorch`'s state dicts, whose operations and values are others:
//! the two share the stack alone, and neither crate depends on the other.

use crate::control_chars;
use std::collections::BTreeMap;

/// Maximum number of operations, of which a batch of 10,000 images needs 30,000. Each creates at most one value, so that values, stack and
/// memo take at most 32 MB together.
const MAX_STEPS: usize = 1 << 18;
/// Maximum number of characters of a name that a message shows.
const MAX_SHOWN: usize = 40;
const ENDS_EARLY: &str = "ends early; get the file again";
const NO_VALUE: &str = "takes more values than it has; get the file again";

/// Index of a value in the list.
pub(super) type Id = usize;

/// A value of a pickle.
#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    /// `bytes`, a `bytearray`, or a `str` of Python 2.
    Bytes(&'a [u8]),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Keys with their values; of equal keys the last one counts.
    Dict(Vec<(Id, Id)>),
    /// A function or class, such as `numpy.dtype`.
    Function(&'static str),
    /// What `function` would return for `arguments`, a tuple, and what its `__setstate__` would then be given.
    Call {
        function: &'static str,
        arguments: Id,
        state: Option<Id>,
    },
}

/// A pickle that has been read.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    top: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a file that is one pickle, which may name the functions of `known`. An error is the reason without the file's name.
    pub(super) fn read(bytes: &'a [u8], known: &'static [&'static str]) -> Result<Self, String> {
        match bytes {
            [0x80, 2..=5, ..] => {}
            [0x80, protocol, ..] => {
                return Err(format!(
                    "is a pickle of protocol {protocol}, expected 2 to 5; pickle it again with protocol=4"
                ));
            }
            _ => return Err("is not a pickle of protocol 2 to 5; pickle it again with protocol=4".into()),
        }
        let mut machine = Machine { bytes, known, values: vec![], stack: vec![], marks: vec![], memo: BTreeMap::new() };
        for _ in 0..MAX_STEPS {
            match machine.step()? {
                Some(top) if machine.bytes.is_empty() => return Ok(Self { values: machine.values, top }),
                Some(_) => return Err("continues after its pickle; get the file again".into()),
                None => {}
            }
        }
        Err(format!("takes more than {MAX_STEPS} operations"))
    }

    /// The whole.
    pub(super) fn top(&self) -> &Value<'a> {
        &self.values[self.top]
    }

    /// One of its values.
    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }
}

/// A name from a file, quoted and shortened for a message.
pub(super) fn shown(name: &str) -> String {
    format!("`{}`", control_chars::without_control(&name.chars().take(MAX_SHOWN).collect::<String>()))
}

/// The stack machine of pickles.
struct Machine<'a> {
    /// The bytes that are left to read.
    bytes: &'a [u8],
    known: &'static [&'static str],
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack where marks were set.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// Runs one operation; returns the pickle's value if it was the last one.
    fn step(&mut self) -> Result<Option<Id>, String> {
        match self.number::<1>()? as u8 {
            b'.' => return self.pop().map(Some),
            0x80 => drop(self.take(1)?), // PROTO
            0x95 => drop(self.take(8)?), // FRAME: its length is for readers of streams
            b'(' => self.marks.push(self.stack.len()),
            b'q' => self.remember_at::<1>()?,
            b'r' => self.remember_at::<4>()?,
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => self.recall::<1>()?,
            b'j' => self.recall::<4>()?,
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' => self.int::<1>()?,
            b'M' => self.int::<2>()?,
            b'J' => self.signed::<4>()?,
            0x8a => self.long()?,
            b'X' => self.text::<4>()?,
            0x8c => self.text::<1>()?,
            b'U' | b'C' => self.byte_string::<1>()?,
            b'T' | b'B' => self.byte_string::<4>()?,
            0x8e | 0x96 => self.byte_string::<8>()?,
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
            b'c' => self.global()?,
            0x93 => self.stack_global()?,
            b'R' => self.call()?,
            b'b' => self.build()?,
            0x97 => return Err("keeps its values outside of the file; pickle it again without buffer_callback".into()),
            other => return Err(format!("has the operation {other:#04x}, which is not one of those that are read")),
        }
        Ok(None)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(ENDS_EARLY)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// Reads a little-endian number of `N` ≤ 8 bytes.
    fn number<const N: usize>(&mut self) -> Result<u64, String> {
        Ok(self.take(N)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Reads the length of what follows, and that.
    fn counted<const N: usize>(&mut self) -> Result<&'a [u8], String> {
        let len = usize::try_from(self.number::<N>()?).map_err(|_| ENDS_EARLY)?;
        self.take(len)
    }

    /// The rest of a line.
    fn line(&mut self) -> Result<&'a str, String> {
        let end = self.bytes.iter().position(|&byte| byte == b'\n').ok_or(ENDS_EARLY)?;
        let line = utf8(self.take(end)?)?;
        self.take(1)?;
        Ok(line)
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    /// Height of the stack below which the values belong to whoever set the last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, String> {
        Ok(self.last(1)?[0])
    }

    /// The last `n` values, in the order in which they were pushed.
    fn last(&mut self, n: usize) -> Result<Vec<Id>, String> {
        let first = self.stack.len().checked_sub(n).filter(|&first| first >= self.floor()).ok_or(NO_VALUE)?;
        Ok(self.stack.split_off(first))
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or(NO_VALUE)?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Result<&mut Value<'a>, String> {
        let &top = self.stack.last().ok_or(NO_VALUE)?;
        Ok(&mut self.values[top])
    }

    fn remember_at<const N: usize>(&mut self) -> Result<(), String> {
        let place = self.number::<N>()? as u32;
        self.remember(place)
    }

    fn remember(&mut self, place: u32) -> Result<(), String> {
        let &top = self.stack.last().ok_or(NO_VALUE)?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall<const N: usize>(&mut self) -> Result<(), String> {
        let place = self.number::<N>()? as u32;
        let &id = self.memo.get(&place).ok_or("reads a memo entry that it did not write; get the file again")?;
        self.stack.push(id);
        Ok(())
    }

    fn int<const N: usize>(&mut self) -> Result<(), String> {
        let number = self.number::<N>()?;
        self.push(Value::Int(number.cast_signed()));
        Ok(())
    }

    fn signed<const N: usize>(&mut self) -> Result<(), String> {
        let bytes = self.take(N)?;
        self.push(Value::Int(sign_extended(bytes)));
        Ok(())
    }

    /// Reads a signed integer of up to 8 bytes.
    fn long(&mut self) -> Result<(), String> {
        let bytes = self.counted::<1>()?;
        if bytes.len() > 8 {
            return Err(format!("has an integer of {} bytes, more than 8", bytes.len()));
        }
        self.push(Value::Int(sign_extended(bytes)));
        Ok(())
    }

    fn text<const N: usize>(&mut self) -> Result<(), String> {
        let text = utf8(self.counted::<N>()?)?;
        self.push(Value::Text(text));
        Ok(())
    }

    fn byte_string<const N: usize>(&mut self) -> Result<(), String> {
        let bytes = self.counted::<N>()?;
        self.push(Value::Bytes(bytes));
        Ok(())
    }

    fn tuple(&mut self, n: usize) -> Result<(), String> {
        let parts = self.last(n)?;
        self.push(Value::Tuple(parts));
        Ok(())
    }

    fn set_items(&mut self, parts: &[Id]) -> Result<(), String> {
        let (pairs, []) = parts.as_chunks::<2>() else { return Err("has a key without a value".into()) };
        let Value::Dict(entries) = self.top()? else { return Err("sets items of something that is not a dict".into()) };
        entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    fn append(&mut self, parts: &[Id]) -> Result<(), String> {
        let Value::List(list) = self.top()? else { return Err("appends to something that is not a list".into()) };
        list.extend(parts);
        Ok(())
    }

    fn global(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        self.function(module, name)
    }

    fn stack_global(&mut self) -> Result<(), String> {
        let parts = self.last(2)?;
        let (Value::Text(module), Value::Text(name)) = (&self.values[parts[0]], &self.values[parts[1]]) else {
            return Err("names a function by something that is not a text".into());
        };
        self.function(module, name)
    }

    fn function(&mut self, module: &str, name: &str) -> Result<(), String> {
        let is_it = |known: &&&str| known.strip_suffix(name).and_then(|rest| rest.strip_suffix('.')) == Some(module);
        let Some(function) = self.known.iter().find(is_it) else {
            let called = shown(&format!("{module}.{name}"));
            return Err(format!("names {called}, which is not a function that such a file needs; no code was run"));
        };
        self.push(Value::Function(function));
        Ok(())
    }

    fn call(&mut self) -> Result<(), String> {
        let arguments = self.pop()?;
        let function = self.pop()?;
        match (&self.values[function], &self.values[arguments]) {
            (Value::Function(function), Value::Tuple(_)) => {
                self.push(Value::Call { function, arguments, state: None });
                Ok(())
            }
            _ => Err("calls something that is not a function".into()),
        }
    }

    fn build(&mut self) -> Result<(), String> {
        let given = self.pop()?;
        match self.top()? {
            Value::Call { state: state @ None, .. } => {
                *state = Some(given);
                Ok(())
            }
            _ => Err("sets the state of something that has none".into()),
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "has a text that is not UTF-8; get the file again".into())
}

/// A little-endian integer of up to 8 bytes, in two's complement; of no bytes, 0.
fn sign_extended(bytes: &[u8]) -> i64 {
    let is_negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
    let mut all = [if is_negative { 0xff } else { 0 }; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 2] = ["numpy.dtype", "_codecs.encode"];

    /// The pickle of protocol 2 with these operations, or its error.
    fn read(operations: &[u8]) -> Result<String, String> {
        let bytes = [b"\x80\x02", operations].concat();
        Pickle::read(&bytes, &KNOWN).map(|pickle| format!("{:?}", pickle.top()))
    }

    #[test]
    fn integers_are_those_of_python() {
        // pickle.dumps of each number, in protocol 2.
        for (operations, number) in [
            (&b"K\xff."[..], 255),
            (b"M\x00\x01.", 256),
            (b"J\xff\xff\xff\xff.", -1),
            (b"\x8a\x05\x00\x00\x00\x80\x00.", 1 << 31),
            (b"\x8a\x00.", 0),
            (b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.", i64::MIN),
        ] {
            assert_eq!(read(operations).unwrap(), format!("Int({number})"));
        }
        assert_eq!(read(b"\x8a\x09\0\0\0\0\0\0\0\0\0.").unwrap_err(), "has an integer of 9 bytes, more than 8");
    }

    #[test]
    fn other_protocols_are_refused() {
        let error = |bytes: &[u8]| Pickle::read(bytes, &KNOWN).err().unwrap();
        assert_eq!(error(b"\x80\x06N."), "is a pickle of protocol 6, expected 2 to 5; pickle it again with protocol=4");
        // pickle.dumps({}, 0)
        for bytes in [&b"(dp0\n."[..], b"", b"\x80"] {
            assert_eq!(error(bytes), "is not a pickle of protocol 2 to 5; pickle it again with protocol=4");
        }
    }

    #[test]
    fn functions_that_are_not_known_are_named_and_not_called() {
        for operations in [&b"cos\nsystem\nX\x02\0\0\0ls\x85R."[..], b"\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R."] {
            assert_eq!(
                read(operations).unwrap_err(),
                "names `os.system`, which is not a function that such a file needs; no code was run"
            );
        }
        for name in
            ["numpy\nndtype", "numpy.\ndtype", "numpy\n.dtype", "\nnumpy.dtype", "numpy.dtype\n", "xnumpy\ndtype"]
        {
            assert!(read(format!("c{name}\n.").as_bytes()).unwrap_err().contains("which is not a function"), "{name}");
        }
        assert!(read(&[b"c\x1b[2J", &[b'x'; 5000][..], b"\nf\n."].concat()).unwrap_err().len() < 200);
    }

    #[test]
    fn a_call_is_a_value() {
        let call = "Call { function: \"numpy.dtype\", arguments: 2, state: None }";
        assert_eq!(read(b"cnumpy\ndtype\nU\x02u1\x85R.").unwrap(), call);
        assert_eq!(read(b"cnumpy\ndtype\n)RNb.").unwrap(), call.replace("2, state: None", "1, state: Some(3)"));
        for operations in [&b"cnumpy\ndtype\nNR."[..], b"N)R."] {
            assert_eq!(read(operations).unwrap_err(), "calls something that is not a function");
        }
        for operations in [&b"cnumpy\ndtype\n)RNbNb."[..], b"}Nb."] {
            assert_eq!(read(operations).unwrap_err(), "sets the state of something that has none");
        }
    }

    #[test]
    fn operations_on_what_is_not_there_are_errors() {
        for operations in [
            &b"."[..],
            b"(.",
            b"t.",
            b"N(\x85.",
            b"a.",
            b"N(a.",
            b"s.",
            b"}Ns.",
            b"q\0.",
            b"\x94.",
            b"R.",
            b"NR.",
            b"b.",
            b"\x93.",
        ] {
            assert_eq!(read(operations).unwrap_err(), NO_VALUE, "{operations:?}");
        }
        for (operations, line) in [
            (&b"h\0."[..], "reads a memo entry that it did not write; get the file again"),
            (b"}(Nu.", "has a key without a value"),
            (b"N(NNu.", "sets items of something that is not a dict"),
            (b"}Na.", "appends to something that is not a list"),
            (b"NN\x93.", "names a function by something that is not a text"),
            (b"X\x01\0\0\0\xff.", "has a text that is not UTF-8; get the file again"),
            (b"N..", "continues after its pickle; get the file again"),
            (b"\x97.", "keeps its values outside of the file; pickle it again without buffer_callback"),
            (b"G\0\0\0\0\0\0\0\0.", "has the operation 0x47, which is not one of those that are read"),
        ] {
            assert_eq!(read(operations).unwrap_err(), line);
        }
    }

    #[test]
    fn lengths_beyond_the_end_take_no_memory() {
        for operations in [
            &b"T\xff\xff\xff\x7f"[..],
            b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff",
            b"X\xff\xff\xff\xff",
            b"C",
            b"cnumpy",
            b"K",
        ] {
            assert_eq!(read(operations).unwrap_err(), ENDS_EARLY);
        }
    }

    #[test]
    fn nesting_needs_no_recursion_and_work_is_bounded() {
        assert!(read(&[b"N".to_vec(), vec![0x85; 200_000], b".".to_vec()].concat()).unwrap().starts_with("Tuple"));
        // A list that holds itself.
        assert_eq!(read(b"]q\0h\0a.").unwrap(), "List([0])");
        assert_eq!(read(&vec![b'N'; 300_000]).unwrap_err(), "takes more than 262144 operations");
        assert_eq!(read(&b"(".repeat(300_000)).unwrap_err(), "takes more than 262144 operations");
        assert_eq!(
            read(&[b"]".as_slice(), &b"r\xff\xff\xff\xff".repeat(300_000)].concat()).unwrap_err(),
            "takes more than 262144 operations"
        );
    }
}
