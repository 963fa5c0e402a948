import Tensors

/// The earliest number of a training step that is not finite, as far as one rank's microbatches show it.
public struct NonfiniteOrigin: Hashable, Sendable {
  /// The position in the order of computation; the lowest of all ranks is where it began.
  public var order: Int
  /// This rank's first images with such a number, at most ``maximumImageCount``; none if it cannot be told apart.
  public var images: [Int]

  /// The number of images that are listed.
  public static let maximumImageCount = 8
}

extension ModelExecutor {
  /// Whether the losses and batch statistics of this rank's microbatches are finite, after a forward pass.
  ///
  /// Cheap enough for every step. A finite activation may have a square that is not, so statistics are checked as well.
  public var isForwardFinite: Bool {
    head.lossSums.elements.allSatisfy { $0.isFinite } && norms.allSatisfy { $0.hasFiniteStatistics }
  }

  /// Finds where numbers first stopped being finite: in images, an operation's output, logits, batch statistics, or gradient.
  ///
  /// Call it after a backward pass, before the next forward pass.
  ///
  /// It reads activations that are kept for the backward pass, and allocates memory.
  ///
  /// - Parameters:
  ///   - images: This rank's images of the batch.
  ///   - batch: The microbatches of the batch.
  ///   - isOwn: Returns whether an element of the first subtree's gradient is this rank's alone, not a sum over ranks.
  /// - Returns: The origin; `nil` if all of this rank's numbers are finite.
  public func firstNonfinite(
    _ images: UnsafePointer<Float>, batch: LocalBatch, isOwn: (Int) -> Bool
  ) -> NonfiniteOrigin? {
    let count = batch.localImageCount
    func origin(_ order: Int, _ values: UnsafePointer<Float>, perImage size: Int) -> NonfiniteOrigin? {
      let found = (0..<count).lazy.filter { !Self.isFinite(values + $0 * size, count: size) }
      let images = Array(found.prefix(NonfiniteOrigin.maximumImageCount))
      return images.isEmpty ? nil : NonfiniteOrigin(order: order, images: images)
    }
    if let found = origin(0, images, perImage: graph.image.elementCount) { return found }
    for (i, operation) in graph.operations.enumerated() {
      guard let tensor = operation.output else { continue }
      guard MemoryPlan.isSaved(tensor, graph) else { continue }
      if let found = origin(i + 1, activation(tensor), perImage: tensor.elementCount) { return found }
    }
    if let found = origin(graph.operations.count, logits, perImage: graph.classCount) { return found }
    if let i = norms.firstIndex(where: { !$0.hasFiniteStatistics }) {
      return NonfiniteOrigin(order: graph.operations.count + 1 + i, images: [])
    }
    // Backward, from the last layer to the first.
    for (i, parameter) in graph.parameterLayout.parameters.enumerated().reversed() {
      for (s, sums) in (gradients?.subtreeSums ?? []).enumerated() {
        for element in parameter.range where !sums.pointer[element].isFinite && (s > 0 || isOwn(element)) {
          return NonfiniteOrigin(order: gradientOrder(i), images: [])
        }
      }
    }
    return nil
  }

  /// The order of the gradient of a parameter, for a rank that knows the sum over ranks alone.
  public func gradientOrder(_ parameter: Int) -> Int {
    graph.operations.count + 1 + norms.count + graph.parameterLayout.parameters.count - 1 - parameter
  }

  /// The name of the place of an order, such as `the output of stem`.
  public func place(order: Int) -> String {
    let operations = graph.operations.count
    if order == 0 { return "the images" }
    if order < operations, let tensor = graph.operations[order - 1].output { return "the output of \(tensor.name)" }
    if order == operations { return "the logits" }
    if order < operations + 1 + norms.count {
      return "the batch statistics \(norms[order - operations - 1].layer.runningVariance.name)"
    }
    let parameters = graph.parameterLayout.parameters
    return "the gradient of \(parameters[operations + norms.count + parameters.count - order].name)"
  }

  private static func isFinite(_ values: UnsafePointer<Float>, count: Int) -> Bool {
    for i in 0..<count where !values[i].isFinite { return false }
    return true
  }
}
