import Collectives
import Synchronization

/// A wish to stop after the current step, from a signal to any one rank.
public final class StopRequest: Sendable {
  private let flag = Atomic<Bool>(false)

  /// Makes a request that nobody has made yet.
  public init() {}

  /// Asks to stop; may be called from a signal handler.
  public func request() { flag.store(true, ordering: .relaxed) }

  /// Tells whether this rank was asked.
  public var isMade: Bool { flag.load(ordering: .relaxed) }
}

/// Joins the ranks' stop requests, so that all of them stop after the same step.
final class StopAgreement {
  private let request: StopRequest
  private let communicator: any Communicator
  private let counts: [Int]
  private var flags: [UInt8]

  init(_ request: StopRequest, communicator: any Communicator) {
    self.request = request
    self.communicator = communicator
    counts = [Int](repeating: 1, count: communicator.worldSize)
    flags = [UInt8](repeating: 0, count: communicator.worldSize)
  }

  /// Tells whether any rank was asked to stop.
  ///
  /// Every rank calls it once a step.
  ///
  /// - Throws: ``CommunicationError`` if the exchange fails.
  func isMadeAnywhere() throws -> Bool {
    var mine: UInt8 = request.isMade ? 1 : 0
    guard communicator.worldSize > 1 else { return mine != 0 }
    try withUnsafeBytes(of: &mine) { send in
      try flags.withUnsafeMutableBytes { receive in
        try communicator.allGather(send, into: receive, counts: counts)
      }
    }
    return flags.contains { $0 != 0 }
  }
}

/// The run stopped after a step because somebody asked it to, with a checkpoint of that step.
public struct TrainingStopped: Error, CustomStringConvertible {
  /// The last step done.
  public let step: Int
  /// The run's folder.
  public let outputDirectory: String

  /// One sentence: where it stopped and how to go on.
  public var description: String {
    "stopped on request after step \(step), checkpoint written; "
      + "the same command with --output-dir \(outputDirectory) goes on from there."
  }
}

/// The loss or the gradient is no longer a number.
public struct TrainingDiverged: Error, CustomStringConvertible {
  /// The step whose loss or gradient is not finite.
  public let step: Int

  /// One sentence: where, and what may help.
  public var description: String {
    "the run diverged: loss or gradient of step \(step) is not finite; the parameters of step \(step) are not saved; "
      + "start again with a lower --learning-rate or resume from the last checkpoint."
  }
}
