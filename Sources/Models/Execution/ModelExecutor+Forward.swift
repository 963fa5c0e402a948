import Tensors

extension ModelExecutor {
  /// Computes the logits of this rank's images; ``finishLoss(_:)`` then tells the loss.
  ///
  /// Every rank must call it, in the same order.
  ///
  /// - Parameters:
  ///   - images: This rank's images, `NHWC`, raw pixels 0 … 255.
  ///   - labels: A class an image.
  ///   - run: The microbatches of the batch.
  ///   - statistics: What normalises activations.
  ///   - arrival: Called before a layer reads parameters that are not known to have arrived: waits for the first so
  ///     many elements of the flat buffer and tells how many are there. Without it all are.
  /// - Throws: ``CommunicationError`` if an exchange fails.
  public func forward(
    _ images: UnsafePointer<Float>, labels: UnsafePointer<UInt8>, run: LocalBatch,
    statistics: NormalizationStatistics, arrival: (Int) throws -> Int = { _ in .max }
  ) throws {
    resetArrivedParameters()
    if statistics == .running {
      try require(network.parameterCount, arrival)
      for norm in norms { norm.useRunningStatistics(runningStatistics, parameters: parameters) }
    }
    try require(network.stem.range.upperBound, arrival)
    convolve(network.stem, from: images, to: stemOutput, run: run, feeding: norms[0])
    try start(norms[0], run, statistics)
    try finish(norms[0], run, statistics, arrival)
    var x = stemOutput
    for (g, group) in network.groups.enumerated() {
      x = try forward(
        group, groupActivations[g], x, run, statistics, next: normAfter(group: g), arrival)
    }
    try require(network.head.range.upperBound, arrival)
    let start = spans.now()
    pool.run(run.localCount, with: (self, x, labels, run), label: spans.headForward) {
      context, m, _ in
      let (pass, x, labels, run) = context
      let first = run.firstImage(m)
      pass.head.forward(
        m, first: first, imageCount: run.imageCount(m),
        activation: x.pointer + first * pass.network.norm.channels * pass.head.pixels,
        map: pass.norm(pass.network.norm).normalizedReLU(m), parameters: pass.parameters,
        labels: labels + first, lossScale: 1 / Double(run.globalImageCount))
    }
    spans.record(spans.headForward, since: start)
    try run.lossReduction.start(head.lossSums.pointer, count: 1)
  }

  /// Waits for the losses of all ranks.
  ///
  /// Every rank must call it after a forward pass, before the next one.
  ///
  /// - Returns: The mean cross entropy over the global batch, the same bits on every rank.
  /// - Throws: ``CommunicationError`` if an exchange fails.
  public func finishLoss(_ run: LocalBatch) throws -> Double {
    var lossSum = 0.0
    try run.lossReduction.finish(into: &lossSum)
    return lossSum / Double(run.globalImageCount)
  }

  /// The class of the largest logit of an image of the last batch, the lowest of several.
  public func prediction(_ image: Int) -> Int {
    let classes = network.head.outputs
    return SoftmaxCrossEntropy.prediction(logits + image * classes, classes: classes)
  }

  /// y = shortcut(x) + block₀(x); z = y + blockₙ₋₁(… block₁(y)).
  private func forward(
    _ group: ResidualGroup, _ memory: GroupActivations, _ x: Tensor, _ run: LocalBatch,
    _ statistics: NormalizationStatistics, next: BatchNormalization,
    _ arrival: (Int) throws -> Int
  ) throws -> Tensor {
    let y = memory.outer[0]
    var input = x
    for (b, block) in group.blocks.enumerated() {
      let isLast = b == group.blocks.count - 1
      let (norm1, norm2) = (norm(block.norm1), norm(block.norm2))
      let (inner, outer) = (memory.inner[b], memory.outer[b])
      try require(block.conv1.range.upperBound, arrival)
      convolve(block.conv1, from: input.pointer, via: norm1, to: inner, run: run, feeding: norm2)
      try start(norm2, run, statistics)
      // While the ranks' sums travel.
      if b == 0 { convolve(group.shortcut, from: x.pointer, to: y, run: run) }
      try finish(norm2, run, statistics, arrival)
      try require(block.conv2.range.upperBound, arrival)
      let following = isLast ? next : norm(group.blocks[b + 1].norm1)
      convolve(
        block.conv2, from: inner.pointer, via: norm2, to: outer, run: run,
        adding: b == 0 || isLast ? y : nil, feeding: following)
      if group.blocks.count == 1 { double(outer, run, feeding: following) }
      try start(following, run, statistics)
      try finish(following, run, statistics, arrival)
      input = outer
    }
    return input
  }

