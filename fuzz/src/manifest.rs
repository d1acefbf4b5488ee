//! The manifest of a model folder.

use std::fs;

use effgan_fl::Ensemble;

use crate::scratch;

/// Opens a folder with the manifest `json`; a manifest that is written is read as the same.
pub fn check(json: &[u8]) {
    let folder = scratch::folder("model");
    let open = |json: &[u8]| {
        scratch::file("model/manifest.json", json);
        Ensemble::open(&folder).ok()
    };
    let Some(model) = open(json) else { return };
    let values = model
        .manifest()
        .network
        .generator_tensors()
        .iter()
        .map(|tensor| tensor.shape.iter().product::<usize>())
        .sum::<usize>();
    assert!(values > 0, "a generator has a size");
    for member in &model.manifest().members {
        assert!(model.generator(member).is_err(), "a model without files has no generators");
    }
    let written = serde_json::to_vec(model.manifest()).expect("a manifest is plain data");
    assert_eq!(open(&written).expect("a manifest that is written is read").manifest(), model.manifest());
    assert_eq!(fs::read_dir(folder).expect("a folder of ours").count(), 1, "reading writes nothing");
}
