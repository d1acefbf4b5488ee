//! A writer of PyTorch's older format of state dicts, which the published weights have.

use effgan_nn::Params;

/// The file that `torch.save(state_dict, path, _use_new_zipfile_serialization=False)` writes, except for the memo.
pub(crate) fn to_bytes(params: &Params) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    file.extend(b"\x80\x02}");
    text(&mut file, "little_endian");
    file.extend(b"\x88s.\x80\x02ccollections\nOrderedDict\n)R(");
    for (i, (name, array)) in params.iter().enumerate() {
        text(&mut file, name);
        file.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut file, "storage");
        file.extend(b"ctorch\nFloatStorage\n");
        text(&mut file, &i.to_string());
        text(&mut file, "cpu");
        number(&mut file, array.values().len());
        file.extend(b"NtQK\0(");
        array.shape.iter().for_each(|&size| number(&mut file, size));
        file.extend(b"t(");
        (1..=array.shape.len()).for_each(|i| number(&mut file, array.shape[i..].iter().product()));
        file.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }
    file.extend(b"u.\x80\x02](");
    (0..params.len()).for_each(|i| text(&mut file, &i.to_string()));
    file.extend(b"e.");
    for (_, array) in params {
        file.extend((array.values().len() as u64).to_le_bytes());
        array.values().iter().for_each(|value| file.extend(value.to_le_bytes()));
    }
    file
}

fn text(file: &mut Vec<u8>, text: &str) {
    file.push(b'X');
    file.extend((text.len() as u32).to_le_bytes());
    file.extend(text.as_bytes());
}

fn number(file: &mut Vec<u8>, number: usize) {
    file.push(b'J');
    file.extend((number as u32).to_le_bytes());
}
