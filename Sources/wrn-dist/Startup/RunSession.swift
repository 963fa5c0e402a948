import Collectives
import Foundation
import OpenMPI
import Training

/// This start of the program, as `run.json` records it.
enum RunSession {
  /// Gathers the hosts, CPUs and threads of all ranks.
  ///
  /// Collective. Blocks until all ranks have sent theirs.
  ///
  /// - Parameters:
  ///   - threadCount: The threads of this rank.
  ///   - engine: The engine and its instruction set.
  ///   - completedSteps: The steps already done.
  ///   - communicator: The ranks.
  /// - Returns: The session.
  /// - Throws: `CommunicationError` if communication fails.
  static func session(
    threadCount: Int, engine: String, completedSteps: Int, _ communicator: any Communicator
  ) throws -> RunDescription.Session {
    let lines = try communicator.allGather("\(threadCount)\t\(CPUAffinity.current().hostName)\t\(HostInfo.cpuModel)")
    var hosts: [RunDescription.Host] = []
    for line in lines {
      let fields = line.split(separator: "\t", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
      guard fields.count == 3, let threads = Int(fields[0]) else { continue }
      if let i = hosts.firstIndex(where: { $0.name == fields[1] }) {
        hosts[i].ranks += 1
        hosts[i].threads.append(threads)
      } else {
        hosts.append(RunDescription.Host(name: fields[1], cpu: fields[2], ranks: 1, threads: [threads]))
      }
    }
    return RunDescription.Session(
      version: WRNDist.configuration.version, command: CommandLine.arguments,
      directory: FileManager.default.currentDirectoryPath, started: Date().formatted(.iso8601),
      firstStep: completedSteps + 1, engine: engine, hosts: hosts)
  }
}
