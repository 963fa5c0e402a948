import COpenBLAS

/// Single-precision matrix products by OpenBLAS; all matrices are row-major.
///
/// Every product runs on one thread, because each worker computes its own products, and the rounding of a product may
/// depend on OpenBLAS's thread count.
enum SGEMM {
  /// Computes C ← A·B + beta·C.
  ///
  /// - Parameters:
  ///   - m: The rows of A and C.
  ///   - n: The columns of B and C.
  ///   - k: The columns of A and the rows of B.
  ///   - a: A, `[m, k]`.
  ///   - leadingDimension: The distance between consecutive rows of A, in elements.
  ///   - b: B, `[k, n]`.
  ///   - c: C, `[m, n]`.
  ///   - beta: 0 overwrites C; 1 adds to it.
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

/// Settings and facts of the BLAS library of this process: OpenBLAS, or another one that has no such settings.
public enum BLASLibrary {
  /// Restricts every product of OpenBLAS to its calling thread, whatever the value of `OPENBLAS_NUM_THREADS`.
  ///
  /// Other libraries have no common function for it.
  public static func useOneThreadPerProduct() { COpenBLAS_set_num_threads(1) }

  /// The library's version and build options, for example `OpenBLAS 0.3.21 DYNAMIC_ARCH …`.
  public static var configuration: String { String(cString: COpenBLAS_configuration()) }

  /// The microarchitecture whose kernels the library selected, for example `Cooperlake`.
  ///
  /// `OPENBLAS_CORETYPE` overrides the selection.
  public static var microarchitecture: String { String(cString: COpenBLAS_microarchitecture()) }
}
