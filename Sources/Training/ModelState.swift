import Collectives
import Models
import Tensors

/// Everything that a run carries from step to step, and that a checkpoint holds.
///
/// Every rank has all parameters and running statistics. With sharded optimizer state
/// (``OptimizerStateMode/sharded``) the model holds the optimizer's states only while a checkpoint is read or written, on
/// rank 0.
public struct ModelState: Sendable {
  /// The layers.
  public let graph: ModelGraph
  /// The trained tensors.
  public let parameters: ParameterStore
  /// The running statistics of the batch norms.
  public let runningStatistics: ParameterStore
  private let states: OptimizerStates

  /// Allocates a model of zeros.
  ///
  /// - Parameters:
  ///   - graph: The layers.
  ///   - names: The update rule's state names, if the model is to hold them from the start.
  public init(_ graph: ModelGraph, optimizerStates names: [String] = []) {
    self.graph = graph
    parameters = ParameterStore(graph.parameterLayout)
    runningStatistics = ParameterStore(graph.statisticsLayout)
    states = OptimizerStates()
    allocateOptimizerStates(names)
  }

  /// The optimizer's states with the layout of the parameters, in the order of the rule's names; empty while sharded.
  public var optimizerStates: [(name: String, store: ParameterStore)] { states.all }

  /// The stores that every rank has: parameters and running statistics.
  public var replicatedStores: [ParameterStore] { [parameters, runningStatistics] }

  /// All stores: parameters, running statistics and the optimizer's states.
  public var stores: [ParameterStore] { replicatedStores + optimizerStates.map(\.store) }

  /// The bytes of all stores.
  public var byteCount: Int { stores.reduce(0) { $0 + $1.bytes.count } }

  /// Allocates the optimizer's states, all zero.
  func allocateOptimizerStates(_ names: [String]) {
    states.all = names.map { ($0, ParameterStore(graph.parameterLayout)) }
  }

  /// Frees the memory of the optimizer's states.
  func releaseOptimizerStates() { states.all = [] }

  /// Collective: copies the root's parameters and running statistics to every rank.
  ///
  /// - Parameters:
  ///   - root: The sending rank.
  ///   - includingOptimizerStates: Whether to copy the optimizer's states too, which every rank must hold then.
  ///   - communicator: The ranks.
  /// - Throws: `CommunicationError` if a broadcast fails.
  public func broadcast(
    root: Int, includingOptimizerStates: Bool = false, on communicator: any Communicator
  ) throws {
    for store in includingOptimizerStates ? stores : replicatedStores {
      try communicator.broadcast(store.bytes, root: root)
    }
  }
}

/// The optimizer's states of a model, allocated and released while its other stores stay.
///
/// One thread changes them, between steps only.
private final class OptimizerStates: @unchecked Sendable {
  var all: [(name: String, store: ParameterStore)] = []
}
