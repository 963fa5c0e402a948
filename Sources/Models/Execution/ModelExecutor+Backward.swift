import Tensors

extension ModelExecutor {
  /// Computes the gradients of all parameters for the batch of the last forward pass, which must have used batch
  /// statistics.
  ///
  /// The gradients of this rank's microbatches are left in ``subtreeGradients``. Layers are visited from the last to the
  /// first. Collective with batch statistics over the global batch.
  ///
  /// - Parameters:
  ///   - images: The batch's images, as given to the forward pass.
  ///   - batch: The microbatches of the batch.
  ///   - isDropping: Whether the forward pass had the number of a step, so that it drew dropout masks.
  ///   - gradientReady: Called when the gradients of some elements are complete in all subtrees, once per element, later
  ///     layers first. The parameters of these elements are not read any more.
  /// - Throws: ``CommunicationError`` if a message fails; what `gradientReady` throws.
  /// - Precondition: The executor is for training.
  public func backward(
    _ images: UnsafePointer<Float>, batch: LocalBatch, isDropping: Bool = false,
    gradientReady: (Range<Int>) throws -> Void
  ) throws {
    guard let schedule = pass.backward, let buffers = gradients else {
      preconditionFailure("an executor for inference saves no activations")
    }
    for step in schedule.steps {
      switch step {
      case .classifier(let operation, let inputGradient):
        backward(operation, gradient(inputGradient), buffers, batch)
      case .convolution(let operation, let outputGradient, let inputGradient):
        backward(operation, images, outputGradient, inputGradient, buffers, batch, isDropping: isDropping)
      case .scaling(let operation, let outputGradient, let inputGradient):
        backward(operation, outputGradient, gradient(inputGradient), batch)
      case .startNormalization(let layer):
        try norm(layer).startBackward(batch, buffers)
      case .finishNormalization(let layer):
        let start = labels.now()
        try norm(layer).finishBackward(batch, pixels: layer.pixels, parameters: parameters)
        labels.recordStatisticsWait(batch, since: start)
        // Only now: the receiver of the gradients may change scale and shift, which were read just above.
        buffers.reduce(layer.range, .normalization, pool: pool, label: labels.addition)
        try gradientReady(layer.range)
      case .reduceParameterGradients(let operation):
        let start = labels.now()
        buffers.reduce(
          operation.parameterRange, pairedCount: pairedCount(operation, buffers, batch), pool: pool,
          label: labels.addition)
        labels.record(labels.addition, since: start)
        try gradientReady(operation.parameterRange)
      }
    }
  }

  /// The gradients of this rank's microbatches: one store per maximal subtree of the reduction tree within them.
  public var subtreeGradients: [ParameterStore] { gradients?.subtreeSums ?? [] }

  /// The number of an operation's leading parameters whose gradients its backward pass has summed over pairs of microbatches.
  private func pairedCount(_ operation: Operation, _ buffers: GradientBuffers, _ batch: LocalBatch) -> Int {
    guard case .convolution(let operation) = operation else { return 0 }
    return buffers.sumsPairs(within: workItems(operation.layer, batch)) ? operation.layer.geometry.weightCount : 0
  }

  /// Runs the backward pass of one convolution over this rank's microbatches.
  private func backward(
    _ operation: ConvolutionOperation, _ images: UnsafePointer<Float>, _ outputGradient: TensorGradient,
    _ inputGradient: InputGradient?, _ buffers: GradientBuffers, _ batch: LocalBatch, isDropping: Bool
  ) {
    let layer = operation.layer
    if inputGradient != nil { packWeight(layer, for: .backward) }
    let items = workItems(layer, batch)
    let loop = BackwardLoop(
      executor: self, geometry: layer.geometry, weight: weight(layer), hasBias: layer.bias != nil, items: items,
      sumsPairs: buffers.sumsPairs(within: items), input: input(operation.input.tensor, images),
      norm: operation.input.normalization.map(norm), destinations: buffers.destinations(of: layer.range),
      source: OutputGradientSource(outputGradient, self), target: inputGradient.map { ($0, gradient($0.value)) },
      dropout: isDropping ? operation.input.dropout : nil)
    let start = labels.now()
    pool.parallelFor(items.count, with: loop, label: labels.backward(layer)) { loop, item, worker in
      let (executor, geometry, norm) = (loop.pointee.executor, loop.pointee.geometry, loop.pointee.norm)
      let m = loop.pointee.items.firstMicrobatch(item)
      let first = loop.pointee.items.batch.firstImage(m)
      executor.engine.backward(
        geometry, loop.pointee.items.microbatches(item),
        input: ConvolutionInput(
          activation: loop.pointee.input + first * geometry.inputCount, normalization: norm?.normalizedReLU(m),
          dropout: loop.pointee.dropout.map { executor.dropouts[$0.index].mask(first, $0) }),
        weight: loop.pointee.weight, packed: executor.packed,
        outputGradient: loop.pointee.source.operand(m, offset: first * geometry.outputCount),
        parameterGradient: ConvolutionParameterGradient(
          destinations: loop.pointee.destinations + m, hasBias: loop.pointee.hasBias,
          sumsPairs: loop.pointee.sumsPairs),
        inputGradient: loop.pointee.target.map { target, memory in
          let gradient = memory + first * geometry.inputCount
          let addend = target.accumulates ? UnsafePointer(gradient) : nil
          return target.isMasked
            ? norm?.inputGradient(m, gradient, addend: addend) ?? ConvolutionInputGradient(gradient: gradient)
            : ConvolutionInputGradient(gradient: gradient, addend: addend)
        }, scratch: executor.scratch(worker))
    }
    labels.record(labels.backward(layer), since: start)
  }

