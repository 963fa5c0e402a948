import Collectives
import Models
import Tensors

/// All numbers that a run carries from step to step: what a checkpoint holds.
///
/// Every rank has all parameters and running statistics. The moments may be divided among the ranks
/// (``OptimizerStateMode/sharded``); then this holds them only while a checkpoint is read or written, on rank 0.
public struct ModelState: Sendable {
  /// The layers.
  public let network: ModelGraph
  /// The trained tensors.
  public let parameters: ParameterStore
  /// The running statistics of the batch normalisations.
  public let runningStatistics: ParameterStore
  private let moments: MomentStores

  /// Allocates a model of zeros.
  ///
  /// - Parameters:
  ///   - network: The layers.
  ///   - holdingMoments: Whether to have moments from the start.
  public init(_ network: ModelGraph, holdingMoments: Bool = true) {
    self.network = network
    parameters = ParameterStore(network.parameterLayout)
    runningStatistics = ParameterStore(network.statisticsLayout)
    moments = MomentStores(holdingMoments ? network.parameterLayout : ParameterLayout())
  }

  /// Adam's m; empty while the ranks have it in shards.
  public var firstMoment: ParameterStore { moments.first }
  /// Adam's v, likewise.
  public var secondMoment: ParameterStore { moments.second }

  /// What every rank has: parameters and running statistics.
  public var weights: [ParameterStore] { [parameters, runningStatistics] }

  /// All stores, each in one piece.
  public var stores: [ParameterStore] { weights + [firstMoment, secondMoment] }

  /// The bytes of all stores.
  public var byteCount: Int { stores.reduce(0) { $0 + $1.bytes.count } }

  /// Makes room for moments, all zero.
  func allocateMoments() { moments.replace(network.parameterLayout) }

  /// Gives the memory of the moments back.
  func releaseMoments() { moments.replace(ParameterLayout()) }

  /// Copies the root's parameters and running statistics to every rank, and its moments if every rank is to have them.
  ///
  /// Every rank calls it.
  ///
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public func broadcast(
    root: Int, momentsToo: Bool, on communicator: any Communicator
  ) throws {
    for store in momentsToo ? stores : weights {
      try communicator.broadcast(store.bytes, root: root)
    }
  }
}

/// The moments of a model, which come and go while its other stores stay; changed between steps only, by one thread.
private final class MomentStores: @unchecked Sendable {
  private(set) var first: ParameterStore
  private(set) var second: ParameterStore

  init(_ layout: ParameterLayout) {
    first = ParameterStore(layout)
    second = ParameterStore(layout)
  }

  func replace(_ layout: ParameterLayout) {
    first = ParameterStore(layout)
    second = ParameterStore(layout)
  }
}
