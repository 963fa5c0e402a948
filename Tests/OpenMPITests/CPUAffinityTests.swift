import Foundation
import OpenMPI
import TestSupport
import Testing

@Suite struct CPUAffinityTests {
  @Test func theBindingOfThisProcessMakesSense() {
    let binding = CPUAffinity.current()
    #expect(!binding.hostName.isEmpty)
    #expect(binding.usableCores.count >= 1)
    #expect(binding.usableCores.count <= binding.onlineCoreCount)
    #expect(binding.placement.cores == binding.usableCores)
  }

  @Test func aProcessBoundToOneCoreSeesOne() throws {
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
