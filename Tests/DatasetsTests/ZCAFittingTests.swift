import Datasets
import Foundation
import Tensors
import TestSupport
import Testing

/// Fitting a whitening to 24 images, compared with NumPy and, element by element, with an independent closed form.
@Suite struct ZCAFittingTests {
  private static let imageCount = 24
  private static let n = ZCAWhitening.featureCount

  /// The bytes of an image, `CHW`; `Fixtures/generate.py` has the same formula.
  private static func planes(_ number: Int) -> [UInt8] {
    (0..<n).map { i in
      let (channel, y, x) = (i / 1024, i / 32 % 32, i % 32)
      let noise = (UInt64(number * n + i) * 2_654_435_761 % (1 << 32)) >> 26
      return UInt8(Int(noise) + (y * (number % 5) + x * (number % 3 + 1) + 40 * channel) % 192)
    }
  }

  /// Fitted once, because it takes several seconds.
  private static let fitted = Result { () throws -> (ImageDataset.Split, ZCAWhitening) in
    let directory = try TemporaryDirectory()
    let bytes = (0..<imageCount).flatMap { [UInt8($0 % 10)] + planes($0) }
    for name in ["data_batch_1.bin", "test_batch.bin"] {
      try Data(bytes).write(to: directory.url.appendingPathComponent(name))
    }
    // The mapped files outlive the directory.
    let split = try ImageDataset(directory: directory.path).training
    return (split, try ZCAWhitening(fittedTo: split))
  }

  @Test func numbersEqualThoseOfNumPy() throws {
    let (split, whitening) = try Self.fitted.get()
    let matrix = whitening.matrix
    let images = AlignedBuffer<Float>(count: Self.imageCount * Self.n)
    let pipeline = ImagePipeline(normalization: .zca(whitening))
    for index in 0..<Self.imageCount {
      #expect(try pipeline.readTest(split, at: index, into: images.pointer + index * Self.n) == UInt8(index % 10))
    }
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures/zca.txt")
    var counts: [String: Int] = [:]
    for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
      let words = line.split(separator: " ")
      let indices = words[1..<words.count - 1].compactMap { Int($0) }
      let expected = try #require(Double(words[words.count - 1]))
      let value =
        switch words[0] {
        case "mean": whitening.mean[indices[0]]
        case "matrix": matrix[indices[0] * Self.n + indices[1]]
        default: images.elements[indices[0] * Self.n + indices[1]]
        }
      // Values are rounded to Float once. An image's output is a sum of 3,072 terms, whose magnitudes add up to about 10,
      // with the limit of ZCAWhiteningTests.
      let limit = words[0] == "image" ? 1e-5 : 1e-7 * abs(expected) + 1e-10
      #expect(abs(Double(value) - expected) <= limit, "\(line)")
      counts[String(words[0]), default: 0] += 1
    }
    #expect(counts == ["mean": 64, "matrix": 128, "image": 192])
  }

  /// With few images, P has a closed form: 0.1^(−½)·I, changed along the images' span alone.
  ///
  /// With centered images X and their Gram matrix X·Xᵀ/N = U·Λ·Uᵀ, P = 0.1^(−½)·I + Xᵀ·U·D·Uᵀ·X, where
  /// D = ((λ + 0.1)^(−½) − 0.1^(−½)) / (N·λ). The eigenvectors come from Jacobi's method, below.
  @Test func everyElementOfTheMatrix() throws {
    let (count, n) = (Self.imageCount, Self.n)
    let (mean, centered) = Self.centeredImages()
    var gram = (0..<count).map { a in
      (0..<count).map { b in zip(centered[a], centered[b]).reduce(0) { $0 + $1.0 * $1.1 } / Double(count) }
    }
    let vectors = Self.diagonalize(&gram)
    let base = 1 / 0.1.squareRoot()
    // Rows: Uᵀ·X and the same times D.
    var (rows, scaled): ([[Double]], [[Double]]) = ([], [])
    for k in 0..<count where gram[k][k] > 1e-9 {
      let row = (0..<n).map { i in (0..<count).reduce(0) { $0 + vectors[$1][k] * centered[$1][i] } }
      let factor = (1 / (gram[k][k] + 0.1).squareRoot() - base) / (Double(count) * gram[k][k])
      rows.append(row)
      scaled.append(row.map { factor * $0 })
    }
    // Subtracting the mean image leaves one image less.
    #expect(rows.count == count - 1)
    let (_, whitening) = try Self.fitted.get()
    for i in 0..<n { #expect(abs(Double(whitening.mean[i]) - mean[i]) <= 1e-7 * abs(mean[i]) + 1e-12) }
    let matrix = whitening.matrix
    var worst = 0.0
    for i in 0..<n {
      var expected = [Double](repeating: 0, count: n)
      expected[i] = base
      for k in rows.indices {
        let weight = scaled[k][i]
        for j in 0..<n { expected[j] += weight * rows[k][j] }
      }
      for j in 0..<n {
        #expect(matrix[i * n + j] == matrix[j * n + i])
        worst = max(worst, abs(Double(matrix[i * n + j]) - expected[j]) / (1e-7 * abs(expected[j]) + 1e-10))
      }
    }
    #expect(worst <= 1)
  }

  /// Returns the mean of the contrast-normalized images and the images minus it, `HWC`, from the definition.
  private static func centeredImages() -> (mean: [Double], centered: [[Double]]) {
    var images = (0..<imageCount).map { number in
      let planes = planes(number)
      let pixels = (0..<n).map { Double(planes[$0 % 3 * 1024 + $0 / 3]) }
      let mean = pixels.reduce(0, +) / Double(n)
      let norm = pixels.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }.squareRoot()
      return pixels.map { 55 * ($0 - mean) / norm }
    }
    let mean = (0..<n).map { i in images.reduce(0) { $0 + $1[i] } / Double(imageCount) }
    for k in images.indices {
      for i in 0..<n { images[k][i] -= mean[i] }
    }
    return (mean, images)
  }

  /// Jacobi's method: rotates a symmetric matrix until it is diagonal, and returns the rotations' product.
  private static func diagonalize(_ matrix: inout [[Double]]) -> [[Double]] {
    let count = matrix.count
    var vectors = (0..<count).map { i in (0..<count).map { $0 == i ? 1.0 : 0 } }
    for _ in 0..<20 {
      for p in 0..<count {
        for q in p + 1..<count where matrix[p][q] != 0 {
          let theta = (matrix[q][q] - matrix[p][p]) / (2 * matrix[p][q])
          let t = (theta < 0 ? -1 : 1) / (abs(theta) + (theta * theta + 1).squareRoot())
          let c = 1 / (t * t + 1).squareRoot()
          let s = t * c
          func rotate(_ a: Double, _ b: Double) -> (Double, Double) { (c * a - s * b, s * a + c * b) }
          for k in 0..<count { (matrix[k][p], matrix[k][q]) = rotate(matrix[k][p], matrix[k][q]) }
          for k in 0..<count { (matrix[p][k], matrix[q][k]) = rotate(matrix[p][k], matrix[q][k]) }
          for k in 0..<count { (vectors[k][p], vectors[k][q]) = rotate(vectors[k][p], vectors[k][q]) }
        }
      }
    }
    return vectors
  }
}
