import Models
import Tensors

/// The rounding errors of an engine on one shape, relative to float64, next to those of a naive fp32 implementation.
public struct AccuracyStudy: Sendable {
  /// The errors of one operation.
  public struct Entry: Sendable {
    /// Forward, input gradient or weight gradient.
    public let operation: Operation
    /// The engine's error.
    public let engine: ApproximationError
    /// The error of the naive fp32 implementation.
    public let naive: ApproximationError
  }

  /// The convolution.
  public let geometry: ConvolutionGeometry
  /// Forward, input gradient (not for the stem), weight gradient.
  public let entries: [Entry]

  /// Computes an example by definition in float64, with the engine and with the naive implementation.
  ///
  /// Inputs are ReLUs of normally distributed numbers, output gradients are normally distributed, weights follow He's
  /// initialization.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - imageCount: The images of one microbatch; the weight gradient is a sum over all of them.
  ///   - engine: The engine to study.
  public init(
    _ geometry: ConvolutionGeometry, imageCount: Int, engine: any ConvolutionEngine
  ) {
    let example = ConvolutionExample(geometry, imageCount: imageCount, maps: .trivial)
    let exact = example.exactResults()
    let results = example.results(of: engine)
    let naive = NaiveConvolution.results(example)
    func entry(_ operation: Operation, _ tensor: (ConvolutionResults<Float>) -> [Float], _ exact: [Double]) -> Entry? {
      exact.isEmpty
        ? nil
        : Entry(
          operation: operation, engine: ApproximationError(tensor(results), exact: exact),
          naive: ApproximationError(tensor(naive), exact: exact))
    }
    self.geometry = geometry
    entries = [
      entry(.forward, { $0.output }, exact.output),
      entry(.inputGradient, { $0.inputGradient }, exact.inputGradient),
      entry(.weightGradient, { $0.weightGradient }, exact.weightGradient),
    ].compactMap { $0 }
  }
}

/// The error of approximate numbers relative to the exact ones.
public struct ApproximationError: Sendable, Hashable {
  /// The L2 norm of the differences over that of the exact numbers.
  public let relativeL2: Double
  /// The largest absolute difference over the root mean square (RMS) of the exact numbers.
  public let maxOverRMS: Double

  /// Computes the error; it is infinite if any value is NaN or infinite.
  ///
  /// - Precondition: Both arrays have the same count.
  public init(_ values: [Float], exact: [Double]) {
    precondition(values.count == exact.count, "\(values.count) values, \(exact.count) exact ones")
    var (errors, squares, largest) = (0.0, 0.0, 0.0)
    for (value, exact) in zip(values, exact) {
      let error = abs(Double(value) - exact)
      guard error.isFinite else {
        self.init(relativeL2: .infinity, maxOverRMS: .infinity)
        return
      }
      errors += error * error
      squares += exact * exact
      largest = max(largest, error)
    }
    // Without errors the quotients are 0, also for exact zeros.
    guard largest > 0 else {
      self.init(relativeL2: 0, maxOverRMS: 0)
      return
    }
    self.init(
      relativeL2: (errors / squares).squareRoot(),
      maxOverRMS: largest / (squares / Double(exact.count)).squareRoot())
  }

  private init(relativeL2: Double, maxOverRMS: Double) {
    self.relativeL2 = relativeL2
    self.maxOverRMS = maxOverRMS
  }
}
