import Tensors

extension ModelExecutor {
  /// Computes the logits of this rank's images; ``finishLoss(_:)`` then returns the loss.
  ///
  /// Collective: blocks until all ranks have contributed their statistics.
  ///
  /// - Parameters:
  ///   - images: This rank's images, `NHWC`, raw pixels 0 … 255.
  ///   - labels: A class per image.
  ///   - batch: The microbatches of the batch.
  ///   - statistics: The statistics that normalize activations.
  ///   - step: The number of the step, of which dropout masks are a function. If `nil`, nothing is dropped.
  ///   - awaitParameters: Called before an operation reads parameters that are not known to have arrived. It waits for
  ///     that many leading elements of the flat buffer and returns how many have arrived. By default all have.
  /// - Throws: ``CommunicationError`` if a message fails.
  public func forward(
    _ images: UnsafePointer<Float>, labels: UnsafePointer<UInt8>, batch: LocalBatch,
    statistics: NormalizationStatistics, step: Int? = nil, awaitParameters: (Int) throws -> Int = { _ in .max }
  ) throws {
    resetArrivedParameters()
    if statistics == .running {
      try self.awaitParameters(upTo: graph.parameterCount, awaitParameters)
      for norm in norms { norm.useRunningStatistics(runningStatistics, parameters: parameters) }
    }
    for action in pass.forward.steps {
      switch action {
      case .compute(let operation, let nextNorm):
        try self.awaitParameters(upTo: operation.parameterRange.upperBound, awaitParameters)
        switch operation {
        case .convolution(let operation): convolve(operation, images, batch, sums: nextNorm, step: step)
        case .scaling(let operation): scale(operation, batch, sums: nextNorm)
        case .classifier(let operation): classify(operation, labels, batch)
        }
      case .startStatistics(let layer):
        if statistics == .batch { try norm(layer).startForward(batch) }
      case .finishStatistics(let layer):
        guard statistics == .batch else { continue }
        try self.awaitParameters(upTo: layer.range.upperBound, awaitParameters)
        let start = self.labels.now()
        try norm(layer).finishForward(batch, pixels: layer.pixels, parameters: parameters)
        self.labels.recordStatisticsWait(batch, since: start)
      }
    }
    try batch.lossReduction.start(head.lossSums.pointer, count: 1)
  }

  /// Waits for the losses of all ranks.
  ///
  /// Collective: blocks until all ranks have contributed their losses. Call it after a forward pass, before the next one.
  ///
  /// - Returns: The mean cross entropy over the global batch, bitwise identical on every rank.
  /// - Throws: ``CommunicationError`` if a message fails.
  public func finishLoss(_ batch: LocalBatch) throws -> Double {
    var lossSum = 0.0
    try batch.lossReduction.finish(into: &lossSum)
    return lossSum / Double(batch.globalImageCount)
  }

  /// The class of the largest logit of an image of the last batch, the lowest of several.
  public func prediction(_ image: Int) -> Int {
    let classes = graph.classCount
    return SoftmaxCrossEntropy.prediction(logits + image * classes, classes: classes)
  }

  /// The class of the largest sum of an image's logits of the last batch and other logits, the lowest of several.
  ///
  /// - Parameters:
  ///   - image: The image.
  ///   - other: Logits of the batch's images, `[images, classes]`, such as those of their mirror images.
  /// - Returns: The class.
  public func prediction(_ image: Int, adding other: UnsafePointer<Float>) -> Int {
    let classes = graph.classCount
    let (own, other) = (logits + image * classes, other + image * classes)
    var best = 0
    for k in 1..<classes where own[k] + other[k] > own[best] + other[best] { best = k }
    return best
  }

