import Tensors

/// The activations of one group that are stored, all raw: before normalisation.
struct GroupActivations {
  /// Of each block, what its first convolution writes.
  let inner: [Tensor]
  /// Of each block, what its second convolution writes: y of the group for block 0, z for the last.
  let outer: [Tensor]

  /// z of the group.
  var last: Tensor { outer[outer.count - 1] }
  /// All of them.
  var all: [Tensor] { inner + outer }
}

/// Which tensor holds which activation.
///
/// Training keeps one tensor for the stem and two a block. Inference uses four tensors in turn: a group needs its input,
/// y, and two for the blocks in between.
struct ActivationPlan {
  let stemOutput: Tensor
  let groups: [GroupActivations]

  /// Allocates the activations of `imageCount` images.
  init(_ network: WideResNet, imageCount: Int, purpose: ModelExecutor.Purpose) {
    func tensor(_ geometry: ConvolutionGeometry) -> Tensor {
      Tensor(
        Shape(imageCount, geometry.outputHeight, geometry.outputWidth, geometry.outputChannels))
    }
    switch purpose {
    case .training:
      stemOutput = tensor(network.stem.geometry)
      groups = network.groups.map { group in
        GroupActivations(
          inner: group.blocks.map { tensor($0.conv1.geometry) },
          outer: group.blocks.map { tensor($0.conv2.geometry) })
      }
    case .inference:
      let shared = (0..<4).map { _ in Tensor(Shape(imageCount, network.largestActivationCount)) }
      stemOutput = shared[0]
      var input = 0
      groups = network.groups.map { group in
        // y must outlive every block but the first; inner results and later sums take the other three in turn.
        let y = (input + 1) % 4
        let (a, b) = ((input + 2) % 4, (input + 3) % 4)
        var outer = [y]
        var inner = [a]
        for block in 1..<max(group.blocks.count, 1) {
          let source = outer[block - 1]
          let free = [a, b, input].filter { $0 != source }
          inner.append(free[0])
          outer.append(free[1])
        }
        input = outer[outer.count - 1]
        return GroupActivations(inner: inner.map { shared[$0] }, outer: outer.map { shared[$0] })
      }
    }
  }
}

extension WideResNet {
  /// Every batch normalisation in forward order, with the pixels of an image it sees.
  var normalizationLayers: [(layer: NormalizationLayer, pixels: Int)] {
    var result: [(NormalizationLayer, Int)] = []
    for block in groups.flatMap(\.blocks) {
      let (first, second) = (block.conv1.geometry, block.conv2.geometry)
      result.append((block.norm1, first.inputHeight * first.inputWidth))
      result.append((block.norm2, second.inputHeight * second.inputWidth))
    }
    let last = convolutionLayers[convolutionLayers.count - 1].geometry
    return result + [(norm, last.outputHeight * last.outputWidth)]
  }
}
