import ArgumentParser
import Collectives
import DataParallel
import Datasets
import Foundation
import Models
import Training

/// An error as the user sees it: one sentence and an exit code.
struct CommandFailure {
  private let error: any Error

  /// Wraps an error of any kind.
  init(_ error: any Error) { self.error = error }

  /// What the process exits with.
  var exitCode: Int32 {
    switch error {
    case let failure as StartupFailure: failure.exitCode
    case let failure as CollectiveFailure: failure.verdict.failure.exitCode
    case let failure as DatasetError:
      failure.kind == .bad ? ExitCodes.badData : ExitCodes.cannotCreate
    case let failure as CheckpointError: failure.exitCode
    case is CommunicationError, is ConsistencyDigest.Mismatch: ExitCodes.peerFailure
    case let failure as SettingsConsistency.Difference: failure.subject.exitCode
    case is UsageError, is InvalidModel, is MicrobatchPlan.InvalidPlan,
      is WorldSizeError, is InstructionSet.Unavailable, is FaultInjection.Refused:
      ExitCodes.usage
    case is TrainingStopped: ExitCodes.stopped
    case is TrainingDiverged: ExitCodes.diverged
    case is RanksDesynchronized: ExitCodes.internal
    case let code as ExitCode: code.rawValue
    default:
      // What is left is the argument parser's, or nobody's.
      error is CleanExit || WRNDist.exitCode(for: error) != .failure
        ? WRNDist.exitCode(for: error).rawValue : ExitCodes.internal
    }
  }

  /// What is wrong, where, and how to mend it.
  var sentence: String { "\(error)" }

  /// The line that rank 0 prints for all; to stop on request is no error.
  var line: String {
    error is TrainingStopped ? "wrn-dist: \(sentence)" : "wrn-dist: error: \(sentence)"
  }

  /// Tells whether every rank meets this error, so that rank 0 speaks for all.
  var isCollective: Bool {
    error is CollectiveFailure || error is ConsistencyDigest.Mismatch || error is SettingsConsistency.Difference
      || error is TrainingStopped || error is TrainingDiverged || error is RanksDesynchronized
  }

  /// Prints the error and ends the process.
  ///
  /// Before ranks are connected all of them usually meet the same error; the others leave rank 0 the time to say it, because
  /// `mpirun` ends the job when the first one exits. Who lives on longer than that has an error of its own, and says it.
  func exit() -> Never {
    let environment = LaunchEnvironment(ProcessInfo.processInfo.environment)
    if (environment.rank ?? 0) == 0 {
      report()
    } else if exitCode != 0 {
      Thread.sleep(forTimeInterval: 5)
      report()
    }
    Foundation.exit(exitCode)
  }

  /// Prints the error: help to standard output, anything else to standard error.
  private func report() {
    if error is ExitCode { return }
    let isParserError = WRNDist.exitCode(for: error) != .failure
    if isParserError {
      let message = WRNDist.fullMessage(for: error)
      (exitCode == 0 ? FileHandle.standardOutput : .standardError).write(Data((message + "\n").utf8))
    } else {
      FileHandle.standardError.write(Data("\(line)\n".utf8))
    }
  }
}

/// A failure at the start of some rank, known to all.
struct CollectiveFailure: Error, CustomStringConvertible {
  /// Who failed, and why.
  let verdict: StartupConsensus.FirstFailure

  /// The sentence, with the rank if it is not the one that speaks.
  var description: String {
    verdict.rank == 0
      ? verdict.failure.message : "rank \(verdict.rank): \(verdict.failure.message)"
  }
}

extension SettingsConsistency.Subject {
  /// What the process exits with when ranks differ in it.
  var exitCode: Int32 {
    switch self {
    case .flags: ExitCodes.usage
    case .data: ExitCodes.badData
    case .program, .layout: ExitCodes.internal
    }
  }
}

/// The exit codes that scripts may rely on; the numbers are those of BSD's sysexits.h as far as it goes.
enum ExitCodes {
  /// A flag, a value or a combination that cannot be run.
  static let usage: Int32 = 64
  /// A data set or checkpoint that is missing or bad.
  static let badData: Int32 = 65
  /// A rank or a network connection that failed, ranks that do not agree, or a host without the memory for them.
  static let peerFailure: Int32 = 69
  /// A defect of the program.
  static let `internal`: Int32 = 70
  /// An output that cannot be created.
  static let cannotCreate: Int32 = 73
  /// Reading or writing failed.
  static let inputOutput: Int32 = 74
  /// Stopped on request after a checkpoint: start the same command again to go on.
  static let stopped: Int32 = 75
  /// The loss is no longer a number.
  static let diverged: Int32 = 76
}
