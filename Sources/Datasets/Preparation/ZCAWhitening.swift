import Support
import Tensors

/// Global contrast normalization and ZCA whitening, as pylearn2 prepares CIFAR-10 (`make_cifar10_gcn_whitened.py`).
///
/// An image x of 3,072 values becomes g = 55·(x − mean(x)) / ‖x − mean(x)‖. The result is (g − μ)·P, with μ the mean of g
/// over the training images and P = (C + 0.1·I)^(−½), where C is their covariance.
///
/// Fitting uses OpenBLAS, whose last bits differ between CPUs. So one rank must fit and send ``mean`` and ``matrix`` to the
/// others, and a checkpoint must hold them. Applying is bitwise identical on every CPU: each output is one chain of
/// additions in a fixed order. It takes 9.4 million multiply-adds, 1.2 ms per image, so prefer
/// ``ImageDataset/Split/whitened(by:parallelFor:)`` to whitening at every use.
///
/// Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, appendix A; Goodfellow et al., "Pylearn2: a
/// machine learning research library", arXiv 1308.4214.
public final class ZCAWhitening: Sendable {
  /// The values of an image.
  public static let featureCount = 3 * ImageDataset.imageSize * ImageDataset.imageSize
  /// The norm of an image after global contrast normalization.
  package static let contrastScale = 55.0
  /// The multiple of the identity that is added to the covariance.
  static let filterBias = 0.1
  /// The outputs that one pass over an image computes.
  private static let panelWidth = 8

  /// The mean of the contrast-normalized training images, μ, `HWC`.
  public let mean: [Float]
  /// P by panels of 8 columns, `[panel, row, 8]`, so that the rows of a panel are contiguous.
  private let panels: AlignedBuffer<Float>

  /// Creates a whitening from its numbers.
  ///
  /// - Parameters:
  ///   - mean: μ, `HWC`, 3,072 values.
  ///   - matrix: P, 3,072 rows and columns, row by row; features in the order `HWC`.
  /// - Throws: ``DatasetError`` if a count is wrong or a value is not finite.
  public init(mean: [Float], matrix: [Float]) throws {
    let n = Self.featureCount
    guard mean.count == n, matrix.count == n * n, (mean + matrix).allSatisfy(\.isFinite) else {
      throw DatasetError(
        "a ZCA whitening needs \(n) finite means and \(n * n) finite weights; fit it again.")
    }
    self.mean = mean
    panels = AlignedBuffer(count: n * n)
    for panel in 0..<n / Self.panelWidth {
      for row in 0..<n {
        for j in 0..<Self.panelWidth {
          panels.pointer[(panel * n + row) * Self.panelWidth + j] = matrix[row * n + panel * Self.panelWidth + j]
        }
      }
    }
  }

  /// The matrix P, 3,072 rows and columns, row by row; symmetric.
  public var matrix: [Float] {
    let n = Self.featureCount
    return (0..<n).flatMap { row in
      (0..<n).map { column in
        panels.pointer[(column / Self.panelWidth * n + row) * Self.panelWidth + column % Self.panelWidth]
      }
    }
  }

  /// Whitens one image.
  ///
  /// - Parameters:
  ///   - planes: Raw values, `CHW`, 3,072 bytes.
  ///   - output: The destination, `HWC`, 3,072 values.
  public func apply(to planes: UnsafePointer<UInt8>, into output: UnsafeMutablePointer<Float>) {
    var centered = InlineArray<3072, Float>(repeating: 0)
    withUnsafeMutableBytes(of: &centered) { bytes in
      guard let centered = bytes.assumingMemoryBound(to: Float.self).baseAddress else { return }
      center(planes, into: centered)
      multiply(centered, imageCount: 1, into: output)
    }
  }

  /// Writes g − μ of an image, `HWC`.
  func center(_ planes: UnsafePointer<UInt8>, into output: UnsafeMutablePointer<Float>) {
    Self.normalizeContrast(planes) { feature, value in output[feature] = Float(value) - mean[feature] }
  }

  /// Calls a body with every value of g, by its index in `HWC`.
  ///
  /// A sum of bytes is exact; the sum of squares is added in a fixed order.
  @inline(__always)
  static func normalizeContrast(_ planes: UnsafePointer<UInt8>, _ body: (_ feature: Int, _ value: Double) -> Void) {
    let sum = (0..<featureCount).reduce(0) { $0 + Int(planes[$1]) }
    let mean = Double(sum) / Double(featureCount)
    var square = 0.0
    for i in 0..<featureCount {
      let difference = Double(planes[i]) - mean
      square += difference * difference
    }
    // An image of one color stays zero, as in pylearn2.
    let divisor = square.squareRoot() / contrastScale
    let factor = divisor < 1e-8 ? 1 : 1 / divisor
    for pixel in 0..<1024 {
      for c in 0..<3 { body(3 * pixel + c, (Double(planes[1024 * c + pixel]) - mean) * factor) }
    }
  }

  /// Multiplies centered images by P: output o of an image is Σ input i · P[i, o], added in the order of i.
  ///
  /// - Parameters:
  ///   - centered: The images, `NHWC`.
  ///   - imageCount: The number of images. The more, the fewer times P is read per image.
  ///   - output: The destination, `NHWC`.
  func multiply(
    _ centered: UnsafePointer<Float>, imageCount: Int, into output: UnsafeMutablePointer<Float>
  ) {
    let n = Self.featureCount
    for panel in 0..<n / Self.panelWidth {
      // 96 KiB, which stay in the L2 cache for all images.
      let weights = panels.pointer + panel * n * Self.panelWidth
      var image = 0
      // Four images at once: four independent chains hide the latency of additions.
      while image + 4 <= imageCount {
        let input = centered + image * n
        var sums: (SIMD8<Float>, SIMD8<Float>, SIMD8<Float>, SIMD8<Float>) = (.zero, .zero, .zero, .zero)
        for i in 0..<n {
          let row = SIMD8<Float>(loading: weights + i * Self.panelWidth)
          sums.0 += input[i] * row
          sums.1 += input[n + i] * row
          sums.2 += input[2 * n + i] * row
          sums.3 += input[3 * n + i] * row
        }
        let target = output + image * n + panel * Self.panelWidth
        sums.0.store(to: target)
        sums.1.store(to: target + n)
        sums.2.store(to: target + 2 * n)
        sums.3.store(to: target + 3 * n)
        image += 4
      }
      while image < imageCount {
        var sum = SIMD8<Float>.zero
        for i in 0..<n {
          sum += centered[image * n + i] * SIMD8<Float>(loading: weights + i * Self.panelWidth)
        }
        sum.store(to: output + image * n + panel * Self.panelWidth)
        image += 1
      }
    }
  }
}
