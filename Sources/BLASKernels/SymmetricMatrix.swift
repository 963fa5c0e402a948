import COpenBLAS

/// Symmetric matrices in Double by OpenBLAS and its LAPACK, for data preparation before training.
///
/// Matrices are row-major. Last bits may differ between CPUs and between numbers of BLAS threads.
public enum SymmetricMatrix {
  /// Computes the lower triangle of C ← C + Aᵀ·A, the sum of the outer products of A's rows.
  ///
  /// - Parameters:
  ///   - a: A, `[rows, columns]`.
  ///   - rows: The rows of A.
  ///   - columns: The columns of A.
  ///   - c: C, `[columns, columns]`; the elements above the diagonal are neither read nor written.
  public static func addOuterProducts(
    of a: UnsafePointer<Double>, rows: Int, columns: Int, to c: UnsafeMutablePointer<Double>
  ) {
    cblas_dsyrk(
      CblasRowMajor, CblasLower, CblasTrans, blasint(columns), blasint(rows), 1, a, blasint(columns), 1, c,
      blasint(columns))
  }

  /// Copies the elements below the diagonal to those above.
  ///
  /// - Parameters:
  ///   - matrix: The matrix, `[order, order]`.
  ///   - order: The rows and columns.
  public static func mirrorLowerTriangle(_ matrix: UnsafeMutablePointer<Double>, order: Int) {
    for row in 0..<order {
      for column in 0..<row { matrix[column * order + row] = matrix[row * order + column] }
    }
  }

  /// Replaces a matrix by its eigenvectors.
  ///
  /// - Parameters:
  ///   - matrix: A symmetric matrix, `[order, order]`, of which the lower triangle is read; overwritten by orthonormal
  ///     eigenvectors, one per row.
  ///   - order: The rows and columns.
  ///   - eigenvalues: The destination of `order` eigenvalues, ascending.
  /// - Precondition: The values are finite.
  public static func diagonalize(
    _ matrix: UnsafeMutablePointer<Double>, order: Int, eigenvalues: UnsafeMutablePointer<Double>
  ) {
    var n = blasint(order)
    // The sizes that dsyevd documents.
    var workCount = blasint(1 + 6 * order + 2 * order * order)
    var integerWorkCount = blasint(3 + 5 * order)
    var info = blasint(0)
    let work = UnsafeMutablePointer<Double>.allocate(capacity: Int(workCount))
    let integerWork = UnsafeMutablePointer<blasint>.allocate(capacity: Int(integerWorkCount))
    defer {
      work.deallocate()
      integerWork.deallocate()
    }
    // LAPACK stores columns contiguously: its upper triangle and its columns are the lower triangle and the rows here.
    dsyevd_("V", "U", &n, matrix, &n, eigenvalues, work, &workCount, integerWork, &integerWorkCount, &info, 1, 1)
    precondition(info == 0, "dsyevd fails for values that are not finite: code \(info)")
  }
}
