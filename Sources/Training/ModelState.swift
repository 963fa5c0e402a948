import Collectives
import Networks
import Tensors

/// All numbers that a run carries from step to step: what a checkpoint holds and every rank has alike.
public struct ModelState: Sendable {
  /// The layers.
  public let network: WideResNet
  /// The trained tensors.
  public let parameters: ParameterStore
  /// The running statistics of the batch normalisations.
  public let runningStatistics: ParameterStore
  /// Adam's m.
  public let firstMoment: ParameterStore
  /// Adam's v.
  public let secondMoment: ParameterStore

  /// Allocates a model of zeros.
  public init(_ network: WideResNet) {
    self.network = network
    parameters = ParameterStore(network.parameterLayout)
    runningStatistics = ParameterStore(network.statisticsLayout)
    firstMoment = ParameterStore(network.parameterLayout)
    secondMoment = ParameterStore(network.parameterLayout)
  }

  /// All stores, each in one piece.
  public var stores: [ParameterStore] { [parameters, runningStatistics, firstMoment, secondMoment] }

  /// The bytes of all stores.
  public var byteCount: Int { stores.reduce(0) { $0 + $1.bytes.count } }

  /// Copies the root's numbers to every rank.
  ///
  /// Every rank calls it.
  ///
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public func broadcast(root: Int, on communicator: any Communicator) throws {
    for store in stores { try communicator.broadcast(store.bytes, root: root) }
  }
}
