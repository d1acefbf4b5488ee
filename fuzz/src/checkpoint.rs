//! A run's checkpoints: the files of a state, of a reply and of a client state are sealed alike.

use effgan_fl::{CheckpointConfig, Checkpoints, RunId};
use effgan_nn::{checkpoint, sealed};
use serde_json::Value;

use crate::scratch;

/// Reads `bytes` as a sealed file. Then reads them as a head (a line of JSON) and tensors, seals these, as an attacker who
/// corrects the checksum would, and resumes from the file as a run does.
pub fn check(bytes: &[u8]) {
    if let Ok((head, params)) = sealed::open::<Value>(bytes) {
        let path = scratch::file("again.safetensors", &[]);
        sealed::save(&path, &head, &params).expect("it is written");
        assert_eq!(sealed::load::<Value>(&path).expect("what is sealed is opened"), (head, params));
    }
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let (head, tensors) = (&bytes[..end], &bytes[end + 1..]);
    let (Ok(head), Ok(params)) = (serde_json::from_slice::<Value>(head), checkpoint::from_bytes(tensors)) else {
        return;
    };
    let path = scratch::file("round_0001.safetensors", &[]);
    sealed::save(&path, &head, &params).expect("it is written");
    let folder = path.parent().expect("a scratch file is in a folder").to_owned();
    let checkpoints = Checkpoints::new(folder, RunId::default(), CheckpointConfig::default(), |_| ());
    if let Ok(Some(from)) = checkpoints.latest(|_| Ok(())) {
        assert_eq!((from.state.round, from.state.exchanges), (1, 0), "the name says which state it is");
        assert!(from.state.params.check_finite().is_ok(), "what is loaded is finite");
    }
}
