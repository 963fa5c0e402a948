import Collectives
import Tensors

/// How batch statistics are formed while training.
public enum BatchNormalizationScope: String, Sendable, Codable, CaseIterable {
  /// Over all images of the global batch, as on one device: one small exchange a layer and pass.
  case global
  /// Over each microbatch by itself ("ghost" batch norm, Hoffer et al., arXiv 1705.08741): no exchange while training.
  case microbatch
}

/// Which statistics normalize activations.
public enum NormalizationStatistics: String, Sendable, Codable, CaseIterable {
  /// Those of the batch itself; Trax evaluates this way, too.
  case batch
  /// The running averages collected in training.
  case running
}

/// The state of one batch normalization: partial sums of the local microbatches, and the coefficients computed from them.
///
/// The convolution engine sums over images within a microbatch; the reduction tree sums over microbatches, in Double.
/// Coefficient arrays have one row per local microbatch in scope ``BatchNormalizationScope/microbatch``, and one row for
/// all otherwise.
package final class BatchNormalization {
  /// Added to the variance (trax/layers/normalization.py).
  package static let epsilon = 1e-5
  /// r ← momentum·r + (1 − momentum)·batch value; Trax's WideResnet passes 0.9, PyTorch's default is the same.
  static let momentum: Float = 0.9

  let layer: NormalizationLayer
  private let scope: BatchNormalizationScope
  private let channels: Int
  // Rows of 2·C: Σx and Σx² in the forward pass, Σg' and Σg'·(x − mean) in the backward pass.
  private let partialSums: AlignedBuffer<Double>
  private let totals: AlignedBuffer<Double>
  private let statistics: AlignedBuffer<Double>  // rows of mean, variance
  private let means: AlignedBuffer<Float>
  private let scales: AlignedBuffer<Float>
  private let shifts: AlignedBuffer<Float>
  private let gradientScales: AlignedBuffer<Float>
  private let activationScales: AlignedBuffer<Float>
  private let constants: AlignedBuffer<Float>

  /// Allocates room for `microbatchCount` local microbatches.
  init(_ layer: NormalizationLayer, microbatchCount: Int, scope: BatchNormalizationScope) {
    self.layer = layer
    self.scope = scope
    channels = layer.channels
    let rows = scope == .global ? 1 : microbatchCount
    partialSums = AlignedBuffer(count: microbatchCount * 2 * channels)
    totals = AlignedBuffer(count: 2 * channels)
    statistics = AlignedBuffer(count: rows * 2 * channels)
    means = AlignedBuffer(count: rows * channels)
    scales = AlignedBuffer(count: rows * channels)
    shifts = AlignedBuffer(count: rows * channels)
    gradientScales = AlignedBuffer(count: rows * channels)
    activationScales = AlignedBuffer(count: rows * channels)
    constants = AlignedBuffer(count: rows * channels)
  }

  /// The bytes of this object's buffers.
  var byteCount: Int {
    8 * (partialSums.count + totals.count + statistics.count) + 4 * 6 * means.count
  }

  /// Returns ``byteCount`` before anything is allocated.
  static func byteCount(
    _ layer: NormalizationLayer, microbatchCount: Int, scope: BatchNormalizationScope
  ) -> Int {
    let rows = scope == .global ? 1 : microbatchCount
    return layer.channels * (8 * (2 * microbatchCount + 2 + 2 * rows) + 4 * 6 * rows)
  }

  /// The two sums that the engine writes for local microbatch `m`; those of the next one follow.
  func sums(_ m: Int) -> UnsafeMutablePointer<Double> { partialSums.pointer + m * 2 * channels }

  /// The map from x to z for local microbatch `m` and those after it.
  func normalizedReLU(_ m: Int) -> NormalizedReLU {
    let offset = coefficientOffset(m)
    return NormalizedReLU(
      scale: scales.pointer + offset, shift: shifts.pointer + offset, microbatchStride: coefficientOffset(1))
  }

  /// The destination of the gradient of the ReLU's argument, for local microbatch `m` and those after it.
  ///
  /// If `addend` is given, it is the part of dZ that other readers contributed.
  func inputGradient(
    _ m: Int, _ gradient: UnsafeMutablePointer<Float>, addend: UnsafePointer<Float>? = nil
  ) -> ConvolutionInputGradient {
    ConvolutionInputGradient(
      gradient: gradient, mean: UnsafePointer(means.pointer + coefficientOffset(m)), sums: sums(m),
      addend: addend, microbatchStride: coefficientOffset(1))
  }

  /// The map from the gradient of this normalization's output to that of its input, for local microbatch `m` and
  /// those after it.
  func gradient(_ m: Int, activation: UnsafePointer<Float>) -> NormalizationBackward {
    let offset = coefficientOffset(m)
    return NormalizationBackward(
      activation: activation, gradientScale: gradientScales.pointer + offset,
      activationScale: activationScales.pointer + offset, constant: constants.pointer + offset,
      microbatchStride: coefficientOffset(1))
  }

  /// Turns the forward sums of x into those of `factor`·x.
  func scaleSums(_ m: Int, by factor: Double) {
    let sums = sums(m)
    for c in 0..<channels {
      sums[c] *= factor
      sums[channels + c] *= factor * factor
    }
  }

  /// Starts to reduce the microbatches' Σx and Σx²; ``finishForward(_:pixels:parameters:)`` follows.
  ///
  /// Collective in scope `global`: every rank calls both for the same layer in the same order.
  ///
  /// - Parameter batch: The microbatches of this batch.
  /// - Throws: ``CommunicationError`` if a message fails.
  func startForward(_ batch: LocalBatch) throws {
    guard scope == .global else { return }
    try batch.normReduction.start(partialSums.pointer, count: 2 * channels)
  }

  /// Waits for the reduced sums and computes the map from x to z.
  ///
  /// - Parameters:
  ///   - batch: The microbatches of this batch.
  ///   - pixels: H·W of the normalized tensor.
  ///   - parameters: Scale and shift.
  /// - Throws: ``CommunicationError`` if a message fails.
  func finishForward(_ batch: LocalBatch, pixels: Int, parameters: ParameterStore) throws {
    switch scope {
    case .global:
      try batch.normReduction.finish(into: totals.pointer)
      let count = Double(batch.globalImageCount * pixels)
      setStatistics(row: 0, sums: totals.pointer, count: count)
      setCoefficients(row: 0, parameters: parameters)
    case .microbatch:
      for m in 0..<batch.localCount {
        let count = Double(batch.imageCount(m) * pixels)
        setStatistics(row: m, sums: sums(m), count: count)
        setCoefficients(row: m, parameters: parameters)
      }
    }
  }

  /// Takes mean and variance from the running statistics instead of a batch.
  func useRunningStatistics(_ running: ParameterStore, parameters: ParameterStore) {
    let (mean, variance) = (running[layer.runningMean], running[layer.runningVariance])
    for row in 0..<statistics.count / (2 * channels) {
      let target = statistics.pointer + row * 2 * channels
      for c in 0..<channels {
        target[c] = Double(mean[c])
        target[channels + c] = Double(variance[c])
      }
      setCoefficients(row: row, parameters: parameters)
    }
  }

  /// Whether all means and variances of the last batch are finite.
  var hasFiniteStatistics: Bool { statistics.elements.allSatisfy { $0.isFinite } }

  /// Copies the statistics of the local microbatches to the rows in which those of all layers are reduced at once.
  ///
  /// - Parameters:
  ///   - rows: One row of `stride` numbers per local microbatch.
  ///   - stride: The length of a row.
  func copyStatistics(to rows: UnsafeMutablePointer<Double>, stride: Int) {
    for m in 0..<statistics.count / (2 * channels) {
      (rows + m * stride + layer.statisticsRange.lowerBound).update(
        from: statistics.pointer + m * 2 * channels, count: 2 * channels)
    }
  }

  /// Moves the running statistics towards this batch's: r ← momentum·r + (1 − momentum)·value, with the biased variance.
  ///
  /// - Parameters:
  ///   - running: The running statistics of all layers.
  ///   - momentum: The weight of the old value.
  ///   - sums: In scope `microbatch`, the sums of all microbatches' statistics, of all layers.
  ///   - count: The microbatches of the global batch.
  func updateRunningStatistics(
    _ running: ParameterStore, momentum: Float, sums: UnsafePointer<Double>, count: Int
  ) {
    let own = UnsafePointer(statistics.pointer)
    let batch = scope == .global ? own : sums + layer.statisticsRange.lowerBound
    let weight = scope == .global ? 1 : 1 / Double(count)
    let (mean, variance) = (running[layer.runningMean], running[layer.runningVariance])
    let rest = 1 - momentum
    for c in 0..<channels {
      mean[c] = momentum * mean[c] + rest * Float(batch[c] * weight)
      variance[c] = momentum * variance[c] + rest * Float(batch[channels + c] * weight)
    }
  }

  /// Writes each microbatch's gradients of shift and scale and starts to reduce Σg' and Σg'·(x − mean);
  /// ``finishBackward(_:pixels:parameters:)`` follows.
  ///
  /// Collective in scope `global`: every rank calls both for the same layer in the same order.
  ///
  /// - Parameters:
  ///   - batch: The microbatches of this batch.
  ///   - buffers: The destination of the gradients, shift then scale.
  /// - Throws: ``CommunicationError`` if a message fails.
  func startBackward(_ batch: LocalBatch, _ buffers: GradientBuffers) throws {
    for m in 0..<batch.localCount {
      let variance = statistics.pointer + 2 * coefficientOffset(m) + channels
      let (source, target) = (sums(m), buffers.destination(m, of: layer.range, .normalization))
      for c in 0..<channels {
        target[c] = Float(source[c])
        target[channels + c] = Float(source[channels + c] * Self.inverseDeviation(variance[c]))
      }
    }
    guard scope == .global else { return }
    try batch.normReduction.start(partialSums.pointer, count: 2 * channels)
  }

  /// Waits for the reduced sums and computes the map from g' to the gradient of x.
  ///
  /// With xhat = (x − mean)·invstd, m₁ = mean of g' and m₂ = mean of g'·xhat over the batch, the gradient of x is
  /// gamma·invstd·(g' − m₁ − m₂·xhat).
  ///
  /// - Parameters:
  ///   - batch: The microbatches of this batch.
  ///   - pixels: H·W of the normalized tensor.
  ///   - parameters: Scale and shift.
  /// - Throws: ``CommunicationError`` if a message fails.
  func finishBackward(_ batch: LocalBatch, pixels: Int, parameters: ParameterStore) throws {
    switch scope {
    case .global:
      try batch.normReduction.finish(into: totals.pointer)
      let count = Double(batch.globalImageCount * pixels)
      setGradientCoefficients(row: 0, sums: totals.pointer, count: count, parameters: parameters)
    case .microbatch:
      for m in 0..<batch.localCount {
        let count = Double(batch.imageCount(m) * pixels)
        setGradientCoefficients(row: m, sums: sums(m), count: count, parameters: parameters)
      }
    }
  }

  /// The offset of the first coefficient of local microbatch `m`.
  private func coefficientOffset(_ m: Int) -> Int { scope == .global ? 0 : m * channels }

  private static func inverseDeviation(_ variance: Double) -> Double {
    1 / (variance + epsilon).squareRoot()
  }

  private func setStatistics(row: Int, sums: UnsafePointer<Double>, count: Double) {
    let target = statistics.pointer + row * 2 * channels
    for c in 0..<channels {
      let mean = sums[c] / count
      target[c] = mean
      // The engines add up to about 128 values in single precision before they add in Double. So the variance is off by
      // at most 128 · 2⁻²⁴ ≈ 8e-6 of E[x²], which is 1 % of it where |mean| is 36 deviations. NaN must stay NaN.
      let variance = sums[channels + c] / count - mean * mean
      target[channels + c] = variance < 0 ? 0 : variance
    }
  }

  private func setCoefficients(row: Int, parameters: ParameterStore) {
    let (gamma, beta) = (parameters[layer.scale], parameters[layer.shift])
    let source = statistics.pointer + row * 2 * channels
    for c in 0..<channels {
      let mean = source[c]
      let scale = Double(gamma[c]) * Self.inverseDeviation(source[channels + c])
      means.pointer[row * channels + c] = Float(mean)
      scales.pointer[row * channels + c] = Float(scale)
      shifts.pointer[row * channels + c] = Float(Double(beta[c]) - mean * scale)
    }
  }

  private func setGradientCoefficients(
    row: Int, sums: UnsafePointer<Double>, count: Double, parameters: ParameterStore
  ) {
    let gamma = parameters[layer.scale]
    let source = statistics.pointer + row * 2 * channels
    for c in 0..<channels {
      let inverse = Self.inverseDeviation(source[channels + c])
      let m1 = sums[c] / count
      let m2 = sums[channels + c] * inverse / count
      let ca = Double(gamma[c]) * inverse
      gradientScales.pointer[row * channels + c] = Float(ca)
      activationScales.pointer[row * channels + c] = Float(-ca * m2 * inverse)
      constants.pointer[row * channels + c] = Float(ca * (m2 * inverse * source[c] - m1))
    }
  }
}
