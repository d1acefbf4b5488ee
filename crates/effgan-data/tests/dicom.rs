//! DICOM files: which pixels are read, what is refused, and that nothing else of them is kept.

mod dicom_file;

use dicom_file::{
    BASELINE_JPEG, BITS, BITS_STORED, CENTER, COLUMNS, DicomFile, FRAMES, PHOTOMETRIC, PIXELS, ROWS, RUN_LENGTHS,
    SAMPLES, SIGNED, WIDTH, element,
};
use effgan_data::{
    Dataset, DatasetConfig, DatasetName,
    datasets::{Contents, FolderSummary},
};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use std::{collections::BTreeMap, fs, path::Path};
use tempfile::TempDir;

fn config(dir: &Path) -> DatasetConfig {
    DatasetConfig { dir: Some(dir.into()), ..DatasetConfig::of(DatasetName::Folder) }
}

/// A folder of ten copies of a file.
fn copies(name: &str, file: &[u8]) -> TempDir {
    let dir = TempDir::new().unwrap();
    (0..10).for_each(|i| fs::write(dir.path().join(format!("{i}{name}")), file).unwrap());
    dir
}

fn read(file: &[u8]) -> Result<Dataset, String> {
    config(copies(".dcm", file).path()).load().map_err(|error| error.to_string())
}

/// Why the first of these files is not read.
fn refused(file: &[u8]) -> String {
    let error = read(file).unwrap_err();
    let reasons = error.split_once("0.dcm (").unwrap_or_else(|| panic!("{error}")).1;
    reasons.split_once("), 1.dcm").unwrap().0.to_owned()
}

/// The pixels of the first image.
fn pixels(file: &DicomFile) -> Vec<u8> {
    read(&file.bytes()).unwrap().train.image(0).to_vec()
}

/// 2 × 1 pixels.
fn small() -> DicomFile {
    DicomFile::grey([2, 1], &[7, 200])
}

#[test]
fn pictures_are_as_bright_as_pydicom_shows_them() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let expected: BTreeMap<String, Vec<f64>> =
        serde_json::from_slice(&fs::read(dir.join("dicom.json")).unwrap()).unwrap();
    assert_eq!(expected.len(), fs::read_dir(dir.join("dicom")).unwrap().count());
    for (name, expected) in expected {
        let dataset = read(&fs::read(dir.join(format!("dicom/{name}.dcm"))).unwrap());
        let dataset = dataset.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(dataset.train.shape(), [expected.len() / 15, 3, 5], "{name}");
        for (&got, &expected) in dataset.train.image(0).iter().zip(&expected) {
            // Half a byte of rounding, and the third decimal, which is not in the file.
            assert!((f64::from(got) - expected).abs() <= 0.51, "{name}: {got}, expected {expected}");
        }
    }
}

#[test]
fn a_jpeg_inside_has_the_pixels_of_the_same_jpeg_outside() {
    let rgb = RgbImage::from_fn(40, 24, |x, y| Rgb([(x * 6) as u8, (y * 10) as u8, (x * y) as u8]));
    let grey = DynamicImage::ImageRgb8(rgb.clone()).to_luma8();
    for (picture, photometric) in
        [(DynamicImage::ImageRgb8(rgb), "YBR_FULL_422"), (DynamicImage::ImageLuma8(grey), "MONOCHROME2 ")]
    {
        let mut jpeg = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
        let jpeg = jpeg.into_inner();
        let outside = config(copies(".jpg", &jpeg).path()).load().unwrap().train;
        let samples = u16::from(picture.color().channel_count());
        let file =
            DicomFile::grey([40, 24], &[]).number(SAMPLES, samples).with(PHOTOMETRIC, "CS", photometric.as_bytes());
        let inside = file.clone().compressed(BASELINE_JPEG, &jpeg);
        assert!(read(&inside.bytes()).unwrap().train == outside, "{photometric}");
        assert_eq!(refused(&file.compressed(BASELINE_JPEG, &jpeg[..jpeg.len() - 9]).bytes()), "is truncated");
        let other = inside.number(ROWS, 23);
        let reason = format!(
            "holds a JPEG picture of 40 × 24 pixels and {samples} colours, and describes one of 40 × 23 and {samples}"
        );
        assert_eq!(refused(&other.bytes()), reason);
    }
}

