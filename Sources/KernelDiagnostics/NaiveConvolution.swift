import Tensors

/// The definition of a convolution in plain fp32 loops, the yardstick for other algorithms' rounding errors.
///
/// Each number is one sum, term after term in memory's order, each product and each sum rounded.
enum NaiveConvolution {
  /// Returns what both passes give for an example with trivial maps.
  static func results(_ example: ConvolutionExample) -> ConvolutionResults<Float> {
    let g = example.geometry
    let (z, dY) = (example.input, example.gradient)
    var y = [Float](repeating: 0, count: dY.count)
    var dX = [Float](repeating: 0, count: z.count)
    var dW = [Float](repeating: 0, count: g.weightCount)
    example.weight.withUnsafeBufferPointer { w in
      z.withUnsafeBufferPointer { z in
        dY.withUnsafeBufferPointer { dY in
          y.withUnsafeMutableBufferPointer { y in
            dX.withUnsafeMutableBufferPointer { dX in
              dW.withUnsafeMutableBufferPointer { dW in
                forEachTap(g, images: example.imageCount) { output, input, tap in
                  let filters = g.outputChannels
                  for c in 0..<g.inputChannels {
                    let (row, value) = (tap &+ c &* filters, z[input &+ c])
                    for k in 0..<filters {
                      y[output &+ k] += value * w[row &+ k]
                      dW[row &+ k] += value * dY[output &+ k]
                    }
                    var sum = dX[input &+ c]
                    for k in 0..<filters { sum += w[row &+ k] * dY[output &+ k] }
                    dX[input &+ c] = sum
                  }
                }
              }
            }
          }
        }
      }
    }
    if example.isStem { dX = [] }
    for i in dX.indices where z[i] <= 0 { dX[i] = 0 }
    return ConvolutionResults(
      output: y, outputSums: [], inputGradient: dX, inputGradientSums: [], weightGradient: dW,
      biasGradient: [], savedGradient: [])
  }

  /// Visits every pair of an output pixel and an input pixel that the kernel joins.
  @inline(__always)
  private static func forEachTap(
    _ g: ConvolutionGeometry, images: Int, _ body: (_ output: Int, _ input: Int, _ tap: Int) -> Void
  ) {
    for n in 0..<images {
      for p in 0..<g.outputHeight {
        for q in 0..<g.outputWidth {
          let output = ((n * g.outputHeight + p) * g.outputWidth + q) * g.outputChannels
          for r in 0..<g.kernelSize {
            for s in 0..<g.kernelSize {
              let (h, w) = (p * g.stride + r - g.paddingBefore, q * g.stride + s - g.paddingBefore)
              guard (0..<g.inputHeight).contains(h), (0..<g.inputWidth).contains(w) else {
                continue
              }
              let input = ((n * g.inputHeight + h) * g.inputWidth + w) * g.inputChannels
              body(output, input, (r * g.kernelSize + s) * g.inputChannels * g.outputChannels)
            }
          }
        }
      }
    }
  }
}