  /// Runs one convolution over this rank's microbatches.
  ///
  /// - Parameters:
  ///   - layer: The convolution.
  ///   - input: This rank's input images.
  ///   - norm: What normalises them on the way in; nil if they are taken raw.
  ///   - output: Where the result goes.
  ///   - run: The microbatches of the batch.
  ///   - addend: What is added to the result; may be `output`.
  ///   - next: The normalisation that reads the result and needs its sums.
  private func convolve(
    _ layer: ConvolutionLayer, from input: UnsafePointer<Float>, via norm: BatchNormalization? = nil,
    to output: Tensor, run: LocalBatch, adding addend: Tensor? = nil,
    feeding next: BatchNormalization? = nil
  ) {
    packWeight(layer, for: .forward)
    let parts = workItems(layer, run)
    let context = (self, layer, input, norm, output, parts, addend, next)
    let start = spans.now()
    pool.run(parts.count, with: context, label: spans.forward(layer)) { context, part, worker in
      let (pass, layer, input, norm, output, parts, addend, next) = context
      let geometry = layer.geometry
      let m = parts.firstMicrobatch(part)
      let first = parts.batch.firstImage(m)
      pass.engine.forward(
        geometry, parts.microbatches(part),
        input: ConvolutionInput(
          activation: input + first * geometry.inputCount, normalization: norm?.normalizedReLU(m)),
        weight: pass.weight(layer), packed: pass.packed, bias: pass.bias(layer),
        output: ConvolutionOutput(
          activation: output.pointer + first * geometry.outputCount,
          addend: addend.map { UnsafePointer($0.pointer + first * geometry.outputCount) },
          sums: next?.sums(m)),
        scratch: pass.scratch(worker))
    }
    spans.record(spans.forward(layer), since: start)
  }

  /// Makes z = 2·y in place: a group of one block adds y to an empty series, which is y itself.
  private func double(_ y: Tensor, _ run: LocalBatch, feeding next: BatchNormalization) {
    pool.run(run.localCount, with: (y, run, next)) { context, m, _ in
      let (y, run, next) = context
      let count = y.elementCountPerImage
      let values = y.pointer + run.firstImage(m) * count
      for i in 0..<run.imageCount(m) * count { values[i] *= 2 }
      next.scaleSums(m, by: 2)
    }
  }

  private func start(
    _ norm: BatchNormalization, _ run: LocalBatch, _ statistics: NormalizationStatistics
  ) throws {
    if statistics == .batch { try norm.startForward(run) }
  }

  private func finish(
    _ norm: BatchNormalization, _ run: LocalBatch, _ statistics: NormalizationStatistics,
    _ arrival: (Int) throws -> Int
  ) throws {
    guard statistics == .batch else { return }
    try require(norm.layer.range.upperBound, arrival)
    let start = spans.now()
    try norm.finishForward(run, parameters: parameters)
    spans.recordStatisticsWait(run, since: start)
  }

  /// The normalisation that reads the output of a group.
  func normAfter(group g: Int) -> BatchNormalization {
    norm(g + 1 < network.groups.count ? network.groups[g + 1].blocks[0].norm1 : network.norm)
  }
}
