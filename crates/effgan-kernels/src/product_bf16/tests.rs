use proptest::prelude::*;

use super::*;
use crate::buffer::Scratch;
use crate::naive::{assert_close, noise};

fn at(rows: usize, r: usize, c: usize) -> usize {
    c / BLOCK * rows * BLOCK + r * BLOCK + c % BLOCK
}

fn blocks(values: &[f32], rows: usize) -> Blocks<'_> {
    Blocks { values, stride: rows * BLOCK, count: values.len() / (rows * BLOCK) }
}

fn blocks_mut(values: &mut [f32], rows: usize) -> BlocksMut<'_> {
    let count = values.len() / (rows * BLOCK);
    BlocksMut::new(values, rows * BLOCK, count)
}

/// To bf16, the upper half of an f32: to nearest, ties to even.
fn rounded(values: &[f32]) -> Vec<f32> {
    let round = |bits: u32| (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    values.iter().map(|value| f32::from_bits(round(value.to_bits()))).collect()
}

/// A B and Aᵀ D in f64.
struct Exact {
    product: Vec<f64>,
    of_transposed: Vec<f64>,
}

impl Exact {
    fn of([a, b, d]: [&[f32]; 3], rows: usize, [k, n]: [usize; 2]) -> Self {
        let mut exact = Self { product: vec![0.0; rows * n], of_transposed: vec![0.0; k * n] };
        for (r, i, j) in (0..rows).flat_map(|r| (0..k).flat_map(move |i| (0..n).map(move |j| (r, i, j)))) {
            let a = f64::from(a[at(rows, r, i)]);
            exact.product[at(rows, r, j)] += a * f64::from(b[at(k, i, j)]);
            exact.of_transposed[at(k, i, j)] += a * f64::from(d[at(rows, r, j)]);
        }
        exact
    }
}

fn packed(pack: Pack, rows: usize, matrix: Blocks) -> (Pack, Scratch<Line>, usize, usize) {
    let mut lines = Scratch::of(Packed::lines(rows, matrix.count));
    Packed::write(pack, rows, matrix, &mut lines);
    (pack, lines, rows, matrix.count)
}

/// A B of a matrix of `rows` rows and one of `depth` rows.
fn product([rows, depth]: [usize; 2], [a, b]: [Blocks; 2], c: BlocksMut) {
    let [a, b] = [packed(Pack::Rows, rows, a), packed(Pack::Pairs, depth, b)];
    let [a, b] = [&a, &b].map(|(pack, lines, rows, blocks)| Packed::of(*pack, lines, *rows, *blocks));
    super::product(a, b, c);
}

/// Aᵀ B of two matrices of `rows` rows.
fn product_of_transposed(rows: usize, factors: [Blocks; 2], c: BlocksMut, add: bool) {
    let [a, b] = factors.map(|matrix| packed(Pack::Pairs, rows, matrix));
    let [a, b] = [&a, &b].map(|(pack, lines, rows, blocks)| Packed::of(*pack, lines, *rows, *blocks));
    super::product_of_transposed(a, b, c, add);
}

fn has_bf16() -> bool {
    if !available() {
        eprintln!("skipped: this processor has no AVX-512 BF16");
    }
    available()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn products_are_those_of_plain_loops_on_rounded_operands(
        rows in 1_usize..60, depth in 1_usize..4, width in 1_usize..8, seed in 0_u64..99,
    ) {
        if !has_bf16() {
            return Ok(());
        }
        let (k, n) = (depth * BLOCK, width * BLOCK);
        let (a, b, d) = (noise(rows * k, seed), noise(k * n, seed + 1), noise(rows * n, seed + 2));
        let mut exact = Exact::of([&rounded(&a), &rounded(&b), &rounded(&d)], rows, [k, n]);
        let mut c = vec![f32::NAN; rows * n];
        product([rows, k], [blocks(&a, rows), blocks(&b, k)], blocks_mut(&mut c, rows));
        // Products of bf16 are exact; f32 sums of at most 64 of them.
        assert_close("A B", &c, &exact.product, 1e-5);
        let mut c = vec![f32::NAN; k * n];
        product_of_transposed(rows, [blocks(&a, rows), blocks(&d, rows)], blocks_mut(&mut c, k), false);
        assert_close("A' D", &c, &exact.of_transposed, 1e-5);
        product_of_transposed(rows, [blocks(&a, rows), blocks(&d, rows)], blocks_mut(&mut c, k), true);
        exact.of_transposed.iter_mut().for_each(|value| *value *= 2.0);
        assert_close("A' D twice", &c, &exact.of_transposed, 1e-5);
    }
}

#[test]
fn rounding_moves_a_product_by_no_more_than_bf16_allows() {
    if !has_bf16() {
        return;
    }
    let (rows, k, n) = (37, 48, 80);
    let (a, b, d) = (noise(rows * k, 1), noise(k * n, 2), noise(rows * n, 3));
    let exact = Exact::of([&a, &b, &d], rows, [k, n]);
    let sizes = |values: &[f32]| values.iter().map(|value| value.abs()).collect::<Vec<_>>();
    let magnitudes = Exact::of([&sizes(&a), &sizes(&b), &sizes(&d)], rows, [k, n]);
    let (mut c, mut of_transposed) = (vec![0.0; rows * n], vec![0.0; k * n]);
    product([rows, k], [blocks(&a, rows), blocks(&b, k)], blocks_mut(&mut c, rows));
    product_of_transposed(rows, [blocks(&a, rows), blocks(&d, rows)], blocks_mut(&mut of_transposed, k), false);
    let all_ours = c.iter().chain(&of_transposed);
    let all_exact = exact.product.iter().chain(&exact.of_transposed);
    let all_magnitudes = magnitudes.product.iter().chain(&magnitudes.of_transposed);
    let mut largest = 0.0_f64;
    for ((&ours, exact), magnitude) in all_ours.zip(all_exact).zip(all_magnitudes) {
        largest = largest.max((f64::from(ours) - exact).abs() / magnitude);
    }
    // 8 bits: each factor is off by at most 2⁻⁹ of itself, a product by 2⁻⁸ and 2⁻¹⁸, f32 sums by less than the
    // rest of 1 %.
    assert!(largest < 1.01 * f64::exp2(-8.0), "off by {largest} of the sum of all magnitudes");
    assert!(largest > f64::exp2(-14.0), "f32 would be off by {largest} of the sum of all magnitudes");
}

#[test]
fn ties_are_rounded_to_even() {
    if !has_bf16() {
        return;
    }
    // Between 1 and 1 + 2⁻⁷, whose last bits are even and odd, and between the latter and 1 + 2⁻⁶.
    let mut a = vec![0.0; 2 * BLOCK];
    (a[0], a[BLOCK]) = (1.0 + f32::exp2(-8.0), 1.0 + 3.0 * f32::exp2(-8.0));
    let (one, mut c) = (vec![1.0; BLOCK * BLOCK], vec![0.0; 2 * BLOCK]);
    product([2, BLOCK], [blocks(&a, 2), blocks(&one, BLOCK)], blocks_mut(&mut c, 2));
    assert_eq!((c[0], c[BLOCK]), (1.0, 1.0 + f32::exp2(-6.0)));
}

#[test]
fn blocks_may_be_farther_apart_than_they_are_long() {
    if !has_bf16() {
        return;
    }
    let (rows, apart) = (5, 7);
    let (a, b) = (noise(2 * apart * BLOCK, 4), noise(2 * BLOCK * BLOCK, 5));
    let close = [&a[..rows * BLOCK], &a[apart * BLOCK..][..rows * BLOCK]].concat();
    let (mut c, mut close_c) = (vec![0.5; 2 * apart * BLOCK], vec![0.0; rows * BLOCK]);
    let to = BlocksMut::new(&mut c, apart * BLOCK, 1);
    let (b, depth) = (blocks(&b, 2 * BLOCK), 2 * BLOCK);
    product([rows, depth], [Blocks { values: &a, stride: apart * BLOCK, count: 2 }, b], to);
    product([rows, depth], [blocks(&close, rows), b], blocks_mut(&mut close_c, rows));
    assert_eq!(c[..rows * BLOCK], close_c);
    assert!(c[rows * BLOCK..].iter().all(|&value| value == 0.5), "wrote past its rows");
}
