//! Unpacking the six files of CIFAR-10 from their `.tar.gz`. An own reader, because six members with known names need no crate.
//!
//! An archive has a header of 512 bytes and a body of whole blocks per member (POSIX.1-1988 ustar). Only members with one of the
//! six known names are written, so none can end up outside of the folder; all others are ignored.

use super::unwritable;
use crate::{DataError, datasets::cifar};
use flate2::read::MultiGzDecoder;
use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::Path,
};

const BLOCK: usize = 512;
/// Maximum number of bytes that are unpacked; the real archive has 185 MB.
const MAX_BYTES: u64 = 1 << 30;

/// Unpacks those members `cifar-10-batches-bin/<file>` of a `.tar.gz` that do not exist in `dir`.
///
/// # Errors
/// [`DataError::Malformed`] when the archive is damaged or lacks one of the six.
pub fn unpack(archive: &Path, dir: &Path) -> Result<(), DataError> {
    let malformed = |reason: String| DataError::Malformed { file: archive.display().to_string(), reason };
    let file = File::open(archive).map_err(|error| malformed(error.to_string()))?;
    let mut reader = MultiGzDecoder::new(BufReader::new(file)).take(MAX_BYTES);
    while let Some(Member { name, len, is_file }) = next(&mut reader).map_err(malformed)? {
        let mut body = reader.by_ref().take(len.next_multiple_of(BLOCK as u64));
        let wanted = cifar::FILES.into_iter().find(|file| is_file && name == format!("{}/{file}", cifar::FOLDER));
        let path = wanted.map(|file| dir.join(file)).filter(|path| !path.exists());
        let mut contents = Vec::new();
        if path.is_some() {
            if len > cifar::FILE_LEN {
                return Err(malformed(format!("{name} has {len} bytes, expected {}", cifar::FILE_LEN)));
            }
            body.by_ref().take(len).read_to_end(&mut contents).map_err(|error| malformed(error.to_string()))?;
        }
        io::copy(&mut body, &mut io::sink()).map_err(|error| malformed(error.to_string()))?;
        if body.limit() > 0 {
            return Err(malformed(format!("ends within {name}; get the file again")));
        }
        if let Some(path) = path {
            write(&path, &contents)?;
        }
    }
    match cifar::FILES.iter().find(|file| !dir.join(file).is_file()) {
        Some(missing) => Err(malformed(format!("has no {}/{missing}", cifar::FOLDER))),
        None => Ok(()),
    }
}

/// The header of a member.
struct Member {
    name: String,
    len: u64,
    is_file: bool,
}

/// Reads the next header; `None` at the block of zeros that ends an archive.
fn next(reader: &mut impl Read) -> Result<Option<Member>, String> {
    let mut header = [0; BLOCK];
    reader.read_exact(&mut header).map_err(|error| format!("ends without its end marker: {error}"))?;
    if header == [0; BLOCK] {
        return Ok(None);
    }
    let text = |from: usize, to: usize| {
        let field = header[from..to].split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(field).trim().to_owned()
    };
    let number = |from: usize, to: usize| u64::from_str_radix(&text(from, to), 8).ok();
    // The checksum of the header's bytes, with its own field counted as spaces.
    let sum: u64 =
        header.iter().enumerate().map(|(i, &b)| u64::from(if (148..156).contains(&i) { b' ' } else { b })).sum();
    if number(148, 156) != Some(sum) {
        return Err("is not a tar archive, or it is damaged: a header has a wrong checksum".into());
    }
    let len = number(124, 136).ok_or("has a header without a size")?;
    Ok(Some(Member { name: text(0, 100), len, is_file: matches!(header[156], 0 | b'0') }))
}

