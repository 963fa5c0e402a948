/// The dispatch table of one kernel build: the same convolution functions, compiled for one instruction set.
///
/// The program selects a build at start and calls it only through this table. No instruction of a wider build can
/// therefore reach code that runs on every CPU. The functions have no state.
public struct ConvolutionKernelTable: Sendable {
  /// Performs one packing task of a weight: geometry, direction, index of the packing task, weight (`RSCK`), packed weight.
  public typealias PackWeight =
    @Sendable (
      ConvolutionGeometry, ConvolutionDirection, Int, UnsafePointer<Float>,
      UnsafeMutablePointer<Float>
    ) -> Void
  /// The forward pass: geometry, microbatches, input, packed weight, bias (K values), output, scratch, ticks of the phases.
  public typealias Forward =
    @Sendable (
      ConvolutionGeometry, MicrobatchRange, ConvolutionInput, UnsafePointer<Float>, UnsafePointer<Float>?,
      ConvolutionOutput, UnsafeMutablePointer<Float>, PhaseTicks?
    ) -> Void
  /// The backward pass: geometry, microbatches, input, packed weight, output gradient, parameter gradients, input
  /// gradient, scratch, ticks of the phases.
  public typealias Backward =
    @Sendable (
      ConvolutionGeometry, MicrobatchRange, ConvolutionInput, UnsafePointer<Float>,
      ConvolutionOutputGradient, ConvolutionParameterGradient, ConvolutionInputGradient?,
      UnsafeMutablePointer<Float>, PhaseTicks?
    ) -> Void

  /// Writes the dropout mask of one sample: stream, words, their number, step, sample.
  public typealias FillDropoutMask =
    @Sendable (DropoutStream, UnsafeMutablePointer<UInt16>, Int, Int, Int) -> Void

  /// Returns the algorithm for a geometry: `winograd`, `polyphase`, `pointwise` or `direct`.
  public let algorithm: @Sendable (ConvolutionGeometry) -> String
  /// Returns the floats of a packed weight, equal for both directions.
  public let packedWeightCount: @Sendable (ConvolutionGeometry) -> Int
  /// Returns the number of independent tasks into which packing a weight divides.
  public let packingTaskCount: @Sendable (ConvolutionGeometry) -> Int
  /// Performs one packing task.
  public let packWeight: PackWeight
  /// Returns the preferred number of images per call; smaller calls are correct but slower.
  public let preferredImageCount: @Sendable (ConvolutionGeometry) -> Int
  /// Returns the floats of scratch memory for a geometry and microbatch ranges up to the given one.
  public let scratchCount: @Sendable (ConvolutionGeometry, MicrobatchRange) -> Int
  /// Computes the output and its per-channel sums.
  public let forward: Forward
  /// Computes the gradients with respect to weight, bias and input.
  public let backward: Backward
  /// Writes a dropout mask, bitwise identical to ``DropoutStream/fill(_:wordCount:step:sample:)``.
  public let fillDropoutMask: FillDropoutMask

  /// Creates a table from its functions.
  public init(
    algorithm: @escaping @Sendable (ConvolutionGeometry) -> String,
    packedWeightCount: @escaping @Sendable (ConvolutionGeometry) -> Int,
    packingTaskCount: @escaping @Sendable (ConvolutionGeometry) -> Int,
    packWeight: @escaping PackWeight,
    preferredImageCount: @escaping @Sendable (ConvolutionGeometry) -> Int,
    scratchCount: @escaping @Sendable (ConvolutionGeometry, MicrobatchRange) -> Int,
    forward: @escaping Forward, backward: @escaping Backward, fillDropoutMask: @escaping FillDropoutMask
  ) {
    self.algorithm = algorithm
    self.packedWeightCount = packedWeightCount
    self.packingTaskCount = packingTaskCount
    self.packWeight = packWeight
    self.preferredImageCount = preferredImageCount
    self.scratchCount = scratchCount
    self.forward = forward
    self.backward = backward
    self.fillDropoutMask = fillDropoutMask
  }

  /// Returns a copy of the table with other functions, for example faulty ones that a test expects a check to detect.
  ///
  /// - Parameters:
  ///   - forward: The replacement of ``forward``. If `nil`, it is kept.
  ///   - backward: The replacement of ``backward``. If `nil`, it is kept.
  ///   - fillDropoutMask: The replacement of ``fillDropoutMask``. If `nil`, it is kept.
  /// - Returns: The new table.
  public func replacing(
    forward: Forward? = nil, backward: Backward? = nil, fillDropoutMask: FillDropoutMask? = nil
  ) -> ConvolutionKernelTable {
    ConvolutionKernelTable(
      algorithm: algorithm, packedWeightCount: packedWeightCount,
      packingTaskCount: packingTaskCount, packWeight: packWeight,
      preferredImageCount: preferredImageCount, scratchCount: scratchCount,
      forward: forward ?? self.forward, backward: backward ?? self.backward,
      fillDropoutMask: fillDropoutMask ?? self.fillDropoutMask)
  }
}

/// The roofline loops of one kernel build: multiply-adds in registers, and streams of memory.
///
/// Their rates are the two limits of the roofline model (Williams, Waterman and Patterson, CACM 52, 2009).
public struct RooflineKernels: Sendable {
  /// The multiply-adds per iteration of ``multiplyAdd``.
  public let multiplyAddsPerIteration: Int
  /// Performs the given number of iterations of independent multiply-adds and returns a value that depends on all.
  public let multiplyAdd: @Sendable (Int) -> Float
  /// Computes a = b + ½·c: a, b, c, and their element count, a multiple of 16.
  public let triad: @Sendable (UnsafeMutablePointer<Float>, UnsafePointer<Float>, UnsafePointer<Float>, Int) -> Void

  /// Creates a table from its functions.
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
