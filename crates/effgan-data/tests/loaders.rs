//! MNIST's, EMNIST's and CIFAR-10's files as archives and other loaders leave them: a run and `data check` read the same.

use std::{fs, io::Write, path::Path};

use effgan_data::{
    Dataset, DatasetConfig, DatasetName,
    datasets::{Contents, ContentsKind, FolderSummary},
};
use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Images of 2 × 3 pixels: pixel i of image k is 6 k + i.
fn images(n: u8) -> Vec<u8> {
    let sizes = [0x803_u32, n.into(), 2, 3];
    sizes.iter().flat_map(|size| size.to_be_bytes()).chain(0..6 * n).collect()
}

/// Labels `first`, `first + 1`, … of `num_classes` classes in turn.
fn labels(n: u8, num_classes: u8, first: u8) -> Vec<u8> {
    let sizes = [0x801_u32, n.into()];
    sizes.iter().flat_map(|size| size.to_be_bytes()).chain((0..n).map(|i| i % num_classes + first)).collect()
}

/// Four files with these names, which are given the split and `images?idx3` or `labels?idx1` with `dot` between; `pack` changes what is in them.
fn idx(
    dir: &Path,
    name: impl Fn(&str, &str) -> String,
    dot: char,
    num_classes: u8,
    first: u8,
    pack: fn(&[u8]) -> Vec<u8>,
) {
    for (split, n) in [("train", 20), ("t10k", 10)] {
        write(&dir.join(name(split, &format!("images{dot}idx3"))), &pack(&images(n)));
        write(&dir.join(name(split, &format!("labels{dot}idx1"))), &pack(&labels(n, num_classes, first)));
    }
}

fn load(name: DatasetName, dir: &Path) -> Result<Dataset, String> {
    let config = DatasetConfig { dir: Some(dir.to_owned()), ..DatasetConfig::of(name) };
    config.load().map_err(|error| error.to_string())
}

/// What `data check` says of a path: its kind, and what a run reads by each name for that kind, which has to be the same.
fn checked(path: &Path) -> (ContentsKind, Dataset) {
    let contents = Contents::of(path).unwrap();
    let mut read = contents.kind.names().iter().map(|name| {
        let dataset = load(*name, path).unwrap();
        let count = |labels: &[u8], class: usize| labels.iter().filter(|&&label| usize::from(label) == class).count();
        let counts = |class| [&dataset.train, &dataset.test].map(|split| count(split.labels(), class));
        assert_eq!(contents.notes, dataset.notes);
        assert_eq!(contents.classes.len(), dataset.class_names.len());
        assert!(contents.classes.iter().enumerate().all(|(class, (_, known))| counts(class) == *known));
        assert_eq!(contents.num_images(), dataset.train.len() + dataset.test.len());
        dataset
    });
    (contents.kind, read.next().unwrap())
}

#[test]
fn mnist_is_read_under_every_name_of_its_files() {
    type Name = fn(&str, &str) -> String;
    type Pack = fn(&[u8]) -> Vec<u8>;
    let cases: [(&str, Name, char, ContentsKind, Pack); 7] = [
        (
            "as they are",
            |split, kind| format!("{split}-{kind}-ubyte"),
            '-',
            ContentsKind::MnistOrFashion,
            <[u8]>::to_vec,
        ),
        ("with dots", |split, kind| format!("{split}-{kind}-ubyte"), '.', ContentsKind::MnistOrFashion, <[u8]>::to_vec),
        (
            "with dots, packed",
            |split, kind| format!("{split}-{kind}-ubyte.gz"),
            '.',
            ContentsKind::MnistOrFashion,
            gzip,
        ),
        (
            "torchvision",
            |split, kind| format!("MNIST/raw/{split}-{kind}-ubyte"),
            '-',
            ContentsKind::Mnist,
            <[u8]>::to_vec,
        ),
        (
            "torchvision",
            |split, kind| format!("FashionMNIST/raw/{split}-{kind}-ubyte"),
            '-',
            ContentsKind::FashionMnist,
            <[u8]>::to_vec,
        ),
        (
            "plain under .gz",
            |split, kind| format!("{split}-{kind}-ubyte.gz"),
            '-',
            ContentsKind::MnistOrFashion,
            <[u8]>::to_vec,
        ),
        (
            "gzip under a plain name",
            |split, kind| format!("{split}-{kind}-ubyte"),
            '-',
            ContentsKind::MnistOrFashion,
            gzip,
        ),
    ];
    for (case, name, dot, kind, pack) in cases {
        let dir = TempDir::new().unwrap();
        idx(dir.path(), name, dot, 10, 0, pack);
        let (found, dataset) = checked(dir.path());
        assert_eq!((found, dataset.train.len(), dataset.test.len()), (kind, 20, 10), "{case}");
        assert_eq!((dataset.train.image(3), dataset.test.labels()[9]), (&[18, 19, 20, 21, 22, 23][..], 9), "{case}");
        assert!(dataset.notes.is_empty(), "{case}");
    }
}

