import BLASKernels
import Tensors

/// The portable engine: im2col and OpenBLAS.
public struct BLASConvolutionEngine: ConvolutionEngine {
  /// Makes the engine and tells OpenBLAS to run every product on the thread that asks for it.
  public init() { BLASLibrary.useOneThreadPerProduct() }

  public var name: String { "blas" }

  public func preparedWeightCount(_ geometry: ConvolutionGeometry) -> Int { 0 }

  public func prepareWeight(
    _ geometry: ConvolutionGeometry, _ weight: UnsafePointer<Float>,
    into prepared: UnsafeMutablePointer<Float>
  ) {}

  public func scratchCount(_ geometry: ConvolutionGeometry, imageCount: Int) -> Int {
    BLASConvolution.scratchCount(geometry, imageCount: imageCount)
  }

  public func forward(
    _ geometry: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
    weight: UnsafePointer<Float>, prepared: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
    output: ConvolutionOutput, scratch: UnsafeMutablePointer<Float>
  ) {
    BLASConvolution.forward(
      geometry, imageCount: imageCount, input: input, weight: weight, bias: bias, output: output,
      scratch: scratch)
  }

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
