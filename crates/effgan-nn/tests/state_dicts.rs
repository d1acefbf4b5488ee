//! State dicts that PyTorch wrote (`fixtures/state_dicts.py`), and hostile files.

use std::fs;
use std::path::{Path, PathBuf};

use effgan_nn::{Array, Params, state_dict};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/state_dict_{name}.pth"))
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

fn error(bytes: &[u8]) -> String {
    state_dict::from_bytes(bytes).expect_err("an error")
}

/// An array of `shape` with the numbers from `first` on.
fn counted(first: usize, shape: &[usize]) -> Array {
    let n: usize = shape.iter().product();
    Array::new(shape, (first..first + n).map(|value| value as f32).collect())
}

#[test]
fn both_formats_are_read() {
    let tensors = [
        ("conv.weight", counted(0, &[3, 2, 2, 2])),
        ("conv.bias", counted(100, &[3])),
        ("bn.weight", counted(200, &[3])),
        ("bn.bias", counted(300, &[3])),
        ("bn.running_mean", counted(400, &[3])),
        ("bn.running_var", counted(500, &[3])),
        // The transpose of [[0, 1, 2], [3, 4, 5]]; the counter `bn.num_batches_tracked` is skipped.
        ("columns", Array::new([3, 2], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0])),
        ("shared", counted(100, &[3])),
        ("middle", counted(4, &[3])),
        ("one", Array::new([], vec![0.5])),
    ];
    let tensors: Params = tensors.map(|(name, array)| (name.to_owned(), array)).into_iter().collect();
    for name in ["zip", "legacy"] {
        assert_eq!(state_dict::read_weights(&path(name)).unwrap(), tensors, "{name}");
    }
}

#[test]
fn a_safetensors_file_is_read_by_the_same_function() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w");
    let params = state_dict::read_weights(&path("zip")).unwrap();
    effgan_nn::checkpoint::save(&file, &params).unwrap();
    assert_eq!(state_dict::read_weights(&file).unwrap(), params);
    fs::write(&file, b"neither").unwrap();
    let error = state_dict::read_weights(&file).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{} is not a safetensors file of f32 tensors: ", file.display())), "{error}");
}

#[test]
fn every_truncation_is_an_error() {
    for name in ["zip", "legacy"] {
        let bytes = bytes(name);
        for len in 0..bytes.len() {
            assert!(state_dict::from_bytes(&bytes[..len]).is_err(), "{name}: {len} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn a_wrong_byte_anywhere_is_read_or_refused() {
    for name in ["zip", "legacy"] {
        let mut bytes = bytes(name);
        for i in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                bytes[i] ^= flip;
                let _ = state_dict::from_bytes(&bytes);
                bytes[i] ^= flip;
            }
        }
    }
}

#[test]
fn other_types_and_other_objects_are_refused() {
    assert_eq!(
        error(&bytes("double")),
        "tensor `a` is of a DoubleStorage, expected FloatStorage; save it after .float()"
    );
    assert_eq!(error(&bytes("inside")), "\"epoch\" is not a tensor; save model.state_dict() alone");
    let error = state_dict::read_weights(&path("double")).unwrap_err().to_string();
    let line = "not a PyTorch state dict of f32 tensors: tensor `a` is of a DoubleStorage, expected FloatStorage;";
    assert!(error.contains(line), "{error}");
}

/// A file in the older format with the state dict `object`, a pickle, and a storage `0` of `numbers` zeros.
fn legacy(object: &[u8], numbers: u64) -> Vec<u8> {
    let head =
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x88s.\x80\x02";
    let values = vec![0; 4 * numbers as usize];
    [head, object, b"\x80\x02]X\x01\0\0\x000a.", &numbers.to_le_bytes(), &values].concat()
}

/// A pickled dict of one tensor that views the storage `0` of two numbers from `offset` on.
fn tensor(offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let tuple =
        |sizes: &[u8]| [b"(", &*sizes.iter().flat_map(|&size| [b'K', size]).collect::<Vec<u8>>(), b"t"].concat();
    let storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK".as_slice();
    let before = b"}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n(".as_slice();
    [before, storage, &[offset], &tuple(shape), &tuple(strides), b"\x89}tRs."].concat()
}

#[test]
fn a_call_of_any_other_function_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    let command = format!("touch {}", made.display());
    let mut object = b"cos\nsystem\nX".to_vec();
    object.extend((command.len() as u32).to_le_bytes());
    object.extend(command.as_bytes());
    object.extend(b"\x85R.");
    let line = "it calls \"os.system\", which no state dict needs; no code was run";
    assert_eq!(error(&legacy(&object, 2)), line);
    assert!(!made.exists());
    assert!(error(&legacy(b"cbuiltins\neval\n.", 2)).contains("\"builtins.eval\""));
    assert!(error(&legacy(b"ctorch._utils\n_rebuild_parameter\n.", 2)).contains("\"torch._utils._rebuild_parameter\""));
}

