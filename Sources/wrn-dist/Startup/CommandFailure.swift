import ArgumentParser
import Collectives
import DataParallel
import Datasets
import Exporting
import Foundation
import Images
import Models
import Optimizers
import Reports
import Support
import Training

/// The message and exit code of an error.
struct CommandFailure {
  private let error: any Error

  /// Wraps an error of any kind.
  init(_ error: any Error) { self.error = error }

  /// The exit code of the process.
  var exitCode: Int32 {
    switch error {
    case let failure as StartupFailure: failure.exitCode
    case let failure as CollectiveFailure: failure.first.failure.exitCode
    case let failure as DatasetError:
      failure.kind == .bad ? ExitCodes.badData : ExitCodes.cannotCreate
    case let failure as CheckpointError: failure.exitCode
    case is ImageError: ExitCodes.badData
    case let failure as ReportError: failure.exitCode
    case is CommunicationError, is ConsistencyDigest.Mismatch, is SystemThread.StartError: ExitCodes.peerFailure
    case let failure as SettingsConsistency.Mismatch: failure.subject.exitCode
    case is UsageError, is InvalidModel, is InvalidSetting, is InvalidSchedule, is MicrobatchPlan.InvalidPlan,
      is WorldSizeError, is InstructionSet.Unavailable, is FaultInjection.Refused, is ExportError:
      ExitCodes.usage
    case is TrainingStopped: ExitCodes.stopped
    case is TrainingDiverged: ExitCodes.diverged
    case is RanksDesynchronized: ExitCodes.internal
    case let code as ExitCode: code.rawValue
    default:
      // The argument parser's errors; any other is a defect of the program.
      error is CleanExit || WRNDist.exitCode(for: error) != .failure
        ? WRNDist.exitCode(for: error).rawValue : ExitCodes.internal
    }
  }

  /// One sentence: what is wrong; how to fix it.
  var message: String { "\(error)" }

  /// The line that rank 0 prints for all ranks; a stop on request is not an error.
  var line: String {
    error is TrainingStopped ? "wrn-dist: \(message)" : "wrn-dist: error: \(message)"
  }

  /// Whether every rank throws this error, so that rank 0 prints it for all.
  var isCollective: Bool {
    error is CollectiveFailure || error is ConsistencyDigest.Mismatch || error is SettingsConsistency.Mismatch
      || error is TrainingStopped || error is TrainingDiverged || error is RanksDesynchronized
  }

  /// Prints the error and ends the process.
  ///
  /// Before `MPI_Init` all ranks usually have the same error, and `mpirun` ends the job when the first one exits. So the others
  /// wait while rank 0 prints it. A rank that still runs after the wait has another error, and prints it.
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
      let text = WRNDist.fullMessage(for: error)
      (exitCode == 0 ? FileHandle.standardOutput : .standardError).write(Data((text + "\n").utf8))
    } else {
      StandardError.write(line)
    }
  }
}

/// The first failure of some rank during startup, thrown on every rank.
struct CollectiveFailure: Error, CustomStringConvertible {
  /// The rank and its failure.
  let first: StartupConsensus.FirstFailure

  /// The message; with the rank if it is not rank 0, which prints it.
  var description: String {
    first.rank == 0 ? first.failure.message : "rank \(first.rank): \(first.failure.message)"
  }
}

extension SettingsConsistency.Subject {
  /// The exit code if ranks differ in it.
  var exitCode: Int32 {
    switch self {
    case .flags: ExitCodes.usage
    case .data: ExitCodes.badData
    case .program, .layout: ExitCodes.internal
    }
  }
}

/// The exit codes; 64 to 75 follow BSD's sysexits.h.
enum ExitCodes {
  /// An invalid flag, value or combination.
  static let usage: Int32 = 64
  /// A data set or checkpoint that is missing or invalid.
  static let badData: Int32 = 65
  /// A failed rank, host or connection, inconsistent ranks, or a host without enough memory.
  static let peerFailure: Int32 = 69
  /// A defect of the program.
  static let `internal`: Int32 = 70
  /// An output that cannot be created.
  static let cannotCreate: Int32 = 73
  /// Reading or writing failed.
  static let inputOutput: Int32 = 74
  /// Stopped on request after a checkpoint; the same command resumes.
  static let stopped: Int32 = 75
  /// The loss is no longer a number.
  static let diverged: Int32 = 76
}