  /// Runs one convolution over this rank's microbatches.
  ///
  /// - Parameters:
  ///   - operation: The convolution.
  ///   - images: This rank's images.
  ///   - batch: The microbatches of the batch.
  ///   - nextNorm: The batch normalization that reads the output and needs its sums.
  ///   - step: The number of the step. If `nil`, nothing is dropped.
  private func convolve(
    _ operation: ConvolutionOperation, _ images: UnsafePointer<Float>, _ batch: LocalBatch,
    sums nextNorm: NormalizationLayer?, step: Int?
  ) {
    let layer = operation.layer
    packWeight(layer, for: .forward)
    let items = workItems(layer, batch)
    let loop = ForwardLoop(
      executor: self, geometry: layer.geometry, weight: weight(layer), bias: bias(layer), items: items,
      input: input(operation.input.tensor, images),
      norm: operation.input.normalization.map(norm), output: activation(operation.output),
      addend: operation.addend.map(activation), nextNorm: nextNorm.map(norm),
      dropout: step == nil ? nil : operation.input.dropout, step: step ?? 0)
    let start = labels.now()
    pool.parallelFor(items.count, with: loop, label: labels.forward(layer)) { loop, item, worker in
      let (executor, geometry) = (loop.pointee.executor, loop.pointee.geometry)
      let m = loop.pointee.items.firstMicrobatch(item)
      let (batch, microbatches) = (loop.pointee.items.batch, loop.pointee.items.microbatches(item))
      let first = batch.firstImage(m)
      if let dropout = loop.pointee.dropout {
        executor.dropouts[dropout.index].draw(
          first..<first + microbatches.imageCount, dropout, firstPosition: batch.firstLocalPosition,
          step: loop.pointee.step, by: executor.engine)
      }
      executor.engine.forward(
        geometry, microbatches,
        input: ConvolutionInput(
          activation: loop.pointee.input + first * geometry.inputCount,
          normalization: loop.pointee.norm?.normalizedReLU(m),
          dropout: loop.pointee.dropout.map { executor.dropouts[$0.index].mask(first, $0) }),
        weight: loop.pointee.weight, packed: executor.packed, bias: loop.pointee.bias,
        output: ConvolutionOutput(
          activation: loop.pointee.output + first * geometry.outputCount,
          addend: loop.pointee.addend.map { UnsafePointer($0 + first * geometry.outputCount) },
          sums: loop.pointee.nextNorm?.sums(m)),
        scratch: executor.scratch(worker))
    }
    labels.record(labels.forward(layer), since: start)
  }

  /// Computes output = factor · input, and scales the sums of the batch normalization that reads the output.
  private func scale(_ operation: ScalingOperation, _ batch: LocalBatch, sums nextNorm: NormalizationLayer?) {
    let context = (
      operation: operation, input: activation(operation.input), output: activation(operation.output), batch: batch,
      nextNorm: nextNorm.map(norm)
    )
    pool.parallelFor(batch.localCount, with: context) { context, m, _ in
      let (operation, input, output, batch, nextNorm) = context.pointee
      let (factor, count) = (operation.factor, operation.input.elementCount)
      let first = batch.firstImage(m) * count
      for i in first..<first + batch.imageCount(m) * count { output[i] = input[i] * factor }
      nextNorm?.scaleSums(m, by: Double(factor))
    }
  }

  /// Computes logits, losses and the gradients of the logits.
  private func classify(
    _ operation: ClassifierOperation, _ labels: UnsafePointer<UInt8>, _ batch: LocalBatch
  ) {
    guard let layer = operation.input.normalization else { preconditionFailure("the classifier reads a raw tensor") }
    let tensor = operation.input.tensor
    let context = (
      executor: self, norm: norm(layer), input: activation(tensor), count: tensor.elementCount, pixels: layer.pixels,
      labels: labels, batch: batch
    )
    let start = self.labels.now()
    pool.parallelFor(batch.localCount, with: context, label: self.labels.headForward) { context, m, _ in
      let (executor, norm, input, count, pixels, labels, batch) = context.pointee
      let first = batch.firstImage(m)
      executor.head.forward(
        m, first: first, imageCount: batch.imageCount(m), pixels: pixels, activation: input + first * count,
        map: norm.normalizedReLU(m), parameters: executor.parameters, labels: labels + first,
        lossScale: 1 / Double(batch.globalImageCount))
    }
    self.labels.record(self.labels.headForward, since: start)
  }
}

/// What the work items of a convolution's forward pass share.
///
/// A struct whose members are read one by one, not a tuple, which would be copied for every access.
private struct ForwardLoop {
  let executor: ModelExecutor
  let geometry: ConvolutionGeometry
  let weight: UnsafePointer<Float>
  let bias: UnsafePointer<Float>?
  let items: LayerWorkItems
  let input: UnsafePointer<Float>
  let norm: BatchNormalization?
  let output: UnsafeMutablePointer<Float>
  let addend: UnsafeMutablePointer<Float>?
  let nextNorm: BatchNormalization?
  let dropout: DropoutLayer?
  let step: Int
}
