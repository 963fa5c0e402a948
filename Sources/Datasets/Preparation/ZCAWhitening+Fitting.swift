import BLASKernels
import Tensors

extension ZCAWhitening {
  /// The images whose outer products are added together.
  private static let chunkSize = 512

  /// Fits a whitening to training images.
  ///
  /// Takes about 15 s of one core for CIFAR-10, and 0.3 GB of memory meanwhile. OpenBLAS rounds differently on
  /// different CPUs, so only one rank should fit.
  ///
  /// - Parameter split: The training images.
  /// - Throws: ``DatasetError`` if a label is invalid.
  /// - Precondition: The split has at least one image and has not been whitened.
  public convenience init(fittedTo split: ImageDataset.Split) throws {
    precondition(split.count > 0, "a whitening needs images")
    let n = Self.featureCount
    let mean = AlignedBuffer<Double>(count: n)
    for index in 0..<split.count {
      try Self.withContrastNormalized(split, index) { feature, value in mean.pointer[feature] += value }
    }
    for feature in 0..<n { mean.pointer[feature] /= Double(split.count) }

    let matrix = AlignedBuffer<Double>(count: n * n)
    let chunk = AlignedBuffer<Double>(count: Self.chunkSize * n)
    for start in stride(from: 0, to: split.count, by: Self.chunkSize) {
      let indices = start..<min(start + Self.chunkSize, split.count)
      for index in indices {
        let row = chunk.pointer + (index - start) * n
        try Self.withContrastNormalized(split, index) { feature, value in row[feature] = value - mean.pointer[feature] }
      }
      SymmetricMatrix.addOuterProducts(of: chunk.pointer, rows: indices.count, columns: n, to: matrix.pointer)
    }
    for i in 0..<n * n { matrix.pointer[i] /= Double(split.count) }
    for i in 0..<n { matrix.pointer[i * n + i] += Self.filterBias }
    Self.replaceByInverseSquareRoot(matrix)
    try self.init(mean: mean.elements.map { Float($0) }, matrix: matrix.elements.map { Float($0) })
  }

  private static func withContrastNormalized(
    _ split: ImageDataset.Split, _ index: Int, _ body: (_ feature: Int, _ value: Double) -> Void
  ) throws {
    try split.withImage(at: index) { _, image in
      guard case .planes(let planes) = image else { preconditionFailure("the split has been whitened") }
      normalizeContrast(planes, body)
    }
  }

  /// Replaces a symmetric matrix whose eigenvalues are at least the filter bias.
  ///
  /// With eigenvectors v and eigenvalues λ it is Σ λ^(−½)·v·vᵀ: the outer products of λ^(−¼)·v, which are exactly
  /// symmetric.
  private static func replaceByInverseSquareRoot(_ matrix: AlignedBuffer<Double>) {
    let n = featureCount
    let vectors = AlignedBuffer<Double>(count: n * n)
    let eigenvalues = AlignedBuffer<Double>(count: n)
    vectors.pointer.update(from: matrix.pointer, count: n * n)
    SymmetricMatrix.diagonalize(vectors.pointer, order: n, eigenvalues: eigenvalues.pointer)
    for k in 0..<n {
      let factor = 1 / eigenvalues.pointer[k].squareRoot().squareRoot()
      for i in 0..<n { vectors.pointer[k * n + i] *= factor }
    }
    matrix.pointer.update(repeating: 0, count: n * n)
    SymmetricMatrix.addOuterProducts(of: vectors.pointer, rows: n, columns: n, to: matrix.pointer)
    SymmetricMatrix.mirrorLowerTriangle(matrix.pointer, order: n)
  }
}