#[test]
fn a_tensor_outside_its_storage_is_refused() {
    let read =
        |offset, shape: &[u8], strides: &[u8]| state_dict::from_bytes(&legacy(&tensor(offset, shape, strides), 2));
    assert_eq!(read(0, &[2], &[1]).unwrap().get("a").unwrap(), &Array::new([2], vec![0.0; 2]));
    assert_eq!(read(9, &[0, 3], &[3, 1]).unwrap().get("a").unwrap(), &Array::new([0, 3], vec![]));
    for (offset, shape, strides) in [(1, &[2][..], &[1][..]), (0, &[2, 2], &[1, 1]), (2, &[1], &[1]), (0, &[3], &[1])] {
        let error = read(offset, shape, strides).unwrap_err();
        let expected = format!("tensor `a` of shape {shape:?} and strides {strides:?} does not lie in its 2 numbers");
        assert_eq!(error, expected);
    }
    assert_eq!(read(0, &[2], &[1, 1]).unwrap_err(), "a tensor has 1 sizes and 2 strides");
    // A storage of three numbers, or of none.
    assert!(
        state_dict::from_bytes(&legacy(&tensor(0, &[2], &[1]), 3))
            .unwrap_err()
            .contains("a storage of 12 bytes, expected 2 numbers")
    );
    assert!(state_dict::from_bytes(&legacy(&tensor(0, &[2], &[1]), 0)).is_err());
}

#[test]
fn a_small_file_never_takes_much_memory() {
    // 255⁴ numbers that are all the same one.
    let many = legacy(&tensor(0, &[255; 4], &[0; 4]), 2);
    assert_eq!(error(&many), "tensor `a` and others share too many numbers");
    // A storage of 2⁶² numbers, of which the file has two.
    let mut long = legacy(&tensor(0, &[2], &[1]), 2);
    let at = long.len() - 16;
    long[at..at + 8].copy_from_slice(&(1_u64 << 62).to_le_bytes());
    assert_eq!(error(&long), "it ends before its last storage");
    // Two million operations that each make a value.
    let nones = [b"N".repeat(2_000_000).as_slice(), b"."].concat();
    assert_eq!(error(&legacy(&nones, 2)), "it takes more than 1048576 operations");
    // A tuple in a tuple, a million deep.
    let deep = [b")".as_slice(), &b"\x85".repeat(1_000_000), b"."].concat();
    assert_eq!(error(&legacy(&deep, 2)), "it holds no dict of tensors");
}

#[test]
fn invalid_pickles_are_refused_in_one_line() {
    for (object, expected) in [
        (&b"."[..], "it takes more values than it has"),
        (b"t.", "it takes more values than it has"),
        (b"(N\x86.", "it takes more values than it has"),
        (b"h\x07.", "it reads a memo entry that it did not write"),
        (b"}NNNe.", "it takes more values than it has"),
        (b"}(Nu.", "a key has no value"),
        (b"N(NNu.", "it sets items of something that is not a dict"),
        (b"]NQ.", "a persistent id does not name a storage"),
        (b"X\xff\xff\xff\xffa.", "it ends early"),
        (b"X\x01\0\0\0\xff.", "a text is not UTF-8"),
        (b"}NN\x86R.", "it calls something that is not a function of a state dict"),
        (b"I1\n.", "operation 0x49 is not one that a state dict needs"),
        (b"}NNs.", "it holds something without a name; save model.state_dict() alone"),
    ] {
        assert_eq!(error(&legacy(object, 2)), expected, "{}", object.escape_ascii());
    }
}