/// Writes a temporary file beside `path` and renames it, so that a symbolic link is replaced and never followed.
fn write(path: &Path, contents: &[u8]) -> Result<(), DataError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.suffix(".part");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let write = || {
        let mut part = builder.tempfile_in(dir)?;
        part.write_all(contents)?;
        part.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|reason| unwritable(path, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::fs;
    use tempfile::TempDir;

    fn member(name: &str, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut header = [0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
        header[156] = kind;
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut bytes = [&header[..], body].concat();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn six() -> Vec<Vec<u8>> {
        cifar::FILES.iter().map(|file| member(&format!("{}/{file}", cifar::FOLDER), b'0', file.as_bytes())).collect()
    }

    /// The files that unpacking of `members` creates in an empty folder, or its error.
    fn unpacked(members: &[Vec<u8>], cut: usize) -> Result<Vec<(String, Vec<u8>)>, String> {
        let dir = TempDir::new().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let archive = dir.path().join("a.tar.gz");
        let mut packed = GzEncoder::new(File::create(&archive).unwrap(), Compression::fast());
        let bytes = [members.concat(), vec![0; 1024]].concat();
        packed.write_all(&bytes[..bytes.len() - cut]).unwrap();
        packed.finish().unwrap();
        let outcome = unpack(&archive, &inner);
        let outside = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(outside, 2, "the archive and the folder, nothing beside");
        outcome.map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))?;
        let mut files: Vec<_> = fs::read_dir(inner).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let named = |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(files.iter().map(|path| (named(path), fs::read(path).unwrap())).collect())
    }

    #[test]
    fn only_the_six_files_are_unpacked() {
        let mut members = six();
        members.insert(0, member("cifar-10-batches-bin/", b'5', b""));
        members.insert(3, member("cifar-10-batches-bin/readme.html", b'0', &[b'x'; 700]));
        for evil in ["/tmp/data_batch_1.bin", "../data_batch_1.bin", "cifar-10-batches-bin/../../data_batch_1.bin"] {
            members.push(member(evil, b'0', b"evil"));
        }
        members.push(member("cifar-10-batches-bin/data_batch_1.bin", b'2', b""));
        let files = unpacked(&members, 0).unwrap();
        assert_eq!(files.len(), 6);
        for (name, body) in files {
            assert_eq!(name.as_bytes(), body);
        }
    }

    #[test]
    fn a_damaged_archive_is_an_error_that_says_how() {
        assert_eq!(unpacked(&six()[1..], 0).unwrap_err(), "a.tar.gz: has no cifar-10-batches-bin/data_batch_1.bin");
        let last = "cifar-10-batches-bin/test_batch.bin";
        assert_eq!(unpacked(&six(), 1025).unwrap_err(), format!("a.tar.gz: ends within {last}; get the file again"));
        assert!(unpacked(&six(), 1024).unwrap_err().starts_with("a.tar.gz: ends without its end marker: "));
        let mut members = six();
        members[2][0] ^= 1;
        assert!(unpacked(&members, 0).unwrap_err().ends_with("a header has a wrong checksum"));
        let mut large = member("cifar-10-batches-bin/data_batch_1.bin", b'0', b"");
        large[124..135].copy_from_slice(b"77777777777");
        let sum: u32 =
            large.iter().enumerate().map(|(i, &b)| u32::from(if (148..156).contains(&i) { b' ' } else { b })).sum();
        large[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        assert!(unpacked(&[large], 0).unwrap_err().contains("has 8589934591 bytes, expected 30730000"));
    }

    #[test]
    fn a_truncated_member_leaves_no_file() {
        let dir = TempDir::new().unwrap();
        let archive = dir.path().join("a.tar.gz");
        let mut packed = GzEncoder::new(File::create(&archive).unwrap(), Compression::fast());
        packed.write_all(&six()[0][..BLOCK + 7]).unwrap();
        packed.finish().unwrap();
        assert!(
            unpack(&archive, dir.path()).unwrap_err().to_string().contains("ends within cifar-10-batches-bin/data")
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the archive alone");
    }

    #[test]
    fn an_archive_bomb_is_unpacked_only_up_to_the_bound() {
        let dir = TempDir::new().unwrap();
        let archive = dir.path().join("a.tar.gz");
        let gzip = |bytes: &[u8]| {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(bytes).unwrap();
            packed.finish().unwrap()
        };
        let mut header = member("bomb", b'0', b"");
        header[124..135].copy_from_slice(b"77777777777");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        // 65 times 16 MiB: more than the 1 GiB that is unpacked, and less than the header claims.
        fs::write(&archive, [gzip(&header), gzip(&vec![0; 1 << 24]).repeat(65)].concat()).unwrap();
        let error = unpack(&archive, dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("ends within bomb; get the file again"), "{error}");
    }
}
