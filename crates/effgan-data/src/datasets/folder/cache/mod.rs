//! The pictures of a folder as they were decoded, kept between runs, so that a second run starts at once.
//!
//! A file holds the pictures of one folder in one shape ([`Key`]): of each its path, its [`Stamp`], what is known of it and its pixels. A
//! picture that is not there with the same stamp is decoded; one that cannot be read is never kept. Whatever is wrong with the file, the
//! pictures are decoded, and it is written anew. It is a second copy of the pictures, for their owner alone ([`place`]).

mod file;
mod key;
mod place;
mod stamp;

use super::{Listing, ReadOptions};
use crate::{
    datasets::{
        budget::bytes_of,
        picture::{Facts, Header},
        reading::{Count, Reading},
    },
    parallel::{in_parallel, in_parallel_into},
};
use file::{Picture, Record, Stored, Unusable};
use key::Key;
use stamp::Stamp;
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::SystemTime,
};

/// Pictures are kept of a folder with so many, or so many bytes of files; decoding fewer takes a fraction of a second.
const LEAST_PICTURES: usize = 1000;
const LEAST_BYTES: u64 = 32 << 20;

/// What is kept of a listing, while it is read.
pub(super) struct Cache {
    path: PathBuf,
    key: Key,
    /// When the stamps were taken.
    now: SystemTime,
    /// The stamps of the entries of both splits, from before they are read; `None` of a file that is not there.
    stamps: [Vec<Option<Stamp>>; 2],
    /// The file, until the pictures have been read that are kept in it.
    stored: Option<Stored>,
    /// How many pictures the file held; `None` without one that could be used.
    num_stored: Option<usize>,
    is_damaged: bool,
}

/// The pictures of a split after they were read.
pub(super) struct Pictures<'a> {
    /// What [`Cache::read`] returned.
    pub(super) kept: &'a [Option<Facts>],
    /// What is known of each entry; `None` of one that cannot be read.
    pub(super) facts: &'a [Option<Facts>],
    /// The pixels of those that can, in order.
    pub(super) pixels: &'a [u8],
}

impl Cache {
    /// What is kept of `listing`, as far as there is memory for it beside the images; `None` where nothing is to be kept.
    pub(super) fn open(listing: &Listing, options: &ReadOptions, reading: &Reading<'_>) -> Option<Self> {
        let folder = place::inside(reading.cache.as_ref()?);
        let now = SystemTime::now();
        let stamps = listing.splits.each_ref().map(|split| in_parallel(split, |entry| Stamp::of(&entry.path)));
        let num_bytes: u64 = stamps.iter().flatten().flatten().map(|stamp| stamp.len).sum();
        if listing.num_images() < LEAST_PICTURES && num_bytes < LEAST_BYTES {
            return None;
        }
        let key = Key::of(&listing.dir.canonicalize().ok()?, options);
        let path = folder.join(key.file_name());
        let room = |shape| options.budget.left().saturating_sub(bytes_of(listing.num_images(), shape));
        let (stored, is_damaged) = match place::open(&path).map(|file| file::read(file, &key, room)) {
            Some(Ok(stored)) => (Some(stored), false),
            Some(Err(Unusable::Damaged)) => (None, true),
            Some(Err(Unusable::OtherVersion | Unusable::TooLarge)) | None => (None, false),
        };
        Some(Self { path, key, now, stamps, stored, num_stored: None, is_damaged })
    }

    /// The header of entry `i` of a split, called `name` in the folder, unless it has changed since it was stored.
    pub(super) fn header(&self, split: usize, i: usize, name: &Path) -> Option<Header> {
        self.record(split, i, name).map(|record| record.facts.header)
    }

    /// Reads the pixels of all entries that have not changed, of `shape`, into `pixels`, one image after the other for each split; returns
    /// what is known of them, and forgets the file, so that its memory is free for decoding the others.
    pub(super) fn read(
        &mut self,
        listing: &Listing,
        shape: [usize; 3],
        pixels: [&mut [u8]; 2],
        count: &Count<'_>,
    ) -> [Vec<Option<Facts>>; 2] {
        self.stored.take_if(|stored| stored.shape != shape);
        let is_damaged = AtomicBool::new(self.is_damaged);
        let mut split = 0..2;
        let facts = pixels.map(|pixels| {
            let split = split.next().unwrap_or_default();
            in_parallel_into(&listing.numbered(split), pixels, |(i, entry), output| {
                let record = self.record(split, *i, listing.name_of(&entry.path))?;
                if self.stored.as_ref().is_some_and(|stored| stored.read_pixels(record, output)) {
                    count.one();
                    return Some(record.facts);
                }
                is_damaged.store(true, Ordering::Relaxed);
                None
            })
        });
        self.num_stored = self.stored.take().map(|stored| stored.records.len());
        self.is_damaged = is_damaged.into_inner();
        facts
    }

    fn record(&self, split: usize, i: usize, name: &Path) -> Option<&Record> {
        let (record, stamp) = (self.stored.as_ref()?.records.get(name)?, self.stamps[split][i]?);
        (record.stamp == stamp).then_some(record)
    }

