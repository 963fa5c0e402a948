import Foundation
import TestSupport
import Testing

/// Ranks that share a core join: one of them computes, and the others wait.
@Suite struct SharedCoresTests {
  /// A training run of several ranks, all on core 0.
  private func job(
    _ folder: TemporaryDirectory, ranks: Int, output: String, _ flags: [String]
  ) throws -> MPIRun {
    let training = Job.training(folder, output: output, flags)
    // Not by mpirun, which refuses to bind several ranks to one core.
    var run = MPIRun(
      ranks: ranks, try BuiltProducts.installed("taskset"),
      ["--cpu-list", "0", try BuiltProducts.executable("wrn-dist")] + training.arguments)
    run.workingFolder = folder.path
    run.computesOnAllRanks = false
    return run
  }

  private static let note = """
    note: 1 of 3 ranks compute and 2 wait, because a host has fewer cores than ranks; --shared-cores compute lets all \
    compute.
    """

  @Test(arguments: [["--progress", "poll"], ["--progress", "thread"]])
  func oneRankPerCoreComputes(flags: [String]) throws {
    let folder = try TemporaryDirectory()
    let flags = flags + ["--steps", "3"]
    let joined = try job(folder, ranks: 3, output: "joined", flags).run()
    #expect(joined.exitCode == 0, "\(joined.standardError)")
    #expect(joined.standardError.contains(Self.note))
    #expect(joined.standardOutput.contains("1 rank(s) × 1 thread(s)"))
    let all = try job(folder, ranks: 3, output: "all", flags + ["--shared-cores", "compute"]).run()
    #expect(all.exitCode == 0 && !all.standardError.contains("note: "), "\(all.standardError)")
    #expect(all.standardOutput.contains("3 rank(s) × 1 thread(s)"))
    #expect(try folder.digest("joined") == folder.digest("all"))
  }

  /// A host keeps its number, although only its first rank computes.
  @Test func oneRankPerEmulatedHostComputes() throws {
    let folder = try TemporaryDirectory()
    var run = try job(folder, ranks: 4, output: "joined", ["--steps", "3"])
    run.environment = ["WRN_RANKS_PER_HOST": "2"]
    let joined = try run.run()
    #expect(joined.exitCode == 0, "\(joined.standardError)")
    #expect(joined.standardError.contains("note: 2 of 4 ranks compute and 2 wait"))
    #expect(joined.standardOutput.contains("2 rank(s) × 1 thread(s)"))
    try Job.training(folder, output: "alone", ["--steps", "3"]).succeed()
    #expect(try folder.digest("joined") == folder.digest("alone"))
  }

  /// The ranks that wait end as well, and the cause is printed once.
  @Test func anErrorEndsTheRanksThatWait() throws {
    let folder = try TemporaryDirectory()
    let output = try job(folder, ranks: 3, output: "run", ["--init", "absent.safetensors"]).run()
    #expect(output.exitCode == 65, "\(output.standardError)")
    #expect(output.standardError.components(separatedBy: "absent.safetensors").count == 2, "\(output.standardError)")
  }

  /// A rank that would only wait must also have the flags of the others.
  @Test func ranksThatWaitHaveTheFlagsOfTheOthers() throws {
    let folder = try TemporaryDirectory()
    var run = try job(folder, ranks: 1, output: "run", ["--steps", "3"])
    let other = try job(folder, ranks: 1, output: "run", ["--steps", "4"])
    run.arguments += [":", "-np", "1", other.executable] + other.arguments
    let output = try run.run()
    #expect(output.exitCode == 64 && output.standardError.contains("--steps"), "\(output.standardError)")
    #expect(folder.names("run").isEmpty)
  }

  /// A rank that fails alone takes those that wait with it.
  @Test func aFaultEndsTheRanksThatWait() throws {
    let folder = try TemporaryDirectory()
    var run = try job(folder, ranks: 3, output: "run", ["--steps", "5"])
    run.environment = ["WRN_FAULT": "rank=0,step=2,phase=update,act=kill", "WRN_ALLOW_FAULTS": "1"]
    let output = try run.run()
    #expect(output.exitCode == 137, "\(output.standardError)")
  }
}
