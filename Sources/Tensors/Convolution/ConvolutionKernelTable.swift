/// The convolution kernels of one build: the same functions compiled for one instruction set.
///
/// The program picks a build at start and calls it through this table, so that no instruction of a wider build can slip
/// into code that runs everywhere. The functions have no state; operands are those of the convolution engines.
public struct ConvolutionKernelTable: Sendable {
  /// Brings a part of a kernel into the build's own form: geometry, direction, part, `RSCK`, target.
  public typealias PrepareWeight =
    @Sendable (
      ConvolutionGeometry, ConvolutionDirection, Int, UnsafePointer<Float>,
      UnsafeMutablePointer<Float>
    ) -> Void
  /// Forward: geometry, span, input, prepared kernel, bias, output, scratch.
  public typealias Forward =
    @Sendable (
      ConvolutionGeometry, MicrobatchRange, ConvolutionInput, UnsafePointer<Float>, UnsafePointer<Float>?,
      ConvolutionOutput, UnsafeMutablePointer<Float>
    ) -> Void
  /// Backward: geometry, span, input, prepared kernel, output gradient, dW and dB, input gradient, scratch.
  public typealias Backward =
    @Sendable (
      ConvolutionGeometry, MicrobatchRange, ConvolutionInput, UnsafePointer<Float>,
      ConvolutionOutputGradient, ConvolutionParameterGradient, ConvolutionInputGradient?,
      UnsafeMutablePointer<Float>
    ) -> Void

  /// The algorithm for a geometry, `winograd`, `polyphase` or `direct`.
  public let algorithm: @Sendable (ConvolutionGeometry) -> String
  /// The floats of a kernel in the build's own form, whatever the direction.
  public let packedWeightCount: @Sendable (ConvolutionGeometry) -> Int
  /// The parts in which a kernel is prepared, each on its own.
  public let packingTaskCount: @Sendable (ConvolutionGeometry) -> Int
  /// Brings a part of a kernel into the build's own form.
  public let packWeight: PrepareWeight
  /// The images that one call had best be given, if that many are one thread's; fewer cost time only.
  public let preferredImageCount: @Sendable (ConvolutionGeometry) -> Int
  /// The floats of scratch memory for a geometry and spans up to this one.
  public let scratchCount: @Sendable (ConvolutionGeometry, MicrobatchRange) -> Int
  /// Computes y and its sums.
  public let forward: Forward
  /// Computes the gradients.
  public let backward: Backward

  /// Makes a table.
  public init(
    algorithm: @escaping @Sendable (ConvolutionGeometry) -> String,
    packedWeightCount: @escaping @Sendable (ConvolutionGeometry) -> Int,
    packingTaskCount: @escaping @Sendable (ConvolutionGeometry) -> Int,
    packWeight: @escaping PrepareWeight,
    preferredImageCount: @escaping @Sendable (ConvolutionGeometry) -> Int,
    scratchCount: @escaping @Sendable (ConvolutionGeometry, MicrobatchRange) -> Int,
    forward: @escaping Forward, backward: @escaping Backward
  ) {
    self.algorithm = algorithm
    self.packedWeightCount = packedWeightCount
    self.packingTaskCount = packingTaskCount
    self.packWeight = packWeight
    self.preferredImageCount = preferredImageCount
    self.scratchCount = scratchCount
    self.forward = forward
    self.backward = backward
  }

  /// Returns this table with other passes, to see what a check makes of them.
  ///
  /// - Parameters:
  ///   - forward: In place of ``forward``.
  ///   - backward: In place of ``backward``; nil: the same.
  /// - Returns: The table.
  public func replacing(
    forward: @escaping Forward, backward: Backward? = nil
  ) -> ConvolutionKernelTable {
    ConvolutionKernelTable(
      algorithm: algorithm, packedWeightCount: packedWeightCount,
      packingTaskCount: packingTaskCount, packWeight: packWeight,
      preferredImageCount: preferredImageCount, scratchCount: scratchCount, forward: forward,
      backward: backward ?? self.backward)
  }
}

/// Loops of one build that do nothing but what limits kernels: multiply-adds in registers, streams of memory.
public struct RooflineKernels: Sendable {
  /// The multiply-adds of one turn of ``multiplyAdd``.
  public let multiplyAddsPerIteration: Int
  /// Makes so many turns of independent multiply-adds and returns a number that depends on all of them.
  public let multiplyAdd: @Sendable (Int) -> Float
  /// Computes a = b + ½·c for so many numbers, a multiple of 16: a, b, c, count.
  public let triad: @Sendable (UnsafeMutablePointer<Float>, UnsafePointer<Float>, UnsafePointer<Float>, Int) -> Void

  /// Makes a table.
  public init(
    multiplyAddsPerIteration: Int, multiplyAdd: @escaping @Sendable (Int) -> Float,
    triad:
      @escaping @Sendable (
        UnsafeMutablePointer<Float>, UnsafePointer<Float>, UnsafePointer<Float>, Int
      ) -> Void
  ) {
    self.multiplyAddsPerIteration = multiplyAddsPerIteration
    self.multiplyAdd = multiplyAdd
    self.triad = triad
  }
}
