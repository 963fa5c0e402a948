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

  /// The bytes of all stores.
  public var byteCount: Int {
    3 * parameters.bytes.count + runningStatistics.bytes.count
  }
}
