import Tensors

/// The engine of this project's own kernels: Winograd and polyphase tiles for 3×3 convolutions of stride 1 and 2, one GEMM
/// over all pixels for 1×1 convolutions, direct GEMMs otherwise.
///
/// All instruction sets give bitwise identical results.
public struct NativeConvolutionEngine: ConvolutionEngine {
  /// The instruction set that the kernels are compiled for.
  public let instructionSet: InstructionSet
  private let kernels: ConvolutionKernelTable
  private let ticks: PhaseTicks?

  /// Creates the engine.
  ///
  /// - Precondition: This CPU supports the instruction set.
  public init(_ instructionSet: InstructionSet) {
    self.init(instructionSet, kernels: instructionSet.kernels)
  }

  /// Creates the engine of any table of kernels.
  ///
  /// - Parameters:
  ///   - instructionSet: The instruction set that the kernels are compiled for.
  ///   - kernels: The kernels.
  ///   - ticks: Where the time of each phase is added; then one thread at a time may use the engine. If `nil`, it is not
  ///     measured.
  package init(_ instructionSet: InstructionSet, kernels: ConvolutionKernelTable, recording ticks: PhaseTicks? = nil) {
    self.instructionSet = instructionSet
    self.kernels = kernels
    self.ticks = ticks
  }

  /// `native`.
  public var name: String { "native" }

  /// `avx512`, `avx2` or `neon`.
  public var instructions: String { instructionSet.rawValue }

  /// Returns the algorithm of a convolution, `winograd`, `polyphase`, `pointwise` or `direct`: a function of its shape alone.
  public func algorithm(_ geometry: ConvolutionGeometry) -> String { kernels.algorithm(geometry) }

  /// Returns the floats of a weight that is transformed or packed for one direction.
  public func packedWeightCount(_ geometry: ConvolutionGeometry) -> Int {
    kernels.packedWeightCount(geometry)
  }

  /// Returns one task per 16 channels, or one where a weight is only packed.
  public func packingTaskCount(_ geometry: ConvolutionGeometry) -> Int {
    kernels.packingTaskCount(geometry)
  }

  /// Transforms or packs the weights of one task.
  public func packWeight(
    _ geometry: ConvolutionGeometry, for direction: ConvolutionDirection, task: Int,
    _ weight: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>
  ) {
    kernels.packWeight(geometry, direction, task, weight, packed)
  }

  /// Returns the images of a tile block, or 1.
  public func preferredImageCount(_ geometry: ConvolutionGeometry) -> Int { kernels.preferredImageCount(geometry) }

  /// Returns the floats of one tile block or one image.
  public func scratchCount(_ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange) -> Int {
    kernels.scratchCount(geometry, microbatches)
  }

  /// Calls the kernels, with operands as in ``ConvolutionEngine``.
  public func forward(
    _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
    weight: UnsafePointer<Float>, packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
    output: ConvolutionOutput, scratch: UnsafeMutablePointer<Float>
  ) {
    kernels.forward(geometry, microbatches, input, packed, bias, output, scratch, ticks)
  }

  /// Calls the kernels, with operands as in ``ConvolutionEngine``.
  public func backward(
    _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
    weight: UnsafePointer<Float>, packed: UnsafePointer<Float>,
    outputGradient: ConvolutionOutputGradient, parameterGradient: ConvolutionParameterGradient,
    inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>
  ) {
    kernels.backward(
      geometry, microbatches, input, packed, outputGradient, parameterGradient, inputGradient, scratch, ticks)
  }

  /// Calls the vectorized kernel.
  public func fillDropoutMask(
    _ stream: DropoutStream, _ words: UnsafeMutablePointer<UInt16>, wordCount: Int, step: Int, sample: Int
  ) {
    kernels.fillDropoutMask(stream, words, wordCount, step, sample)
  }
}
