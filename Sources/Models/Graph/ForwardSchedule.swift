/// The forward pass as a list: the operations, and between them the exchanges of batch-norm statistics.
///
/// An exchange starts as soon as the tensor is written. It finishes right before the first operation that reads through
/// the normalization, so that operations in between hide it. At most one exchange is pending at a time.
package struct ForwardSchedule: Sendable {
  /// A step of the forward pass; with running statistics nothing is exchanged.
  package enum Step: Sendable {
    /// Computes an operation, and the sums of the batch normalization that reads its output, if one does.
    case compute(Operation, sums: NormalizationLayer?)
    case startStatistics(NormalizationLayer)
    case finishStatistics(NormalizationLayer)
  }

  package let steps: [Step]

  /// Derives the schedule from a graph.
  package init(_ graph: ModelGraph) {
    var steps: [Step] = []
    var pending: NormalizationLayer?
    func finish() {
      if let norm = pending { steps.append(.finishStatistics(norm)) }
      pending = nil
    }
    for operation in graph.operations {
      if let norm = operation.input.normalization, norm.index == pending?.index { finish() }
      let next = operation.output.flatMap(graph.normalization)
      steps.append(.compute(operation, sums: next))
      // The sums of a tensor that is scaled first are complete after the scaling.
      if let norm = next, graph.operations.contains(where: { $0.reads(operation.output, through: norm) }) {
        finish()
        steps.append(.startStatistics(norm))
        pending = norm
      }
    }
    self.steps = steps
  }
}

extension Operation {
  fileprivate func reads(_ tensor: GraphTensor?, through norm: NormalizationLayer) -> Bool {
    input.tensor == tensor && input.normalization?.index == norm.index
  }
}
