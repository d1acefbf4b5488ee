//! Array files, written by independent libraries.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use npyz::WriterBuilder;
use zip::{ZipWriter, write::SimpleFileOptions};

/// The names of files in an archive, `.npy` where they have no ending, with their contents.
pub(crate) type Named<'a> = (&'a str, Vec<u8>);

/// An array.
pub(crate) fn npy<T: npyz::AutoSerialize + Copy>(shape: &[u64], values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
    bytes
}

/// An array of a type that the library does not write.
pub(crate) fn npy_of(descr: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [&b"\x93NUMPY\x01\0"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), values].concat()
}

/// Writes an archive of arrays.
pub(crate) fn write_npz(path: &Path, arrays: &[Named<'_>]) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in arrays {
        let name = if name.contains('.') { (*name).to_owned() } else { format!("{name}.npy") };
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}