    /// Stores the pictures of both splits, unless they are stored already. Those that changed a moment before they were read are left
    /// out, since they may have changed again without another stamp.
    pub(super) fn save(&self, listing: &Listing, shape: [usize; 3], splits: &[Pictures<'_>; 2], reading: &Reading<'_>) {
        let pictures: Vec<Picture<'_>> =
            (0..2).flat_map(|split| self.pictures(listing, split, &splits[split], shape)).collect();
        let num_kept = splits.iter().flat_map(|split| split.kept).flatten().count();
        // The file, or nothing, holds these pictures and no others.
        if num_kept == pictures.len() && num_kept == self.num_stored.unwrap_or_default() && !self.is_damaged {
            return;
        }
        let folder = self.path.parent().unwrap_or(&self.path).display();
        let line = match place::write(&self.path, |file| file::write(file, &self.key, shape, &pictures)) {
            Ok(()) if self.is_damaged => format!("{} was damaged, and has been made anew", self.path.display()),
            Ok(()) => {
                format!("decoded pictures are kept in {folder} for the next start; dataset.cache = false keeps none")
            }
            Err(reason) => {
                format!("decoded pictures cannot be kept in {folder}: {reason}, or set dataset.cache = false")
            }
        };
        reading.line(&line);
    }

    /// The pictures of a split that are to be stored.
    fn pictures<'a>(
        &'a self,
        listing: &'a Listing,
        split: usize,
        read: &'a Pictures<'a>,
        shape: [usize; 3],
    ) -> impl Iterator<Item = Picture<'a>> {
        let stamps = self.stamps[split].iter().zip(read.kept).map(|(stamp, kept)| {
            // Those that are kept were settled before.
            stamp.filter(|stamp| kept.is_some() || stamp.is_settled(self.now))
        });
        let entries = listing.splits[split].iter().zip(stamps).zip(read.facts);
        let were_read = entries.filter_map(|((entry, stamp), facts)| Some((entry, stamp, (*facts)?)));
        let with_pixels = were_read.zip(read.pixels.chunks_exact(shape.iter().product()));
        with_pixels.filter_map(|((entry, stamp, facts), pixels)| {
            Some(Picture { path: listing.name_of(&entry.path), stamp: stamp?, facts, pixels })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DatasetConfig, DatasetName, datasets::MaxMemory};
    use image::{GrayImage, Luma};
    use std::{fs, time::Duration};
    use tempfile::TempDir;

    const SHAPE: [usize; 3] = [1, 2, 2];

    fn picture(dir: &Path, i: usize, shade: u8) {
        let class = dir.join(["a", "b"][i % 2]);
        fs::create_dir_all(&class).unwrap();
        GrayImage::from_pixel(2, 2, Luma([shade])).save(class.join(format!("{i}.png"))).unwrap();
    }

    #[test]
    fn only_pictures_that_are_new_or_have_changed_are_decoded() {
        let (dir, cache) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        (0..LEAST_PICTURES).for_each(|i| picture(dir.path(), i, 1));
        let budget = crate::datasets::budget::Budget::new(None, None, MaxMemory::default());
        let options = ReadOptions { size: None, channels: None, skip_broken: false, levels: None, budget };
        let reading = Reading::quiet().with_cache(cache.path().into());
        let load = || Listing::of(dir.path(), None, None).unwrap().load(&options, &reading).unwrap();
        let count = |shade| {
            let loaded = load();
            let pixels = [loaded.train.pixels(), loaded.test.pixels()].concat();
            pixels.chunks(4).filter(|image| *image == [shade; 4]).count()
        };
        assert_eq!(count(1), LEAST_PICTURES);
        // A file that says of each picture that all of its pixels are 7.
        let listing = Listing::of(dir.path(), None, None).unwrap();
        let now = SystemTime::now() + Duration::from_secs(10);
        let store = Cache { now, ..Cache::open(&listing, &options, &reading).unwrap() };
        let header =
            Header { width: 2, height: 2, mode: crate::datasets::Mode { colour: false, alpha: false, deep: false } };
        let facts = listing.splits.each_ref().map(|split| vec![Some(Facts { header, range: None }); split.len()]);
        let pixels = listing.splits.each_ref().map(|split| vec![7; 4 * split.len()]);
        let kept = facts.each_ref().map(|facts| vec![None; facts.len()]);
        let splits = [0, 1].map(|i| Pictures { kept: &kept[i], facts: &facts[i], pixels: &pixels[i] });
        store.save(&listing, SHAPE, &splits, &reading);
        assert_eq!(count(7), LEAST_PICTURES);
        picture(dir.path(), LEAST_PICTURES, 1);
        picture(dir.path(), 3, 1);
        assert_eq!([count(7), count(1)], [LEAST_PICTURES - 1, 2]);
        // Looking at what there is decodes everything.
        let config = DatasetConfig { dir: Some(dir.path().into()), ..DatasetConfig::of(DatasetName::Folder) };
        let plain = config.load().unwrap();
        assert!(plain.train.pixels().iter().all(|&pixel| pixel == 1));
    }
}
