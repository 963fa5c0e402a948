import ReferenceImplementation
import Tensors

/// A naive fp32 implementation of a convolution, the yardstick for other algorithms' rounding errors.
///
/// Each number is one sum, term after term in memory order, each product and each sum rounded.
enum NaiveConvolution {
  /// Returns the results of both passes for an example with trivial maps, without the sums and the bias gradient.
  static func results(_ example: ConvolutionExample) -> ConvolutionResults<Float> {
    let g = example.geometry
    let (z, dY) = (example.rectifiedInput, example.gradient)
    var y = [Float](repeating: 0, count: dY.count)
    var dX = [Float](repeating: 0, count: z.count)
    var dW = [Float](repeating: 0, count: g.weightCount)
    example.weight.withUnsafeBufferPointer { w in
      z.withUnsafeBufferPointer { z in
        dY.withUnsafeBufferPointer { dY in
          y.withUnsafeMutableBufferPointer { y in
            dX.withUnsafeMutableBufferPointer { dX in
              dW.withUnsafeMutableBufferPointer { dW in
                ReferenceConvolution.forEachTap(g, images: example.imageCount) { output, input, tap in
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
}
