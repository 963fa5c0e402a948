import Tensors

extension ModelExecutor {
  /// Computes the gradients of all parameters for the batch of the last forward pass, which must have used batch
  /// statistics.
  ///
  /// The gradients of this rank's microbatches are left in ``subtreeGradients``, one store for every subtree of the
  /// reduction tree that lies wholly in this rank's run. Layers are visited from the last to the first. With batch
  /// statistics over the global batch, every rank must call it, in the same order.
  ///
  /// - Parameters:
  ///   - images: The batch's images, as given to the forward pass.
  ///   - run: The microbatches of the batch.
  ///   - gradientReady: Called when the gradients of some elements are complete in all segments, once for every
  ///     element, later layers first. The parameters of these elements are not read any more.
  /// - Throws: ``CommunicationError`` if an exchange fails; what `gradientReady` throws.
  /// - Precondition: The pass is for training.
  public func backward(
    _ images: UnsafePointer<Float>, run: LocalBatch,
    gradientReady: (Range<Int>) throws -> Void
  ) throws {
    guard let memory = gradients else { preconditionFailure("this pass keeps no activations") }
    try backwardHead(memory, run, gradientReady)
    for g in network.groups.indices.reversed() {
      let x = g == 0 ? stemOutput : groupActivations[g - 1].last
      try backward(
        network.groups[g], groupActivations[g], x, memory, run, next: normAfter(group: g),
        hasSkip: g < network.groups.count - 1, gradientReady)
    }
    backward(
      network.stem, from: images, run: run, memory: memory,
      arriving: OutputGradientSource(
        memory.outer, through: norms[0], at: stemOutput, addend: memory.skip))
    try combine(network.stem.range, memory, gradientReady)
  }

  /// The gradients of this rank's microbatches, one store a subtree of the reduction tree.
  public var subtreeGradients: [ParameterStore] { gradients?.segments ?? [] }

  private func backwardHead(
    _ memory: GradientBuffers, _ run: LocalBatch, _ gradientReady: (Range<Int>) throws -> Void
  ) throws {
    let norm = norm(network.norm)
    let z = groupActivations[groupActivations.count - 1].last
    let start = spans.now()
    pool.run(run.localCount, with: (self, norm, z, memory, run), label: spans.headBackward) {
      context, m, _ in
      let (pass, norm, z, memory, run) = context
      let first = run.firstImage(m)
      let offset = first * pass.network.norm.channels * pass.head.pixels
      pass.head.backward(
        first: first, imageCount: run.imageCount(m), activation: z.pointer + offset,
        map: norm.normalizedReLU(m), parameters: pass.parameters,
        leaf: memory.leaf(m, of: pass.network.head.range),
        inputGradient: norm.inputGradient(m, memory.outer.pointer + offset))
    }
    spans.record(spans.headBackward, since: start)
    try norm.startBackward(run, memory)
    try combine(network.head.range, memory, gradientReady)
    try finish(norm, memory, run, gradientReady)
  }

  /// The way back through a group; see ``ResidualGroup``.
  ///
  /// `memory.skip` holds what reaches a joint along the identity skip: on entry the gradient that the following group's
  /// shortcut sends to z (if `hasSkip`), then the gradient of z, then that of y; on return the gradient that this
  /// group's shortcut sends to x. `memory.outer` and `memory.inner` hold masked gradients behind the blocks' first and
  /// second normalisation.
  private func backward(
    _ group: ResidualGroup, _ activations: GroupActivations, _ x: Tensor,
    _ memory: GradientBuffers, _ run: LocalBatch, next: BatchNormalization, hasSkip: Bool,
    _ gradientReady: (Range<Int>) throws -> Void
  ) throws {
    let last = group.blocks.count - 1
    for b in group.blocks.indices.reversed() {
      let block = group.blocks[b]
      let (norm1, norm2) = (norm(block.norm1), norm(block.norm2))
      let (inner, outer) = (activations.inner[b], activations.outer[b])
      // z and y are joints: what comes through the layers behind and what comes along the skip meet there, and the sum
      // is kept for the skip's other end.
      let isResidualAdd = b == last || b == 0
      var arriving = OutputGradientSource(
        memory.outer, through: b == last ? next : norm(group.blocks[b + 1].norm1), at: outer,
        addend: isResidualAdd && (b < last || hasSkip) ? memory.skip : nil,
        stored: isResidualAdd ? memory.skip : nil)
      if last == 0 { arriving = doubled(arriving, into: memory.skip, run) }
      backward(
        block.conv2, from: inner.pointer, via: norm2, run: run, memory: memory,
        arriving: arriving, into: memory.inner)
      try norm2.startBackward(run, memory)
      // While the ranks' sums travel: what does not need them.
      try combine(block.conv2.range, memory, gradientReady)
      if b == 0 {
        backward(
          group.shortcut, from: x.pointer, run: run, memory: memory,
          arriving: OutputGradientSource(memory.skip), into: memory.nextSkip)
        try combine(group.shortcut.range, memory, gradientReady)
      }
      try finish(norm2, memory, run, gradientReady)
      backward(
        block.conv1, from: b == 0 ? x.pointer : activations.outer[b - 1].pointer, via: norm1,
        run: run, memory: memory,
        arriving: OutputGradientSource(memory.inner, through: norm2, at: inner), into: memory.outer)
      try norm1.startBackward(run, memory)
      try combine(block.conv1.range, memory, gradientReady)
      try finish(norm1, memory, run, gradientReady)
    }
    memory.swapSkips()
  }