#[test]
fn what_is_not_read_is_named_with_what_to_do() {
    let syntax = |uid| refused(&small().compressed(uid, &[1, 2]).bytes());
    for (uid, reason) in [
        ("1.2.840.10008.1.2.1.99", "is compressed by deflate, which is not read; `dcmconv +te IN OUT` decompresses it"),
        (
            "1.2.840.10008.1.2.4.70",
            "is compressed by JPEG without loss or of 12 bits, which is not read; `dcmdjpeg IN OUT` decompresses it",
        ),
        ("1.2.840.10008.1.2.4.80", "is compressed by JPEG-LS, which is not read; `dcmdjpls IN OUT` decompresses it"),
        (
            "1.2.840.10008.1.2.4.90",
            "is compressed by JPEG 2000, which is not read; `gdcmconv --raw IN OUT` decompresses it",
        ),
        (
            "1.2.840.10008.1.2.4.102",
            "is compressed by MPEG, which is not read; save the frames of the film as files of their own",
        ),
        (
            "1.2.826.0.1.3680043.1",
            "is compressed by another transfer syntax than those of the standard, which is not read; decompress it",
        ),
    ] {
        assert_eq!(syntax(uid), reason);
    }
    let file = small();
    let text = |tag, value: &str| refused(&file.clone().with(tag, "CS", value.as_bytes()).bytes());
    assert_eq!(
        text(FRAMES, "30"),
        "holds 30 frames, and one picture is read per file; save the frames as files of their own"
    );
    assert_eq!(text(FRAMES, "many"), "has something other than a number as NumberOfFrames; correct or erase it");
    assert_eq!(text(PHOTOMETRIC, "HSV "), "has colours as HSV, which is not read; convert them to RGB");
    assert_eq!(
        text(PHOTOMETRIC, "Secret"),
        "has pixels of an unknown PhotometricInterpretation; convert them to MONOCHROME2 or RGB"
    );
    assert_eq!(text(PHOTOMETRIC, "RGB "), "has 1 samples a pixel, and RGB has 3");
    let number = |tag, value| refused(&file.clone().number(tag, value).bytes());
    assert_eq!(number(BITS, 32), "has 32 bits a sample, and 8 or 16 are read");
    assert_eq!(number(BITS_STORED, 9), "stores 9 bits up to bit 8 of 8, which is impossible");
    assert_eq!(number(ROWS, 0), "claims to have 2 × 0 pixels, and must have from 1 to 67108864 in all");
    assert_eq!(number(ROWS, 2), "has 2 bytes of pixels, and needs 4");
    assert_eq!(refused(&file.clone().without(COLUMNS).bytes()), "does not say its Columns");
    let windowed = |width: &[u8]| file.clone().with(CENTER, "DS", b"40").with(WIDTH, "DS", width).bytes();
    assert_eq!(
        refused(&windowed(b"0 ")),
        "has a window of WindowWidth 0.0, too narrow for any value; correct or erase it"
    );
    assert_eq!(refused(&windowed(b"nan ")), "has something other than a number as WindowWidth; correct or erase it");
    let floats = file.without(PIXELS).with(0x7fe0_0008, "OB", &[0; 8]);
    assert_eq!(
        refused(&floats.bytes()),
        "has pixels that are floating-point numbers; convert them to integers of 16 bits"
    );
    let headless = &small().bytes()[132..];
    assert_eq!(
        refused(&[element(0x0008_0005, "CS", b""), headless.to_vec()].concat()),
        "is DICOM without the letters DICM at byte 128; `dcmconv IN OUT` adds them"
    );
}

