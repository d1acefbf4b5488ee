//! A safetensors file.

use effgan_nn::checkpoint;

use crate::scratch;

/// Reads the tensors in `bytes`; tensors that are written are read as the same.
pub fn check(bytes: &[u8]) {
    let loaded = checkpoint::load(&scratch::file("a.safetensors", bytes));
    let Ok(params) = checkpoint::from_bytes(bytes) else {
        assert!(loaded.is_err(), "a file is what its bytes are");
        return;
    };
    assert_eq!(loaded.is_ok(), params.check_finite().is_ok(), "what is loaded is finite");
    for (name, array) in &params {
        assert_eq!(
            array.shape.iter().product::<usize>(),
            array.values().len(),
            "{name} has as many values as its shape says"
        );
    }
    let written = checkpoint::to_bytes(&params);
    let again = checkpoint::from_bytes(&written).expect("what is written is read");
    assert_eq!(again.hash(), params.hash(), "the same names, shapes and bits");
    assert_eq!(checkpoint::to_bytes(&again), written, "equal tensors are equal bytes");
}
