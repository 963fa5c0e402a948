import ArgumentParser
import Collectives
import Foundation
import OpenMPI

/// The ranks of this job, connected for the length of one command.
enum RankSession {
  /// Connects with the other ranks, runs a command on each, and disconnects.
  ///
  /// Without a launcher the world has one rank and Open MPI is not touched. An error that all ranks meet is printed once,
  /// by rank 0; an error of a single rank is printed by that rank, under its name, and takes the job down at once.
  ///
  /// - Parameters:
  ///   - progress: Who moves messages on while a rank computes.
  ///   - body: The command; every rank runs it.
  /// - Throws: What `body` throws, or `ExitCode` if it has been printed already.
  static func run(
    progress: ProgressMode = .poll, _ body: (any Communicator) throws -> Void
  ) throws {
    let environment = LaunchEnvironment(ProcessInfo.processInfo.environment)
    guard environment.isLaunchedByMPI else {
      try rejectSilentSingleton(environment, worldSize: 1)
      return try body(SingleProcessCommunicator())
    }
    let isOff = try TestSwitch.noProgress.isOn(ProcessInfo.processInfo.environment)
    let communicator = try MPIEnvironment.initialize(progress: isOff ? nil : progress)
    do {
      try rejectSilentSingleton(environment, worldSize: communicator.worldSize)
      try body(communicator)
    } catch {
      let failure = CommandFailure(error)
      if failure.isCollective || communicator.worldSize == 1 {
        if communicator.rank == 0 { write(failure.line) }
        try MPIEnvironment.finalize()
        throw ExitCode(failure.exitCode)
      }
      let place = "rank \(communicator.rank) of \(communicator.worldSize)"
      write("[\(place) on \(communicator.processorName)] error: \(failure.sentence)")
      communicator.abort(exitCode: failure.exitCode)
    }
    try MPIEnvironment.finalize()
  }

  /// Runs a part of the start that may fail on some ranks, and fails on all of them together.
  ///
  /// Every rank calls it.
  ///
  /// - Throws: ``CollectiveFailure`` on every rank if `body` throws on any.
  static func together<Value>(
    _ communicator: any Communicator, _ body: () throws -> Value
  ) throws -> Value {
    let result = Result { try body() }
    var failure: StartupFailure?
    if case .failure(let error) = result {
      let described = CommandFailure(error)
      failure = StartupFailure(exitCode: described.exitCode, message: described.sentence)
    }
    if let verdict = try StartupConsensus.agree(on: failure, communicator: communicator) {
      throw CollectiveFailure(verdict: verdict)
    }
    return try result.get()
  }

  /// Refuses to be one of many that each believe to be alone.
  private static func rejectSilentSingleton(_ environment: LaunchEnvironment, worldSize: Int) throws {
    if let problem = environment.silentSingletonProblem(worldSize: worldSize) {
      throw StartupFailure(exitCode: ExitCodes.peerFailure, message: problem)
    }
  }

  private static func write(_ line: String) {
    FileHandle.standardError.write(Data((line + "\n").utf8))
  }
}
