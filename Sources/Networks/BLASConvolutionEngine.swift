import BLASKernels
import Tensors

/// The portable engine: im2col and OpenBLAS.
public struct BLASConvolutionEngine: ConvolutionEngine {
  /// Makes the engine and tells OpenBLAS to run every product on the thread that asks for it.
  public init() { BLASLibrary.useOneThreadPerProduct() }

  /// `blas`.
  public var name: String { "blas" }

  /// What OpenBLAS calls the CPU family whose kernels it chose.
  public var instructions: String { BLASLibrary.coreName }

  /// Returns 0: products read `RSCK` directly.
  public func preparedWeightCount(_ geometry: ConvolutionGeometry) -> Int { 0 }

  /// Returns 0: there is nothing to prepare.
  public func preparationPartCount(_ geometry: ConvolutionGeometry) -> Int { 0 }

  /// Does nothing.
  public func prepareWeight(
    _ geometry: ConvolutionGeometry, for direction: ConvolutionDirection, part: Int,
    _ weight: UnsafePointer<Float>, into prepared: UnsafeMutablePointer<Float>
  ) {}

  /// Returns room for one group of unfolded images.
  public func scratchCount(_ geometry: ConvolutionGeometry, imageCount: Int) -> Int {
    BLASConvolution.scratchCount(geometry, imageCount: imageCount)
  }

  /// Calls ``BLASConvolution``, with operands as in ``ConvolutionEngine``.
  public func forward(
    _ geometry: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
    weight: UnsafePointer<Float>, prepared: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
    output: ConvolutionOutput, scratch: UnsafeMutablePointer<Float>
  ) {
    BLASConvolution.forward(
      geometry, imageCount: imageCount, input: input, weight: weight, bias: bias, output: output,
      scratch: scratch)
  }

  /// Calls ``BLASConvolution``, with operands as in ``ConvolutionEngine``.
  public func backward(
    _ geometry: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
    weight: UnsafePointer<Float>, prepared: UnsafePointer<Float>,
    outputGradient: ConvolutionOutputGradient, weightGradient: UnsafeMutablePointer<Float>,
    biasGradient: UnsafeMutablePointer<Float>?, inputGradient: ConvolutionInputGradient?,
    scratch: UnsafeMutablePointer<Float>
  ) {
    BLASConvolution.backward(
      geometry, imageCount: imageCount, input: input, weight: weight,
      outputGradient: outputGradient, weightGradient: weightGradient, biasGradient: biasGradient,
      inputGradient: inputGradient, scratch: scratch)
  }
}