#[test]
fn emnist_is_read_upright_as_idx() {
    let dir = TempDir::new().unwrap();
    let name = |split: &str, kind: &str| {
        format!("gzip/emnist-letters-{}-{kind}-ubyte.gz", if split == "t10k" { "test" } else { split })
    };
    idx(dir.path(), name, '-', 5, 1, gzip);
    let (kind, dataset) = checked(dir.path());
    assert_eq!((kind, dataset.name, dataset.train.shape()), (ContentsKind::Idx, DatasetName::Idx, [1, 3, 2]));
    assert_eq!(dataset.class_names, ["1", "2", "3", "4", "5"]);
    assert_eq!((dataset.train.image(1), dataset.train.labels()[1]), (&[6, 9, 7, 10, 8, 11][..], 1));
    assert!(dataset.notes.iter().any(|note| note.starts_with("images are turned upright")), "{:?}", dataset.notes);
    // The same by the beginning of the files' names, beside another data set.
    let other = |split: &str, kind: &str| name(split, kind).replace("letters", "digits");
    idx(dir.path(), other, '-', 10, 0, gzip);
    assert_eq!(checked(&dir.path().join("gzip/emnist-letters")).1, dataset);
    let error = Contents::of(dir.path()).unwrap_err().to_string();
    assert_eq!(Err(error.clone()), load(DatasetName::Idx, dir.path()));
    assert!(error.contains("holds several data sets; set dataset.dir to one of them: "), "{error}");
}

#[test]
fn other_classes_under_mnists_names_are_idx() {
    let dir = TempDir::new().unwrap();
    idx(dir.path(), |split, kind| format!("{split}-{kind}-ubyte"), '-', 12, 0, <[u8]>::to_vec);
    let error = load(DatasetName::Mnist, dir.path()).unwrap_err();
    assert!(
        error.contains("image 10 has label 10, which is not below num_classes = 10; set dataset.name = \"idx\""),
        "{error}"
    );
    let contents = Contents::of(dir.path()).unwrap();
    assert_eq!((contents.kind, contents.classes.len()), (ContentsKind::Idx, 12));
    // The ten test images have no label 10 or 11.
    assert_eq!(contents.classes[11], ("11".to_owned(), [1, 0]));
}

#[test]
fn the_names_of_agreed_classes_are_those_of_the_numbers() {
    let dir = TempDir::new().unwrap();
    idx(dir.path(), |split, kind| format!("x-{split}-{kind}-ubyte"), '-', 2, 1, <[u8]>::to_vec);
    let classes = ["nothing", "one", "two", "three"].map(String::from);
    let config = DatasetConfig { dir: Some(dir.path().to_owned()), ..DatasetConfig::of(DatasetName::Idx) };
    let dataset = config.load_named(Some(&classes)).unwrap();
    assert_eq!(
        (dataset.class_names.len(), dataset.train.num_classes(), &dataset.train.labels()[..3]),
        (4, 4, &[1, 2, 1][..])
    );
}

#[test]
fn cifars_python_version_is_read() {
    let dir = TempDir::new().unwrap();
    let batch =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cifar_batch_python2.pickle")).unwrap();
    for file in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        write(&dir.path().join("cifar-10-batches-py").join(file), &batch);
    }
    for place in [dir.path(), &dir.path().join("cifar-10-batches-py")] {
        let (kind, dataset) = checked(place);
        assert_eq!((kind, dataset.train.len(), dataset.test.labels()), (ContentsKind::Cifar10, 10, &[3, 8][..]));
        assert_eq!((&*dataset.class_names[3], dataset.test.image(1)[2]), ("cat", 45));
    }
}

