import Collectives
import Tensors

extension WideResNet {
  /// Returns what a ``ModelExecutor`` will allocate, before it allocates anything.
  ///
  /// A test holds it against the passes' own ``ModelExecutor/byteCount``.
  ///
  /// - Parameters:
  ///   - engine: Computes convolutions.
  ///   - workerCount: The threads of the rank.
  ///   - imagesPerMicrobatch: The images of a microbatch.
  ///   - microbatches: The rank's microbatches of a full batch.
  ///   - tree: The tree over all microbatches of a full batch.
  ///   - scope: How batch statistics are formed.
  ///   - purpose: Whether activations are kept for the way back.
  /// - Returns: Bytes.
  public func executorByteCount(
    engine: any ConvolutionEngine, workerCount: Int, imagesPerMicrobatch: Int,
    microbatches: Range<Int>, tree: ReductionTree, scope: BatchNormalizationScope,
    purpose: ModelExecutor.Purpose
  ) -> Int {
    let images = imagesPerMicrobatch * microbatches.count
    let largest = largestActivationCount
    let packed = convolutions.map(engine.packedWeightCount).max() ?? 0
    let scratch = engine.scratchCount(
      convolutions, imagesPerMicrobatch: imagesPerMicrobatch, microbatchCount: microbatches.count,
      workerCount: workerCount)
    let rows = scope == .global ? 1 : microbatches.count
    let channels = normalizationLayers.reduce(0) { $0 + $1.layer.channels }
    let norms = channels * (8 * (2 * microbatches.count + 2 + 2 * rows) + 4 * 6 * rows)
    let classifier = 4 * images * (head.inputs + 2 * head.outputs)
    let common = 4 * (packed + workerCount * scratch) + norms + classifier
    switch purpose {
    case .inference:
      return common + 4 * 4 * images * largest
    case .training:
      let layer = (convolutionLayers.map(\.range.count) + [head.range.count]).max() ?? 0
      let norm = normalizationLayers.map(\.layer.range.count).max() ?? 0
      // The first microbatch of every subtree leaves its gradient where the subtree's sum is to be.
      let segments = tree.maximalSubtrees(of: microbatches).count
      let gradients =
        4 * images * largest + (microbatches.count - segments) * (layer + norm)
        + segments * parameterCount
      return common + savedActivationByteCount(imageCount: images) + 4 * gradients
    }
  }

  /// The bytes of the activations that training keeps for the way back: the stem's output and two tensors a block.
  ///
  /// - Parameter imageCount: N.
  /// - Returns: Bytes.
  public func savedActivationByteCount(imageCount: Int) -> Int {
    let blocks = groups.flatMap(\.blocks).reduce(0) {
      $0 + $1.conv1.geometry.outputCount + $1.conv2.geometry.outputCount
    }
    return 4 * imageCount * (stem.geometry.outputCount + blocks)
  }
}
