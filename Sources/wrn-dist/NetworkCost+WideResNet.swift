import Clusters
import Models
import Tensors

extension NetworkCost {
  /// Describes a Wide ResNet.
  init(_ network: WideResNet) {
    // Kernels stand in the layout in the order of the convolutions.
    var convolutions = network.convolutions[...]
    let tensors = network.parameterLayout.parameters.map { parameter in
      let isKernel = parameter.kind == .convolutionKernel
      return Tensor(
        elementCount: parameter.range.count,
        multiplyAdds: isKernel ? convolutions.removeFirst().multiplyAdds : 0,
        normalizedChannels: parameter.kind == .scale ? parameter.range.count : 0)
    }
    // Kept for the way back: the output of every convolution but the shortcuts', which are added to the branch's. On the way
    // back four buffers as large as the largest output are in use.
    let shortcuts = 3
    let outputs = network.convolutions.reduce(0) { $0 + $1.outputCount }
    let shortcutOutputs = network.configuration.widths.dropFirst().prefix(shortcuts).enumerated().reduce(0) {
      sum, group in
      let size = WideResNet.imageSize >> group.offset
      return sum + size * size * group.element
    }
    let largest = network.convolutions.map(\.outputCount).max() ?? 0
    self.init(
      name: network.configuration.name, widenFactor: network.configuration.widenFactor, tensors: tensors.reversed(),
      activationByteCount: 4 * (outputs - shortcutOutputs + 4 * largest))
  }
}
