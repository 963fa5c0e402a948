import Collectives
import Models
import Optimizers
import Tensors

/// The average of the weights that the optimizer's state holds, with separate running statistics.
///
/// Every rank has all of it while it is evaluated or saved. Executors read the model's own memory, so the average changes
/// places with the model for an evaluation.
package final class WeightAverage {
  /// The averaged parameters and their running statistics, as of the last ``refresh(after:_:_:)``.
  package let averaged: ModelState
  private let model: ModelState
  private let interval: Int
  private let communicator: any Communicator
  private var refreshedStep = 0

  /// Allocates the average.
  ///
  /// - Parameters:
  ///   - model: The model whose optimizer averages the weights.
  ///   - interval: The steps between averagings.
  ///   - communicator: The ranks.
  package init(_ model: ModelState, interval: Int, communicator: any Communicator) {
    self.model = model
    self.interval = interval
    self.communicator = communicator
    averaged = ModelState(model.graph)
  }

  /// The bytes of parameters and statistics.
  package var byteCount: Int { averaged.byteCount }

  /// Collective: gathers the average after a step and estimates its running statistics.
  ///
  /// A second call after the same step does nothing. Blocks until all ranks have contributed.
  ///
  /// - Parameters:
  ///   - number: The number of the last step.
  ///   - step: The training step, which holds the optimizer's state.
  ///   - estimation: Estimates running statistics.
  /// - Returns: Whether there is an average: the first averaging is due after the first interval.
  /// - Throws: `DatasetError` if a record is invalid, `CommunicationError` if a message fails.
  package func refresh(after number: Int, _ step: TrainingStep, _ estimation: StatisticsEstimation) throws -> Bool {
    guard AveragingRule.hasAverage(at: number, every: interval) else { return false }
    if refreshedStep == number { return true }
    try step.withGatheredState { gathered in
      // Rank 0 alone has the state of all shards.
      let state = gathered.optimizerStates.first { $0.name == AveragingRule.stateName }
      if let state, communicator.rank == 0 { averaged.parameters.copy(from: state.store) }
    }
    try communicator.broadcast(averaged.parameters.bytes, root: 0)
    try inPlaceOfModel { try estimation(step) }
    refreshedStep = number
    return true
  }

  /// Marks the average as out of date, after the model has been replaced.
  func forget() { refreshedStep = 0 }

  /// Calls a body while the average and the model have changed places.
  package func inPlaceOfModel(_ body: () throws -> Void) rethrows {
    exchange()
    defer { exchange() }
    try body()
  }

  private func exchange() {
    for (a, b) in zip(model.replicatedStores, averaged.replicatedStores) {
      for i in 0..<a.elements.count { (a.pointer[i], b.pointer[i]) = (b.pointer[i], a.pointer[i]) }
    }
  }
}