  /// Computes the gradient of the input of a scaling: factor · the gradient of its output.
  private func backward(
    _ operation: ScalingOperation, _ outputGradient: TensorGradient, _ target: UnsafeMutablePointer<Float>,
    _ batch: LocalBatch
  ) {
    let context = (
      operation: operation, source: OutputGradientSource(outputGradient, self), target: target, batch: batch
    )
    pool.parallelFor(batch.localCount, with: context) { context, m, _ in
      let (operation, source, target, batch) = context.pointee
      let (factor, channels, count) = (operation.factor, operation.input.channels, operation.input.elementCount)
      let first = batch.firstImage(m) * count
      let operand = source.operand(m, offset: first)
      for i in 0..<batch.imageCount(m) * count {
        var sum = operand.gradient[i]
        if let map = operand.normalization {
          let c = i % channels
          sum = map.gradientScale[c] * sum + (map.activationScale[c] * map.activation[i] + map.constant[c])
        }
        target[first + i] = factor * (sum + (operand.addend?[i] ?? 0))
      }
    }
  }

  /// Runs the backward pass of the classifier.
  private func backward(
    _ operation: ClassifierOperation, _ target: UnsafeMutablePointer<Float>, _ buffers: GradientBuffers,
    _ batch: LocalBatch
  ) {
    guard let layer = operation.input.normalization else { preconditionFailure("the classifier reads a raw tensor") }
    let tensor = operation.input.tensor
    let context = (
      executor: self, norm: norm(layer), input: activation(tensor), count: tensor.elementCount, pixels: layer.pixels,
      target: target, buffers: buffers, batch: batch
    )
    let start = labels.now()
    pool.parallelFor(batch.localCount, with: context, label: labels.headBackward) { context, m, _ in
      let (executor, norm, input, count, pixels, target, buffers, batch) = context.pointee
      let first = batch.firstImage(m)
      let offset = first * count
      executor.head.backward(
        first: first, imageCount: batch.imageCount(m), pixels: pixels, activation: input + offset,
        map: norm.normalizedReLU(m), parameters: executor.parameters,
        destination: buffers.destination(m, of: executor.graph.classifier.layer.range),
        inputGradient: norm.inputGradient(m, target + offset))
    }
    labels.record(labels.headBackward, since: start)
  }
}

/// The memory of a ``TensorGradient``.
private struct OutputGradientSource {
  private let gradient: UnsafeMutablePointer<Float>
  private let norm: BatchNormalization?
  private let activation: UnsafeMutablePointer<Float>
  private let addend: UnsafeMutablePointer<Float>?
  private let saved: UnsafeMutablePointer<Float>?

  init(_ source: TensorGradient, _ executor: ModelExecutor) {
    gradient = executor.gradient(source.gradient)
    norm = source.normalization.map(executor.norm)
    activation = executor.activation(source.tensor)
    addend = source.addend.map(executor.gradient)
    saved = source.saved.map(executor.gradient)
  }

  /// The operand for local microbatch `m` and those after it, whose first element is at `offset`.
  func operand(_ m: Int, offset: Int) -> ConvolutionOutputGradient {
    ConvolutionOutputGradient(
      gradient: gradient + offset, normalization: norm?.gradient(m, activation: activation + offset),
      addend: addend.map { UnsafePointer($0 + offset) }, savedGradient: saved.map { $0 + offset })
  }
}

/// What the work items of a convolution's backward pass share, read member by member as in the forward pass.
private struct BackwardLoop {
  let executor: ModelExecutor
  let geometry: ConvolutionGeometry
  let weight: UnsafePointer<Float>
  let hasBias: Bool
  let items: LayerWorkItems
  let sumsPairs: Bool
  let input: UnsafePointer<Float>
  let norm: BatchNormalization?
  let destinations: UnsafePointer<UnsafeMutablePointer<Float>>
  let source: OutputGradientSource
  let target: (InputGradient, UnsafeMutablePointer<Float>)?
  let dropout: DropoutLayer?
}
