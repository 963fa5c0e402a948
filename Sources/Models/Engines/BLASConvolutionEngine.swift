import BLASKernels
import Tensors

/// The portable engine: im2col and OpenBLAS.
public struct BLASConvolutionEngine: ConvolutionEngine {
  /// Makes the engine and tells OpenBLAS to run every product on the thread that asks for it.
  public init() { BLASLibrary.useOneThreadPerProduct() }

  /// `blas`.
  public var name: String { "blas" }

  /// What OpenBLAS calls the CPU family whose kernels it chose.
  public var instructions: String { BLASLibrary.microarchitecture }

  /// Returns 0: products read `RSCK` directly.
  public func packedWeightCount(_ geometry: ConvolutionGeometry) -> Int { 0 }

  /// Returns 0: there is nothing to prepare.
  public func packingTaskCount(_ geometry: ConvolutionGeometry) -> Int { 0 }

  /// Does nothing.
  public func packWeight(
    _ geometry: ConvolutionGeometry, for direction: ConvolutionDirection, part: Int,
    _ weight: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>
  ) {}

  /// Returns 1: products are of one microbatch.
  public func preferredImageCount(_ geometry: ConvolutionGeometry) -> Int { 1 }

  /// Returns room for one group of unfolded images.
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
  }
}
