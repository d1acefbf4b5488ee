//! Mutations that get behind a checksum: the contents of an archive are changed and packed again.
//!
//! A byte changed in a gzip or zip file only shows that its checksum works. Every fourth mutation still changes the file itself.

use std::io::{self, Cursor, Read, Write};

use flate2::read::GzDecoder;
use libfuzzer_sys::fuzzer_mutate;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::idx;

/// Maximum number of bytes that are unpacked to be changed.
const MAX_UNPACKED: u64 = 1 << 16;

/// Changes what is packed in the gzip file `data[..size]`; returns the new size.
pub fn gzip(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut contents = Vec::new();
    if seed.is_multiple_of(4) || GzDecoder::new(&data[..size]).take(MAX_UNPACKED).read_to_end(&mut contents).is_err() {
        return fuzzer_mutate(data, size, max_size);
    }
    put(&idx::gzip(&changed(contents)), data, max_size).unwrap_or(size)
}

/// Changes one of the files in the zip file `data[..size]`; returns the new size.
pub fn zip(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let entries =
        if seed.is_multiple_of(4) { None } else { entries(&data[..size]).ok().filter(|entries| !entries.is_empty()) };
    let Some(mut entries) = entries else { return fuzzer_mutate(data, size, max_size) };
    let which = (seed >> 3) as usize % entries.len();
    entries[which].1 = changed(std::mem::take(&mut entries[which].1));
    let method = if seed & 4 == 0 { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    let zipped = zipped(&entries, method);
    zipped.ok().and_then(|file| put(&file, data, max_size)).unwrap_or(size)
}

/// Names and contents of the files of a zip file.
fn entries(file: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut archive = ZipArchive::new(Cursor::new(file))?;
    let num = archive.len().min(8);
    let entry = |i| {
        let entry = archive.by_index(i)?;
        let (name, mut contents) = (String::from_utf8_lossy(&entry.name_raw()).into_owned(), Vec::new());
        entry.take(MAX_UNPACKED).read_to_end(&mut contents)?;
        Ok((name, contents))
    };
    (0..num).map(entry).collect()
}

fn zipped(entries: &[(String, Vec<u8>)], method: CompressionMethod) -> io::Result<Vec<u8>> {
    let mut file = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, contents) in entries {
        file.start_file(name.as_str(), SimpleFileOptions::default().compression_method(method))?;
        file.write_all(contents)?;
    }
    Ok(file.finish()?.into_inner())
}

/// `contents` after one of libFuzzer's own mutations.
pub fn changed(mut contents: Vec<u8>) -> Vec<u8> {
    let (len, room) = (contents.len(), 2 * contents.len() + 64);
    contents.resize(room, 0);
    let len = fuzzer_mutate(&mut contents, len, room);
    contents.truncate(len);
    contents
}

/// Puts `file` into libFuzzer's buffer, where it has a place there.
pub fn put(file: &[u8], data: &mut [u8], max_size: usize) -> Option<usize> {
    let place = data.get_mut(..file.len()).filter(|_| file.len() <= max_size)?;
    place.copy_from_slice(file);
    Some(file.len())
}
