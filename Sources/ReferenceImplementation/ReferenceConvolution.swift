import Tensors

/// The reference implementation of a convolution: its definition as loops, in Double.
public enum ReferenceConvolution {
  /// Returns y[n,p,q,k] = Σ x[n, p·stride + r − pad, q·stride + s − pad, c] · w[r,s,c,k] + b[k], `NPQK`.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - x: Images, `NHWC`.
  ///   - weight: `RSCK`.
  ///   - bias: K numbers.
  /// - Returns: y.
  public static func forward(
    _ geometry: ConvolutionGeometry, _ x: [Double], weight: [Double], bias: [Double]
  ) -> [Double] {
    let images = x.count / geometry.inputCount
    var y = [Double](repeating: 0, count: images * geometry.outputCount)
    for i in y.indices { y[i] = bias[i % geometry.outputChannels] }
    forEachTap(geometry, images: images) { output, input, tap in
      for c in 0..<geometry.inputChannels {
        for k in 0..<geometry.outputChannels {
          y[output + k] += x[input + c] * weight[tap + c * geometry.outputChannels + k]
        }
      }
    }
    return y
  }

  /// Returns the gradients with respect to x, the weight and the bias, given the gradient with respect to y.
  public static func backward(
    _ geometry: ConvolutionGeometry, _ x: [Double], weight: [Double], outputGradient: [Double]
  ) -> (input: [Double], weight: [Double], bias: [Double]) {
    var dX = [Double](repeating: 0, count: x.count)
    var dW = [Double](repeating: 0, count: weight.count)
    var dB = [Double](repeating: 0, count: geometry.outputChannels)
    for (i, gradient) in outputGradient.enumerated() { dB[i % dB.count] += gradient }
    forEachTap(geometry, images: x.count / geometry.inputCount) { output, input, tap in
      for c in 0..<geometry.inputChannels {
        let row = tap + c * geometry.outputChannels
        var sum = 0.0
        for k in 0..<geometry.outputChannels {
          dW[row + k] += x[input + c] * outputGradient[output + k]
          sum += weight[row + k] * outputGradient[output + k]
        }
        dX[input + c] += sum
      }
    }
    return (dX, dW, dB)
  }

  /// Calls `body` for every pair of an output pixel and an input pixel that a tap of the weight connects.
  ///
  /// - Parameters:
  ///   - g: The convolution.
  ///   - images: N.
  ///   - body: Gets the index of the first channel of the output pixel, of the input pixel, and of the tap.
  package static func forEachTap(
    _ g: ConvolutionGeometry, images: Int, _ body: (_ output: Int, _ input: Int, _ tap: Int) -> Void
  ) {
    for n in 0..<images {
      for p in 0..<g.outputHeight {
        for q in 0..<g.outputWidth {
          let output = ((n * g.outputHeight + p) * g.outputWidth + q) * g.outputChannels
          for r in 0..<g.kernelSize {
            for s in 0..<g.kernelSize {
              let (h, w) = (p * g.stride + r - g.paddingBefore, q * g.stride + s - g.paddingBefore)
              guard (0..<g.inputHeight).contains(h), (0..<g.inputWidth).contains(w) else { continue }
              let input = ((n * g.inputHeight + h) * g.inputWidth + w) * g.inputChannels
              body(output, input, (r * g.kernelSize + s) * g.inputChannels * g.outputChannels)
            }
          }
        }
      }
    }
  }
}
