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
    let plain = PlainConvolution.results(example)
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