  /// Runs the backward pass of one convolution over this rank's microbatches.
  ///
  /// - Parameters:
  ///   - layer: The convolution.
  ///   - input: What the forward pass read.
  ///   - norm: What normalised it; nil if it was taken raw.
  ///   - run: The microbatches of the batch.
  ///   - memory: Gradients.
  ///   - source: The gradient of the convolution's output.
  ///   - target: Where the gradient of the input goes; nil if nobody needs it.
  private func backward(
    _ layer: ConvolutionLayer, from input: UnsafePointer<Float>, via norm: BatchNormalization? = nil,
    run: LocalBatch, memory: GradientBuffers, arriving source: OutputGradientSource,
    into target: Tensor? = nil
  ) {
    if target != nil { packWeight(layer, for: .backward) }
    let parts = workItems(layer, run)
    let leaves = memory.leaves(of: layer.range)
    let context = (self, layer, input, norm, parts, leaves, source, target)
    let start = spans.now()
    pool.run(parts.count, with: context, label: spans.backward(layer)) { context, part, worker in
      let (pass, layer, input, norm, parts, leaves, source, target) = context
      let geometry = layer.geometry
      let m = parts.firstMicrobatch(part)
      let first = parts.batch.firstImage(m)
      pass.engine.backward(
        geometry, parts.microbatches(part),
        input: ConvolutionInput(
          activation: input + first * geometry.inputCount, normalization: norm?.normalizedReLU(m)),
        weight: pass.weight(layer), packed: pass.packed,
        outputGradient: source.operand(m, offset: first * geometry.outputCount),
        parameterGradient: ConvolutionParameterGradient(
          destinations: leaves + m, hasBias: layer.bias != nil),
        inputGradient: target.map { target in
          let gradient = target.pointer + first * geometry.inputCount
          return norm?.inputGradient(m, gradient) ?? ConvolutionInputGradient(gradient: gradient)
        }, scratch: pass.scratch(worker))
    }
    spans.record(spans.backward(layer), since: start)
  }

  /// Forms the gradient of y in a group of one block, where z = 2·y: twice the gradient of z.
  private func doubled(
    _ source: OutputGradientSource, into target: Tensor, _ run: LocalBatch
  ) -> OutputGradientSource {
    pool.run(run.localCount, with: (source, target, run)) { context, m, _ in
      let (source, target, run) = context
      let count = source.activationCountPerImage
      let first = run.firstImage(m) * count
      let operand = source.operand(m, offset: first)
      guard let map = operand.normalization else { return }
      for i in 0..<run.imageCount(m) * count {
        let c = i % source.channels
        let sum =
          map.gradientScale[c] * operand.gradient[i]
          + (map.activationScale[c] * map.activation[i] + map.constant[c])
        target.pointer[first + i] = 2 * (sum + (operand.addend?[i] ?? 0))
      }
    }
    return OutputGradientSource(target)
  }

  /// Ends a batch normalisation's exchange and hands over its gradients.
  private func finish(
    _ norm: BatchNormalization, _ memory: GradientBuffers, _ run: LocalBatch,
    _ gradientReady: (Range<Int>) throws -> Void
  ) throws {
    let start = spans.now()
    try norm.finishBackward(run, parameters: parameters)
    spans.recordStatisticsWait(run, since: start)
    // Only now: who gets the gradients may change scale and shift, which were read just above.
    memory.combine(norm.layer.range, .normalization, pool: pool, label: spans.addition)
    try gradientReady(norm.layer.range)
  }

  /// Joins the microbatches' gradients of one layer and hands them over.
  private func combine(
    _ range: Range<Int>, _ memory: GradientBuffers, _ gradientReady: (Range<Int>) throws -> Void
  ) throws {
    let start = spans.now()
    memory.combine(range, pool: pool, label: spans.addition)
    spans.record(spans.addition, since: start)
    try gradientReady(range)
  }
}

/// Where the gradient of a convolution's output comes from: see ``ConvolutionOutputGradient``.
struct OutputGradientSource {
  private let gradient: Tensor
  private let norm: BatchNormalization?
  private let activation: Tensor?
  private let addend: Tensor?
  private let stored: Tensor?

  /// Takes the gradient of the output itself.
  init(_ gradient: Tensor) {
    self.gradient = gradient
    norm = nil
    activation = nil
    addend = nil
    stored = nil
  }

  /// Takes the masked gradient behind a normalisation of `activation`, adds what comes along a skip, keeps the sum.
  init(
    _ gradient: Tensor, through norm: BatchNormalization, at activation: Tensor,
    addend: Tensor? = nil, stored: Tensor? = nil
  ) {
    self.gradient = gradient
    self.norm = norm
    self.activation = activation
    self.addend = addend
    self.stored = stored
  }

  /// The elements of one image of the normalised activation.
  var activationCountPerImage: Int { activation?.elementCountPerImage ?? 0 }
  /// The channels of the normalised activation.
  var channels: Int { norm?.layer.channels ?? 1 }

  /// The operand for local microbatch `m`, whose first element is at `offset`.
  func operand(_ m: Int, offset: Int) -> ConvolutionOutputGradient {
    ConvolutionOutputGradient(
      gradient: gradient.pointer + offset,
      normalization: activation.flatMap { activation in
        norm?.gradient(m, activation: activation.pointer + offset)
      }, addend: addend.map { UnsafePointer($0.pointer + offset) },
      savedGradient: stored.map { $0.pointer + offset })
  }
}
