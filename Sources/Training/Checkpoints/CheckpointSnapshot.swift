import Models
import Tensors

/// Rank 0's copy of everything that a checkpoint holds, from which it is written while training continues.
///
/// Its memory is planned and allocated before the first step.
struct CheckpointSnapshot: Sendable {
  /// Parameters, running statistics and all optimizer states.
  let model: ModelState
  /// The averaged weights with their running statistics; `nil` if the run has none.
  let average: ModelState?

  /// Allocates a copy.
  ///
  /// - Parameters:
  ///   - graph: The layers.
  ///   - stateNames: The names of the optimizer's states.
  ///   - hasAverage: Whether weights are averaged.
  init(_ graph: ModelGraph, stateNames: [String], hasAverage: Bool) {
    model = ModelState(graph, optimizerStates: stateNames)
    average = hasAverage ? ModelState(graph) : nil
  }

  /// The bytes of the copy.
  var byteCount: Int { model.byteCount + (average?.byteCount ?? 0) }

  /// Returns ``byteCount`` before anything is allocated.
  static func byteCount(_ graph: ModelGraph, stateCount: Int, hasAverage: Bool) -> Int {
    let replicated = graph.parameterCount + graph.statisticsLayout.elementCount
    return 4 * (replicated * (hasAverage ? 2 : 1) + stateCount * graph.parameterCount)
  }
}

extension ModelState {
  /// The name of the first tensor with a number that is not finite, as a checkpoint spells it; `nil` if there is none.
  package func firstNonfiniteTensor() -> String? {
    for (prefix, store) in replicatedStores.map({ ("", $0) }) + optimizerStates.map({ ("\($0.name).", $0.store) }) {
      for parameter in store.layout.parameters where !Self.isFinite(store, parameter.range) {
        return prefix + parameter.name
      }
    }
    return nil
  }

  private static func isFinite(_ store: ParameterStore, _ range: Range<Int>) -> Bool {
    // No early exit, so that the loop is one of vectors.
    var found: UInt32 = 0
    for i in range {
      let exponent = store.pointer[i].bitPattern & 0x7f80_0000
      found |= exponent == 0x7f80_0000 ? 1 : 0
    }
    return found == 0
  }
}
