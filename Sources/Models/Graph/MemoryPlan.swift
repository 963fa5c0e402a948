/// Which activations and gradients share memory: interval coloring of their lifetimes.
///
/// A slot is memory for one value at a time; several values use it one after the other. Sizes are elements per image.
struct MemoryPlan: Sendable {
  /// Slots and the values in them.
  struct Slots: Sendable {
    /// The elements per image of every slot.
    fileprivate(set) var sizes: [Int] = []
    /// The slot of every value; `nil` where a value needs none.
    fileprivate(set) var slotOfValue: [Int?]

    /// The elements per image of all slots together.
    var elementCount: Int { sizes.reduce(0, +) }
  }

  /// The slots of the activations, by ``GraphTensor/index``.
  let activations: Slots
  /// The slots of the gradients, by ``GradientValue/index``; none for inference.
  let gradients: Slots

  /// Plans the memory of a graph.
  ///
  /// - Parameters:
  ///   - graph: The model.
  ///   - backward: Its backward pass; `nil` for inference.
  init(_ graph: ModelGraph, _ backward: BackwardSchedule?) {
    activations = Self.color(Self.lifetimes(graph, isTraining: backward != nil), count: graph.tensors.count)
    gradients = Self.color(backward.map(Self.lifetimes) ?? [], count: backward?.values.count ?? 0)
  }

  /// The elements per image of the activations that training keeps for the backward pass.
  static func savedElementCount(_ graph: ModelGraph) -> Int {
    graph.tensors.filter { $0 != graph.image && isSaved($0, graph) }.reduce(0) { $0 + $1.elementCount }
  }

  // MARK: Lifetimes

  /// The steps during which a value is in use.
  private struct Lifetime {
    let value: Int
    let size: Int
    /// The step that writes it.
    let start: Int
    /// The last step that reads it.
    var end: Int
    /// Values that the writing step reads element by element: if such a value ends there, its slot can be taken over.
    let overwritable: [Int]
  }

  /// Whether the backward pass reads an activation: as the input of a convolution or of a batch normalization.
  static func isSaved(_ tensor: GraphTensor, _ graph: ModelGraph) -> Bool {
    graph.operations.contains { operation in
      if case .scaling = operation { return false }
      return operation.input.tensor == tensor
    }
  }

  private static func lifetimes(_ graph: ModelGraph, isTraining: Bool) -> [Lifetime] {
    var lifetimes: [Lifetime] = []
    for (step, operation) in graph.operations.enumerated() {
      guard let tensor = operation.output else { continue }
      let readers = graph.operations.enumerated().filter { $0.element.reads(tensor) }.map(\.offset)
      let isKept = isTraining && isSaved(tensor, graph)
      lifetimes.append(
        Lifetime(
          value: tensor.index, size: tensor.elementCount, start: step, end: isKept ? .max : readers.last ?? step,
          overwritable: operation.overwritable.map(\.index)))
    }
    return lifetimes
  }

  private static func lifetimes(_ backward: BackwardSchedule) -> [Lifetime] {
    var lifetimes: [Lifetime?] = Array(repeating: nil, count: backward.values.count)
    for (step, action) in backward.steps.enumerated() {
      for value in action.reads { lifetimes[value.index]?.end = step }
      for value in action.writes {
        lifetimes[value.index] = Lifetime(
          value: value.index, size: value.elementCount, start: step, end: step,
          overwritable: action.overwritable(by: value).map(\.index))
      }
    }
    return lifetimes.compactMap { $0 }
  }

  // MARK: Coloring

  /// Assigns slots in the order in which values are written: an overwritable one, else the smallest free one that is large
  /// enough, else the largest free one, which grows.
  private static func color(_ lifetimes: [Lifetime], count: Int) -> Slots {
    var slots = Slots(slotOfValue: Array(repeating: nil, count: count))
    // The last step of every slot's present value.
    var busyUntil: [Int] = []
    let ends = Dictionary(uniqueKeysWithValues: lifetimes.map { ($0.value, $0.end) })
    for lifetime in lifetimes {
      let takenOver = lifetime.overwritable.first { ends[$0] == lifetime.start }.flatMap { slots.slotOfValue[$0] }
      let free = busyUntil.indices.filter { busyUntil[$0] < lifetime.start }.sorted {
        slots.sizes[$0] < slots.sizes[$1]
      }
      let slot = takenOver ?? free.first { slots.sizes[$0] >= lifetime.size } ?? free.last ?? slots.sizes.count
      if slot == slots.sizes.count {
        slots.sizes.append(0)
        busyUntil.append(0)
      }
      slots.sizes[slot] = max(slots.sizes[slot], lifetime.size)
      slots.slotOfValue[lifetime.value] = slot
      busyUntil[slot] = lifetime.end
    }
    return slots
  }
}

extension Operation {
  /// Whether the operation reads a tensor, as its input or as its addend.
  fileprivate func reads(_ tensor: GraphTensor) -> Bool {
    if case .convolution(let operation) = self, operation.addend == tensor { return true }
    return input.tensor == tensor
  }

  /// What the output may overwrite.
  fileprivate var overwritable: [GraphTensor] {
    switch self {
    case .convolution(let operation): operation.addend.map { $0 == operation.input.tensor ? [] : [$0] } ?? []
    case .scaling(let operation): [operation.input]
    case .classifier: []
    }
  }
}

extension BackwardSchedule.Step {
  /// The gradients of activations that the step reads.
  fileprivate var reads: [GradientValue] {
    switch self {
    case .convolution(_, let gradient, let target):
      gradient.terms + (target.map { $0.accumulates ? [$0.value] : [] } ?? [])
    case .scaling(_, let gradient, _): gradient.terms
    default: []
    }
  }

  /// The gradients of activations that the step writes.
  fileprivate var writes: [GradientValue] {
    switch self {
    case .classifier(_, let target), .scaling(_, _, let target): [target]
    case .convolution(_, let gradient, let target):
      [gradient.saved, target.flatMap { $0.accumulates ? nil : $0.value }].compactMap { $0 }
    default: []
    }
  }

  /// The terms that a gradient which the step writes may overwrite.
  ///
  /// A saved sum and a scaled gradient may overwrite their terms. An input gradient may not: engines still read the output
  /// gradient while they write it.
  fileprivate func overwritable(by value: GradientValue) -> [GradientValue] {
    switch self {
    case .convolution(_, let gradient, _) where gradient.saved == value: Array(gradient.terms.reversed())
    case .scaling(_, let gradient, _): Array(gradient.terms.reversed())
    default: []
    }
  }
}

extension TensorGradient {
  /// The values that are added.
  fileprivate var terms: [GradientValue] { [gradient] + (addend.map { [$0] } ?? []) }
}