#[test]
fn a_file_is_known_by_its_first_bytes_and_is_a_picture_if_it_has_pixels() {
    let dir = TempDir::new().unwrap();
    for i in 0..10 {
        fs::create_dir_all(dir.path().join("ct")).unwrap();
        fs::write(dir.path().join(format!("ct/IM{i:04}")), small().bytes()).unwrap();
    }
    let report = small().without(PIXELS).bytes();
    fs::write(dir.path().join("DICOMDIR"), &report).unwrap();
    fs::write(dir.path().join("ct/report.dcm"), &report).unwrap();
    let dataset = config(dir.path()).load().unwrap();
    assert_eq!((dataset.train.len(), dataset.test.len(), dataset.train.shape()), (9, 1, [1, 1, 2]));
    let notes = [
        "not read, files that are not read as pictures: DICOMDIR",
        "not read, files of class ct that are not read as pictures: ct/report.dcm",
    ];
    assert_eq!(dataset.notes, notes);
    assert_eq!(Contents::of(dir.path()).unwrap().notes, notes);
    // One that ends before its pixels, or is something else, was meant to be a picture.
    fs::write(dir.path().join("ct/report.dcm"), &small().bytes()[..200]).unwrap();
    fs::write(dir.path().join("ct/text.dcm"), "<html>").unwrap();
    let error = config(dir.path()).load().unwrap_err().to_string();
    assert!(error.contains("ct/report.dcm (is truncated), ct/text.dcm (is not a picture of a format"), "{error}");
}

#[test]
fn values_of_more_than_8_bits_without_a_window_are_mapped_by_black_and_white() {
    let values = |values: [i16; 3]| values.map(i16::to_le_bytes).concat();
    let file = |stored, signed, three| {
        let file = DicomFile::grey([3, 1], &values(three)).number(BITS, 16).number(BITS_STORED, stored);
        file.number(SIGNED, signed)
    };
    // 12 bits fill the range; 1,000 of 65,535 do not, which is said.
    assert_eq!(pixels(&file(12, 0, [0, 2048, 4095])), [0, 128, 255]);
    let dark = read(&file(16, 0, [0, 500, 1000]).bytes()).unwrap();
    let note =
        "no 16-bit image has a value above 1000 of 65535, so that they are dark; dataset.white = 1000 makes that white";
    assert_eq!((dark.train.image(0), &dark.notes[..]), (&[0, 2, 4][..], &[note.to_owned()][..]));
    // A CT of 16 bits: −1000 + 32,768 = 31,768 and 3,000 + 32,768 = 35,768 are both grey.
    let ct = copies(".dcm", &file(16, 1, [-1000, 1000, 3000]).bytes());
    let flat = config(ct.path()).load().unwrap();
    let note = "all values of the 16-bit images are from 31768 to 35768 of 65535, so that they have little contrast; \
                dataset.black = 31768 and dataset.white = 35768 spread them";
    assert_eq!((flat.train.image(0), &flat.notes[..]), (&[124, 131, 139][..], &[note.to_owned()][..]));
    let contents = Contents::of(ct.path()).unwrap();
    assert_eq!((contents.notes, contents.levels), (vec![note.to_owned()], Some([31768, 35768])));
    let spread = DatasetConfig { black: Some(31768), white: Some(35768), ..config(ct.path()) }.load().unwrap();
    assert_eq!((spread.train.image(0), spread.notes.len()), (&[0, 128, 255][..], 0));
    // A window says itself what is black and white.
    let window = file(16, 1, [-1000, 1000, 3000]).with(CENTER, "DS", b"1000").with(WIDTH, "DS", b"4001");
    let windowed = copies(".dcm", &window.bytes());
    assert_eq!(config(windowed.path()).load().unwrap().train.image(0), [0, 128, 255]);
    let levels = DatasetConfig { white: Some(4095), ..config(windowed.path()) };
    assert_eq!(
        levels.load().unwrap_err().to_string(),
        "dataset.black and dataset.white are for pictures of 16 bits without a window of their own, and there are none; remove them"
    );
}

/// Files whose headers name a patient: whole, damaged, and of each kind that is refused.
fn files_of_a_patient() -> Vec<Vec<u8>> {
    let whole = small();
    let mut files: Vec<Vec<u8>> = (140..whole.bytes().len()).map(|len| whole.bytes()[..len].to_vec()).collect();
    files.extend([
        whole.clone().with(FRAMES, "IS", b"30").bytes(),
        whole.clone().compressed("1.2.840.10008.1.2.4.90", b"Secret").bytes(),
        whole.clone().without(PIXELS).bytes(),
        // Where the program reads, too, there may be anything.
        whole.clone().with(PHOTOMETRIC, "CS", b"Secret^Name").bytes(),
        whole.clone().with(FRAMES, "IS", b"Secret^Name").bytes(),
        whole.clone().with(CENTER, "DS", b"Secret^Name").with(WIDTH, "DS", b"1").bytes(),
        whole.clone().with(CENTER, "DS", b"1").with(WIDTH, "DS", b"1").with(0x0028_1056, "CS", b"Secret^Name").bytes(),
        whole.clone().compressed("Secret^Name", b"Secret").bytes(),
        whole.with(0x0010_0010, "US", b"Secret^Name").bytes(),
    ]);
    files
}

