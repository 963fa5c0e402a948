import Foundation
import OpenMPI
import TestSupport
import Testing

@Suite struct CPUAffinityTests {
  @Test func theAffinityOfThisProcessIsConsistent() {
    let affinity = CPUAffinity.current()
    #expect(!affinity.hostName.isEmpty)
    #expect(affinity.usableCores.count >= 1)
    #expect(affinity.usableCores.count <= affinity.onlineCoreCount)
    #expect(affinity.placement.cores == affinity.usableCores)
  }

  @Test func aProcessBoundToOneCoreHasOneUsableCore() throws {
    let worker = try BuiltProducts.executable("rank-worker")
    let core = try ProcessRun(
      "/bin/sh", ["-c", "taskset -cp $$ | sed 's/.*: //; s/[,-].*//'"]
    ).run().lines[0]
    let output = try ProcessRun(
      BuiltProducts.installed("taskset"), ["-c", core, worker, "placements"],
      environment: MPIRun.environment(adding: [:])
    ).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.standardOutput.contains("; usable 1 of "))
    #expect(output.standardOutput.hasSuffix("threads 1\n"))
  }
}
