import Tensors

/// The engine of this project's own kernels: tiles for 3×3 kernels of stride 1 and 2, direct products otherwise.
///
/// All instruction sets give the same bits.
public struct NativeConvolutionEngine: ConvolutionEngine {
  /// What the kernels are compiled for.
  public let instructionSet: InstructionSet
  private let kernels: ConvolutionKernelTable

  /// Makes the engine.
  ///
  /// - Precondition: This CPU supports the instruction set.
  public init(_ instructionSet: InstructionSet) {
    self.init(instructionSet, kernels: instructionSet.kernels)
  }

  /// Makes the engine of a table of kernels, whatever they do.
  package init(_ instructionSet: InstructionSet, kernels: ConvolutionKernelTable) {
    self.instructionSet = instructionSet
    self.kernels = kernels
  }

  /// `native`.
  public var name: String { "native" }

  /// `avx512`, `avx2` or `neon`.
  public var instructions: String { instructionSet.rawValue }

  /// Returns what computes a convolution, `winograd`, `polyphase` or `direct`: a function of its shape alone.
  public func algorithm(_ geometry: ConvolutionGeometry) -> String { kernels.algorithm(geometry) }

  /// Returns the floats of a kernel that is transformed or packed for one direction.
  public func packedWeightCount(_ geometry: ConvolutionGeometry) -> Int {
    kernels.packedWeightCount(geometry)
  }

  /// Returns a part for every 16 channels, or one where a kernel is only packed.
  public func packingTaskCount(_ geometry: ConvolutionGeometry) -> Int {
    kernels.packingTaskCount(geometry)
  }

  /// Transforms or packs a part of a kernel.
  public func packWeight(
    _ geometry: ConvolutionGeometry, for direction: ConvolutionDirection, part: Int,
    _ weight: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>
  ) {
    kernels.packWeight(geometry, direction, part, weight, packed)
  }

  /// Returns the images of a unit of tiles, or one.
  public func preferredImageCount(_ geometry: ConvolutionGeometry) -> Int { kernels.preferredImageCount(geometry) }

  /// Returns room for one unit of tiles or one image.
  public func scratchCount(_ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange) -> Int {
    kernels.scratchCount(geometry, microbatches)
  }

  /// Calls the kernels, with operands as in ``ConvolutionEngine``.
  public func forward(
    _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
    weight: UnsafePointer<Float>, packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
    output: ConvolutionOutput, scratch: UnsafeMutablePointer<Float>
  ) {
    kernels.forward(geometry, microbatches, input, packed, bias, output, scratch)
  }

  /// Calls the kernels, with operands as in ``ConvolutionEngine``.
  public func backward(
    _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
    weight: UnsafePointer<Float>, packed: UnsafePointer<Float>,
    outputGradient: ConvolutionOutputGradient, parameterGradient: ConvolutionParameterGradient,
    inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>
  ) {
    kernels.backward(
      geometry, microbatches, input, packed, outputGradient, parameterGradient, inputGradient, scratch)
  }
}