#[test]
fn no_text_of_a_dicom_header_is_kept_or_named() {
    let whole = read(&small().bytes()).unwrap();
    assert_eq!(whole.train.image(0), [7, 200]);
    assert!(!format!("{whole:?}").contains("Secret"));
    let mut num_refused = 0;
    for file in files_of_a_patient() {
        let dir = copies(".dcm", &file);
        let said = match config(dir.path()).load() {
            Ok(dataset) => format!("{dataset:?}"),
            Err(error) => {
                num_refused += 1;
                format!("{error} {error:?}")
            }
        };
        let contents = format!("{:?} {:?}", Contents::of(dir.path()), FolderSummary::of(dir.path(), None));
        assert!(!said.contains("Secret") && !contents.contains("Secret"), "{said} {contents}");
    }
    assert!(num_refused > 100, "{num_refused}");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let rle = [[1, 0, 0, 0, 64, 0, 0, 0], [0; 8], [0; 8], [0; 8], [0; 8], [0; 8], [0; 8], [0; 8]].concat();
    let rle = small().compressed(RUN_LENGTHS, &[&rle[..], &[1, 7, 200, 0]].concat());
    assert_eq!(pixels(&rle), [7, 200]);
    for file in [small().bytes(), rle.bytes()] {
        for len in 0..file.len() {
            assert!(read(&file[..len]).is_err(), "cut at {len} of {}", file.len());
        }
    }
}

#[test]
fn lengths_that_lie_are_errors() {
    // An element that claims 4 GiB where the program reads, and where it does not.
    for tag in [0x0028_1201, 0x0029_0010] {
        let mut file = small().without(PIXELS).bytes();
        file.extend([element(tag, "OW", &[]), small().bytes()[132..].to_vec()].concat());
        let at = file
            .windows(4)
            .position(|bytes| bytes == [tag.to_le_bytes()[2], tag.to_le_bytes()[3], tag as u8, (tag >> 8) as u8]);
        let len = at.unwrap() + 8;
        file[len..len + 4].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
        let reason = refused(&file);
        let expected =
            ["is truncated", "describes its picture in a value of 4294967280 bytes, which may have at most 131072"];
        assert!(expected.contains(&&*reason), "{reason}");
    }
    // Compressed pixels whose number the file cannot hold: 64 for each of its bytes.
    let many = small().number(ROWS, 8000).number(COLUMNS, 8000).compressed(RUN_LENGTHS, &[0; 64]).bytes();
    assert_eq!(
        refused(&many),
        format!("claims to have 8000 × 8000 pixels, more than its {} bytes can hold", many.len())
    );
    let plain = small().number(ROWS, 60_000).number(COLUMNS, 60_000).bytes();
    assert_eq!(refused(&plain), "has 2 bytes of pixels, and needs 3600000000");
}

#[test]
fn sequences_within_each_other_do_not_exhaust_the_stack() {
    let open = [0x40, 0, 0x75, 2, b'S', b'Q', 0, 0, 255, 255, 255, 255, 0xfe, 0xff, 0, 0xe0, 255, 255, 255, 255];
    let head = small().without(PIXELS).bytes();
    let nested = |depth| [head.clone(), open.repeat(depth), element(PIXELS, "OB", &[1, 2])].concat();
    assert_eq!(refused(&nested(100_000)), "has sequences within each other, more than 64 deep");
    assert_eq!(refused(&nested(64)), "is truncated");
    // A delimiter of nothing.
    let delimiter = [0xfe, 0xff, 0x0d, 0xe0, 0, 0, 0, 0];
    let reason = refused(&[head.clone(), delimiter.to_vec(), element(PIXELS, "OB", &[1, 2])].concat());
    assert_eq!(reason, format!("is damaged before byte {}", head.len() + 8));
}
