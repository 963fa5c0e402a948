import Models
import Tensors

extension WideResNet {
  /// The different shapes among the network's convolutions, in forward order, with how often each occurs.
  public var distinctConvolutions: [(geometry: ConvolutionGeometry, count: Int)] {
    var result: [(geometry: ConvolutionGeometry, count: Int)] = []
    for geometry in convolutions {
      if let i = result.firstIndex(where: { $0.geometry == geometry }) {
        result[i].count += 1
      } else {
        result.append((geometry, 1))
      }
    }
    return result
  }
}

extension ConvolutionGeometry {
  /// For people: `32×32, 16→32, stride 2`, with the input's extent.
  public var summary: String {
    "\(inputHeight)×\(inputWidth), \(inputChannels)→\(outputChannels)" + (stride == 1 ? "" : ", stride \(stride)")
  }
}
