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

  /// Returns 1: products are of one microbatch.
  public func imagesAtOnce(_ geometry: ConvolutionGeometry) -> Int { 1 }

  /// Returns room for one group of unfolded images.
  public func scratchCount(_ geometry: ConvolutionGeometry, _ span: MicrobatchSpan) -> Int {
    BLASConvolution.scratchCount(geometry, imageCount: span.images(of: 0).count)
  }

  /// Calls ``BLASConvolution`` for each microbatch, with operands as in ``ConvolutionEngine``.
  public func forward(
    _ geometry: ConvolutionGeometry, _ span: MicrobatchSpan, input: ConvolutionInput,
    weight: UnsafePointer<Float>, prepared: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
    output: ConvolutionOutput, scratch: UnsafeMutablePointer<Float>
  ) {
    for m in 0..<span.microbatchCount {
      BLASConvolution.forward(
        geometry, imageCount: span.images(of: m).count,
        input: input.microbatch(m, of: span, geometry), weight: weight, bias: bias,
        output: output.microbatch(m, of: span, geometry), scratch: scratch)
    }
  }

  /// Calls ``BLASConvolution`` for each microbatch, with operands as in ``ConvolutionEngine``.
  public func backward(
    _ geometry: ConvolutionGeometry, _ span: MicrobatchSpan, input: ConvolutionInput,
    weight: UnsafePointer<Float>, prepared: UnsafePointer<Float>,
    outputGradient: ConvolutionOutputGradient, parameterGradient: ConvolutionParameterGradient,
    inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>
  ) {
    for m in 0..<span.microbatchCount {
      BLASConvolution.backward(
        geometry, imageCount: span.images(of: m).count,
        input: input.microbatch(m, of: span, geometry), weight: weight,
        outputGradient: outputGradient.microbatch(m, of: span, geometry),
        weightGradient: parameterGradient.weight(m),
        biasGradient: parameterGradient.bias(m, geometry),
        inputGradient: inputGradient?.microbatch(m, of: span, geometry), scratch: scratch)
    }
  }
}
