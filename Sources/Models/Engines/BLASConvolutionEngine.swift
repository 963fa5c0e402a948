import BLASKernels
import Tensors

/// The portable engine: im2col and OpenBLAS.
public struct BLASConvolutionEngine: ConvolutionEngine {
  /// Creates the engine and makes OpenBLAS compute every GEMM on the calling thread.
  public init() { BLASLibrary.useOneThreadPerProduct() }

  /// `blas`.
  public var name: String { "blas" }

  /// The CPU family whose kernels OpenBLAS chose, in its words.
  public var instructions: String { BLASLibrary.microarchitecture }

  /// Returns 0: the GEMMs read `RSCK` directly.
  public func packedWeightCount(_ geometry: ConvolutionGeometry) -> Int { 0 }

  /// Returns 0: there is nothing to pack.
  public func packingTaskCount(_ geometry: ConvolutionGeometry) -> Int { 0 }

  /// Does nothing.
  public func packWeight(
    _ geometry: ConvolutionGeometry, for direction: ConvolutionDirection, task: Int,
    _ weight: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>
  ) {}

  /// Returns 1: every GEMM is of one microbatch.
  public func preferredImageCount(_ geometry: ConvolutionGeometry) -> Int { 1 }

  /// Returns the floats of one block of unfolded images.
  public func scratchCount(_ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange) -> Int {
    BLASConvolution.scratchCount(geometry, imageCount: microbatches.images(of: 0).count)
  }

  /// Calls ``BLASConvolution`` for each microbatch, with operands as in ``ConvolutionEngine``.
  public func forward(
    _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
    weight: UnsafePointer<Float>, packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
    output: ConvolutionOutput, scratch: UnsafeMutablePointer<Float>
  ) {
    for m in 0..<microbatches.microbatchCount {
      BLASConvolution.forward(
        geometry, imageCount: microbatches.images(of: m).count,
        input: input.microbatch(m, of: microbatches, geometry), weight: weight, bias: bias,
        output: output.microbatch(m, of: microbatches, geometry), scratch: scratch)
    }
  }

  /// Calls ``BLASConvolution`` for each microbatch, with operands as in ``ConvolutionEngine``.
  public func backward(
    _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
    weight: UnsafePointer<Float>, packed: UnsafePointer<Float>,
    outputGradient: ConvolutionOutputGradient, parameterGradient: ConvolutionParameterGradient,
    inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>
  ) {
    for m in 0..<microbatches.microbatchCount {
      BLASConvolution.backward(
        geometry, imageCount: microbatches.images(of: m).count,
        input: input.microbatch(m, of: microbatches, geometry), weight: weight,
        outputGradient: outputGradient.microbatch(m, of: microbatches, geometry),
        weightGradient: parameterGradient.weight(m),
        biasGradient: parameterGradient.bias(m, geometry),
        inputGradient: inputGradient?.microbatch(m, of: microbatches, geometry), scratch: scratch)
    }
    parameterGradient.sumPairs(microbatchCount: microbatches.microbatchCount, geometry)
  }
}
