import Models
import Tensors

/// The rounding errors of an engine over one shape, against float64 and beside plain fp32.
public struct AccuracyStudy: Sendable {
  /// One operation.
  public struct Entry: Sendable {
    /// y, the input's or the kernel's gradient.
    public let operation: Operation
    /// Of the engine.
    public let engine: ApproximationError
    /// Of plain fp32 loops.
    public let plain: ApproximationError
  }

  /// The convolution.
  public let geometry: ConvolutionGeometry
  /// Forward, input gradient (but for the stem), weight gradient.
  public let entries: [Entry]

  /// Computes an example three times.
  ///
  /// Inputs are rectified and output gradients normally distributed, kernels as He's rule draws them.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - imageCount: The images of a microbatch; the kernel's gradient is a sum over all of them.
  ///   - engine: What is studied.
  public init(
    _ geometry: ConvolutionGeometry, imageCount: Int, engine: any ConvolutionEngine
  ) {
    let example = ConvolutionExample(geometry, imageCount: imageCount, maps: .trivial)
    let exact = example.exactResults()
    let found = example.results(of: engine)
    let plain = NaiveConvolution.results(example)
    func entry(_ operation: Operation, _ tensor: (ConvolutionResults<Float>) -> [Float], _ exact: [Double]) -> Entry? {
      exact.isEmpty
        ? nil
        : Entry(
          operation: operation, engine: ApproximationError(tensor(found), exact: exact),
          plain: ApproximationError(tensor(plain), exact: exact))
    }
    self.geometry = geometry
    entries = [
      entry(.forward, { $0.output }, exact.output),
      entry(.inputGradient, { $0.inputGradient }, exact.inputGradient),
      entry(.weightGradient, { $0.weightGradient }, exact.weightGradient),
    ].compactMap { $0 }
  }
}

/// How far numbers are from the exact ones.
public struct ApproximationError: Sendable, Hashable {
  /// The Euclidean norm of the differences over that of the exact numbers.
  public let relativeL2: Double
  /// The largest difference over the root mean square of the exact numbers.
  public let worst: Double

  /// Measures an error; anything that is not a number makes it infinite.
  ///
  /// - Precondition: Both have the same count.
  public init(_ found: [Float], exact: [Double]) {
    precondition(found.count == exact.count, "\(found.count) numbers against \(exact.count)")
    var (errors, squares, worst) = (0.0, 0.0, 0.0)
    for (value, exact) in zip(found, exact) {
      let error = abs(Double(value) - exact)
      guard error.isFinite else {
        self.init(relativeL2: .infinity, worst: .infinity)
        return
      }
      errors += error * error
      squares += exact * exact
      worst = max(worst, error)
    }
    // All of them exact, also where nothing but zeros was expected.
    guard worst > 0 else {
      self.init(relativeL2: 0, worst: 0)
      return
    }
    self.init(
      relativeL2: (errors / squares).squareRoot(),
      worst: worst / (squares / Double(exact.count)).squareRoot())
  }

  private init(relativeL2: Double, worst: Double) {
    self.relativeL2 = relativeL2
    self.worst = worst
  }
}
