import COpenBLAS

/// Single-precision matrix products by OpenBLAS, all matrices row-major and dense.
///
/// One product always runs on one thread: the trainer runs many at a time, one a worker, and the bits of a product must
/// not depend on how many threads OpenBLAS would have taken.
enum SGEMM {
  /// Computes C ← A·B + beta·C.
  ///
  /// - Parameters:
  ///   - m: Rows of A and C.
  ///   - n: Columns of B and C.
  ///   - k: Columns of A, rows of B.
  ///   - a: `[m, k]`.
  ///   - leadingDimension: Elements from one row of A to the next.
  ///   - b: `[k, n]`.
  ///   - c: `[m, n]`.
  ///   - beta: 0 overwrites C, 1 adds to it.
  static func multiply(
    m: Int, n: Int, k: Int, _ a: UnsafePointer<Float>, leadingDimension: Int,
    _ b: UnsafePointer<Float>, into c: UnsafeMutablePointer<Float>, beta: Float
  ) {
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(m), blasint(n), blasint(k), 1, a,
      blasint(leadingDimension), b, blasint(n), beta, c, blasint(n))
  }

  /// Computes C ← A·Bᵀ, with A `[m, k]`, B `[n, k]` and C `[m, n]`.
  static func multiplyTransposingB(
    m: Int, n: Int, k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    into c: UnsafeMutablePointer<Float>
  ) {
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasTrans, blasint(m), blasint(n), blasint(k), 1, a,
      blasint(k), b, blasint(k), 0, c, blasint(n))
  }

  /// Computes C ← Aᵀ·B + beta·C, with A `[k, m]`, B `[k, n]` and C `[m, n]`.
  static func multiplyTransposingA(
    m: Int, n: Int, k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    into c: UnsafeMutablePointer<Float>, beta: Float
  ) {
    cblas_sgemm(
      CblasRowMajor, CblasTrans, CblasNoTrans, blasint(m), blasint(n), blasint(k), 1, a,
      blasint(m), b, blasint(n), beta, c, blasint(n))
  }
}

/// What the process should know about the BLAS library it runs on.
public enum BLASLibrary {
  /// Makes every product run on the thread that asks for it, whatever `OPENBLAS_NUM_THREADS` says.
  public static func useOneThreadPerProduct() { openblas_set_num_threads(1) }

  /// The library's version and build options, for example `OpenBLAS 0.3.21 DYNAMIC_ARCH …`.
  public static var configuration: String { String(cString: openblas_get_config()) }

  /// The CPU family whose kernels the library chose, for example `Cooperlake`; `OPENBLAS_CORETYPE` overrides it.
  public static var microarchitecture: String { String(cString: openblas_get_corename()) }
}
