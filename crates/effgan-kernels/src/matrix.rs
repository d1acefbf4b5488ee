//! Matrices in slices, multiplied by the crate `gemm`, which chooses its own instructions.

/// A matrix in a slice, or the transpose of one.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]`, row-major.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::of_spaced_rows(values, rows, columns, columns)
    }

    /// The first `columns` columns of `[rows, row_stride]`.
    pub(crate) fn of_spaced_rows(values: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert_eq!(Some(values.len()), rows.checked_mul(row_stride), "{rows} rows of {row_stride} values");
        assert!(columns <= row_stride, "{columns} columns of {row_stride} values");
        Self { values, rows, columns, row_stride, column_stride: 1 }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The transpose, of the same values.
    pub(crate) fn transposed(self) -> Self {
        let Self { values, rows, columns, row_stride, column_stride } = self;
        Self { values, rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }
}

/// Writes left · right, `[left.rows, right.columns]` row-major, to `product`, or adds it with `add`.
pub(crate) fn matmul(left: Matrix, right: Matrix, product: &mut [f32], add: bool) {
    assert_eq!(left.columns, right.rows, "the columns of the left factor meet the rows of the right");
    assert_eq!(Some(product.len()), left.rows.checked_mul(right.columns), "rows of the left, columns of the right");
    // SAFETY: a `Matrix` is made by `Matrix::of_spaced_rows`, which asserts that its rows lie within its slice, or by
    // swapping the two strides of one, so that all its values lie there; the assertion above says the same of
    // `product`. `product` is borrowed mutably, so that no factor overlaps it.
    unsafe {
        gemm::gemm::<f32>(
            left.rows,
            right.columns,
            left.columns,
            product.as_mut_ptr(),
            1,
            right.columns.cast_signed(),
            add,
            left.values.as_ptr(),
            left.column_stride.cast_signed(),
            left.row_stride.cast_signed(),
            right.values.as_ptr(),
            right.column_stride.cast_signed(),
            right.row_stride.cast_signed(),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
