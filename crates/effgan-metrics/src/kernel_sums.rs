//! Sums of the kernel (x·y / d + 1)³ over pairs of images in subsets, by blocks of all pairs.

use effgan_nn::parallel_map;

use crate::centred::{BLOCK, Centred, Frame, sum_of};

/// Sums of the kernel over pairs of images of one pair of subsets.
#[derive(Clone, Default)]
pub(crate) struct KernelSums {
    /// Ordered pairs of different positions in the real subset.
    pub(crate) within_real: f64,
    /// The same of the fake subset.
    pub(crate) within_fake: f64,
    /// Pairs of a real and a fake image.
    pub(crate) between: f64,
}

/// A set of images and its subsets.
pub(crate) struct Images {
    centred: Centred,
    /// The factor that turns a product of centred features into the kernel's: 1 / (d · scale²).
    unit: f64,
    /// For each image, what the centre c adds to its products: with x = c + x', x·y = x'·y' + (c·x − c·c / 2) + (c·y − c·c / 2).
    /// Divided by d, and with half of the kernel's 1.
    of_centre: Vec<f64>,
    /// For each image, the subsets that it is in, once for each time.
    subsets: Vec<Vec<usize>>,
    /// For each subset and each block, the places of the subset's images in the block.
    places: Vec<Vec<Vec<u16>>>,
}

impl Images {
    /// The images with `features`, of which each of `lists` is a subset.
    pub(crate) fn new(frame: &Frame, features: &[f32], lists: &[Vec<usize>], jobs: usize) -> Self {
        let (centre, dim) = (&frame.centre, frame.centre.len());
        let n = features.len() / dim;
        let product = |row: &[f32]| sum_of(row, centre, |a, b| a * b);
        let of_itself = product(centre) / 2.0;
        let blocks: Vec<&[f32]> = features.chunks(BLOCK * dim).collect();
        let of_centre = parallel_map(blocks.len(), jobs, |block| {
            let rows = blocks[block].chunks_exact(dim);
            rows.map(|row| (product(row) - of_itself) / dim as f64 + 0.5).collect::<Vec<_>>()
        });
        let mut subsets = vec![Vec::new(); n];
        let mut places = vec![vec![Vec::new(); blocks.len()]; lists.len()];
        for (subset, list) in lists.iter().enumerate() {
            for &image in list {
                subsets[image].push(subset);
                places[subset][image / BLOCK].push((image % BLOCK) as u16);
            }
        }
        let unit = 1.0 / (dim as f64 * frame.scale * frame.scale);
        Self { centred: frame.centred(features, jobs), unit, of_centre: of_centre.concat(), subsets, places }
    }

    fn num_blocks(&self) -> usize {
        self.of_centre.len().div_ceil(BLOCK)
    }

    /// For each subset, the sum over its images in block `row` and those of `others` in block `column`; without the pairs of an image
    /// and itself if the block is one of the `diagonal` of a set's pairs.
    fn sums_of_block(&self, row: usize, others: &Self, column: usize, diagonal: bool) -> Vec<f64> {
        let products = self.centred.products(row, &others.centred, column);
        let [left, right] = [(self, row), (others, column)].map(|(images, block)| block_of(&images.of_centre, block));
        let mut sums = vec![0.0; self.places.len()];
        let mut kernels = vec![0.0; right.len()];
        let rows = left.iter().zip(products.chunks_exact(right.len()));
        for (at, ((of_centre, products), subsets)) in rows.zip(block_of(&self.subsets, row)).enumerate() {
            if subsets.is_empty() {
                continue;
            }
            for ((kernel, &product), other) in kernels.iter_mut().zip(products).zip(right) {
                let value = f64::from(product) * self.unit + (of_centre + other);
                *kernel = value * value * value;
            }
            let itself = if diagonal { kernels[at] } else { 0.0 };
            for &subset in subsets {
                sums[subset] += sum_at(&kernels, &others.places[subset][column]) - itself;
            }
        }
        sums
    }
}

/// Sum of the `values` at `places`, in lanes, so that the additions need not wait for each other.
fn sum_at(values: &[f64], places: &[u16]) -> f64 {
    let (places, last) = places.as_chunks::<4>();
    let value = |place: u16| values[usize::from(place)];
    let mut sums = [0.0; 4];
    for places in places {
        for (sum, &place) in sums.iter_mut().zip(places) {
            *sum += value(place);
        }
    }
    sums.iter().sum::<f64>() + last.iter().map(|&place| value(place)).sum::<f64>()
}

fn block_of<T>(of_images: &[T], block: usize) -> &[T] {
    &of_images[block * BLOCK..of_images.len().min((block + 1) * BLOCK)]
}

/// Which pairs a block has.
#[derive(Clone, Copy)]
enum Pairs {
    WithinReal,
    WithinFake,
    Between,
}

/// The sums of each pair of subsets. They do not depend on the number of threads, `jobs`.
pub(crate) fn kernel_sums(real: &Images, fake: &Images, jobs: usize) -> Vec<KernelSums> {
    let within = |pairs, n: usize| (0..n).flat_map(move |row| (row..n).map(move |column| (pairs, row, column)));
    let between = |row| (0..fake.num_blocks()).map(move |column| (Pairs::Between, row, column));
    let blocks: Vec<(Pairs, usize, usize)> = within(Pairs::WithinReal, real.num_blocks())
        .chain(within(Pairs::WithinFake, fake.num_blocks()))
        .chain((0..real.num_blocks()).flat_map(between))
        .collect();
    let sums_of_blocks = parallel_map(blocks.len(), jobs, |block| {
        let (pairs, row, column) = blocks[block];
        match pairs {
            Pairs::WithinReal => real.sums_of_block(row, real, column, row == column),
            Pairs::WithinFake => fake.sums_of_block(row, fake, column, row == column),
            Pairs::Between => real.sums_of_block(row, fake, column, false),
        }
    });
    let mut sums = vec![KernelSums::default(); real.places.len()];
    for ((pairs, row, column), of_block) in blocks.into_iter().zip(sums_of_blocks) {
        // A block above the diagonal stands for the one below it, too.
        let times = if row == column { 1.0 } else { 2.0 };
        for (sums, sum) in sums.iter_mut().zip(of_block) {
            match pairs {
                Pairs::WithinReal => sums.within_real += times * sum,
                Pairs::WithinFake => sums.within_fake += times * sum,
                Pairs::Between => sums.between += sum,
            }
        }
    }
    sums
}
