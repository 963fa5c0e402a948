import ArgumentParser
import Collectives
import Foundation
import OpenMPI

/// The connection of all ranks during one command.
enum RankSession {
  /// Connects to the other ranks, runs a command on each, and disconnects.
  ///
  /// Collective. Without a launcher the world has one rank, and Open MPI is not initialized. Rank 0 prints a collective error.
  /// A rank prints its own error with its number and host, and aborts the job.
  ///
  /// - Parameters:
  ///   - progress: How messages progress while a rank computes.
  ///   - body: The command; every rank runs it.
  /// - Throws: The error of `body`, or `ExitCode` if it has been printed already.
  static func run(
    progress: ProgressMode = .poll, _ body: (any Communicator) throws -> Void
  ) throws {
    let environment = LaunchEnvironment(ProcessInfo.processInfo.environment)
    guard environment.isLaunchedByMPI else {
      try rejectSilentSingleton(environment, worldSize: 1)
      MappedFileFault.install(prefix: "wrn-dist: error: ")
      return try body(SingleProcessCommunicator())
    }
    let withoutProgress = try TestSwitch.noProgress.isOn(ProcessInfo.processInfo.environment)
    let communicator = try MPIEnvironment.initialize(progress: withoutProgress ? nil : progress)
    let rank = "rank \(communicator.rank) of \(communicator.worldSize) on \(communicator.processorName)"
    MappedFileFault.install(prefix: communicator.worldSize == 1 ? "wrn-dist: error: " : "[\(rank)] error: ")
    do {
      try rejectSilentSingleton(environment, worldSize: communicator.worldSize)
      try body(communicator)
    } catch {
      let failure = CommandFailure(error)
      if failure.isCollective || communicator.worldSize == 1 {
        if communicator.rank == 0 { StandardError.write(failure.line) }
        try MPIEnvironment.finalize()
        throw ExitCode(failure.exitCode)
      }
      StandardError.write("[\(rank)] error: \(failure.message)")
      communicator.abort(exitCode: failure.exitCode)
    }
    try MPIEnvironment.finalize()
  }

  /// Runs a part of a command on all ranks, or on one rank per core while the others wait for its end.
  ///
  /// Collective. Gathers the cores of all ranks. Nothing that communicates may follow in the command.
  ///
  /// - Parameters:
  ///   - world: All ranks.
  ///   - sharedCores: What ranks do if a host has fewer cores than ranks; that of rank 0 is used.
  ///   - onWaiting: Called on a rank that does not compute, before it waits.
  ///   - body: The part; every rank that computes runs it, with the communicator of these ranks.
  /// - Throws: The error of `body`; `CommunicationError` if communication fails.
  static func onComputingRanks(
    of world: any Communicator, _ sharedCores: SharedCores, onWaiting: () -> Void = {},
    _ body: (any Communicator) throws -> Void
  ) throws {
    guard let world = world as? MPICommunicator else { return try body(world) }
    var joins = sharedCores == .join
    try withUnsafeMutableBytes(of: &joins) { try world.broadcast($0, root: 0) }
    guard joins else { return try body(world) }
    let placements = try RankPlacement.allGather(CPUAffinity.current().placement, communicator: world)
    let computes = RankPlacement.computingRanks(placements, hostOfRank: world.hostOfRank)
    let count = computes.count { $0 }
    guard count < computes.count else { return try body(world) }
    if world.rank == 0 {
      StandardError.write(
        "note: \(count) of \(computes.count) ranks compute and \(computes.count - count) wait, because a host has fewer "
          + "cores than ranks; --shared-cores compute lets all compute.")
    }
    guard let communicator = try MPIEnvironment.communicator(of: world, computes: computes) else {
      onWaiting()
      return try world.waitForAllRanks()
    }
    do { try body(communicator) } catch {
      // Any other error aborts the job, with the ranks that wait.
      if CommandFailure(error).isCollective { try world.waitForAllRanks() }
      throw error
    }
    try world.waitForAllRanks()
  }

  /// Runs a part of the startup that may fail on some ranks, and then fails on all ranks.
  ///
  /// Collective. Waits until `body` has ended on every rank.
  ///
  /// - Throws: ``CollectiveFailure`` on every rank if `body` throws on any.
  static func collectively<Value>(
    _ communicator: any Communicator, _ body: () throws -> Value
  ) throws -> Value {
    let result = Result { try body() }
    var failure: StartupFailure?
    if case .failure(let error) = result {
      let local = CommandFailure(error)
      failure = StartupFailure(exitCode: local.exitCode, message: local.message)
    }
    if let first = try StartupConsensus.agree(on: failure, communicator: communicator) {
      throw CollectiveFailure(first: first)
    }
    return try result.get()
  }

  /// Refuses to train alone if the launcher started several processes that are not connected.
  private static func rejectSilentSingleton(_ environment: LaunchEnvironment, worldSize: Int) throws {
    if let problem = environment.silentSingletonProblem(worldSize: worldSize) {
      throw StartupFailure(exitCode: ExitCodes.peerFailure, message: problem)
    }
  }
}
