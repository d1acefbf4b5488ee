//! A `PyTorch` state dict.

use effgan_nn::state_dict;

use crate::scratch;

/// Reads the tensors in `bytes`. Together they are no larger than the file.
pub fn check(bytes: &[u8]) {
    let loaded = state_dict::read_weights(&scratch::file("a.pth", bytes));
    let Ok(params) = state_dict::from_bytes(bytes) else { return };
    assert_eq!(loaded.is_ok(), params.check_finite().is_ok(), "what is loaded is finite");
    assert!(params.num_bytes() <= bytes.len() as u64, "tensors are in the file");
    for (name, array) in &params {
        let len = array.shape.iter().product::<usize>();
        assert_eq!(len, array.values().len(), "{name} has as many values as its shape says");
    }
}