#[test]
fn the_wrong_name_for_files_that_are_there_is_an_error_with_the_right_one() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    idx(&at("idx"), |split, kind| format!("{split}-{kind}-ubyte"), '-', 10, 0, <[u8]>::to_vec);
    idx(&at("torch/FashionMNIST/raw"), |split, kind| format!("{split}-{kind}-ubyte"), '-', 10, 0, <[u8]>::to_vec);
    idx(&at("emnist"), |split, kind| format!("emnist-mnist-{split}-{kind}-ubyte"), '-', 10, 0, <[u8]>::to_vec);
    write(&at("cifar/cifar-10-batches-py/data_batch_1"), b"");
    image::GrayImage::new(2, 2).save(at("picture.png")).unwrap();
    fs::create_dir(at("pictures")).unwrap();
    fs::rename(at("picture.png"), at("pictures/picture.png")).unwrap();
    write(&at("array.npy"), b"");
    for (place, name, found) in [
        (
            "idx",
            DatasetName::Folder,
            "idx holds IDX files, which name = \"folder\" does not read; set dataset.name = \"mnist\" or \"fashion-mnist\"",
        ),
        (
            "idx",
            DatasetName::Npz,
            "idx holds IDX files, which name = \"npz\" does not read; set dataset.name = \"mnist\" or \"fashion-mnist\"",
        ),
        (
            "torch",
            DatasetName::Mnist,
            "torch holds IDX files, which name = \"mnist\" does not read; set dataset.name = \"fashion-mnist\"",
        ),
        (
            "emnist",
            DatasetName::Mnist,
            "emnist holds IDX files, which name = \"mnist\" does not read; set dataset.name = \"idx\"",
        ),
        (
            "cifar",
            DatasetName::Folder,
            "cifar holds the batches of CIFAR-10, which name = \"folder\" does not read; set dataset.name = \"cifar10\"",
        ),
        (
            "pictures",
            DatasetName::Mnist,
            "pictures holds pictures, which name = \"mnist\" does not read; set dataset.name = \"folder\"",
        ),
        (
            "pictures",
            DatasetName::Cifar10,
            "pictures holds pictures, which name = \"cifar10\" does not read; set dataset.name = \"folder\"",
        ),
        (
            "array.npy",
            DatasetName::Folder,
            "array.npy holds arrays, which name = \"folder\" does not read; set dataset.name = \"npz\"",
        ),
        (
            "array.npy",
            DatasetName::Idx,
            "array.npy holds arrays, which name = \"idx\" does not read; set dataset.name = \"npz\"",
        ),
    ] {
        assert_eq!(load(name, &at(place)).unwrap_err(), format!("{}/{found}", dir.path().display()));
    }
    // A site lists a folder, or looks at its headers, before it loads it.
    let folder = |name| DatasetConfig { dir: Some(at(name)), ..DatasetConfig::of(DatasetName::Folder) };
    let listed = folder("idx").list(None).unwrap_err().to_string();
    assert_eq!(listed, load(DatasetName::Folder, &at("idx")).unwrap_err());
    assert_eq!(FolderSummary::of(&at("idx"), None).unwrap_err().to_string(), listed);
    // What is damaged or lacks a file is called so, and nothing else.
    fs::remove_file(at("idx/t10k-labels-idx1-ubyte")).unwrap();
    assert!(load(DatasetName::Mnist, &at("idx")).unwrap_err().contains("idx/t10k-labels-idx1-ubyte, nor one with"));
    assert!(load(DatasetName::Cifar10, &at("cifar")).unwrap_err().contains("data_batch_1: is not a pickle"));
    fs::create_dir(at("empty")).unwrap();
    assert!(
        load(DatasetName::Mnist, &at("empty")).unwrap_err().contains("empty/train-images-idx3-ubyte, nor one with")
    );
    assert!(Contents::of(&at("nowhere")).unwrap_err().to_string().contains("nowhere is missing"));
}

#[test]
fn pointers_of_git_lfs_are_called_so_by_both() {
    let dir = TempDir::new().unwrap();
    idx(dir.path(), |split, kind| format!("{split}-{kind}-ubyte"), '-', 10, 0, <[u8]>::to_vec);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 47040016\n";
    write(&dir.path().join("train-images-idx3-ubyte"), pointer.as_bytes());
    let error = load(DatasetName::Mnist, dir.path()).unwrap_err();
    assert!(error.ends_with("train-images-idx3-ubyte: is a Git LFS pointer, not the file itself; run `git lfs pull`"));
    assert_eq!(Contents::of(dir.path()).unwrap_err().to_string(), error);
}
