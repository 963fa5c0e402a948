import Glibc
import TestSupport
import Testing

@Suite struct BatchScriptTests {
  private static let slurm = [
    "SLURM_JOB_ID": "77", "SLURM_NTASKS": "4", "SLURM_CPUS_PER_TASK": "4",
    "SLURM_JOB_NODELIST": "n[1-2]",
  ]

  private func slurmFixture() throws -> ScriptFixture {
    let fixture = try ScriptFixture()
    try fixture.stub("scontrol", "")
    return fixture
  }

  private func pbsFixture() throws -> (ScriptFixture, [String: String]) {
    let fixture = try ScriptFixture()
    try fixture.stub("qsub", #"echo "run $WRN_RUN, flags $WRN_FLAGS" >>"$FIXTURE/log""#)
    let nodes = try fixture.write("nodes", "b\nb\na\na\n")
    return (
      fixture,
      ["PBS_JOBID": "91.server", "PBS_NODEFILE": nodes, "WRN_FLAGS": "--steps 9", "NCPUS": "8"]
    )
  }

  @Test func slurmStartsTheAllocatedRanks() throws {
    let fixture = try slurmFixture()
    try fixture.setCores(8, threadsPerCore: 2)
    let output = try fixture.run("slurm.sbatch", ["--steps", "9"], environment: Self.slurm)
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(
      fixture.calls.filter { $0.hasPrefix("mpirun") } == [
        "mpirun -np 4 --map-by slot:PE=2 --bind-to core -x OPENBLAS_NUM_THREADS=1 "
          + "\(fixture.path)/.build/release/wrn-dist train "
          + "--output-dir \(fixture.path)/runs/slurm-77 --resume auto --steps 9"
      ])
    #expect(!fixture.calls.contains { $0.hasPrefix("scontrol") })
  }

  @Test(arguments: [(75, 1), (0, 0), (65, 0), (137, 0)])
  func slurmOnlyRequeuesAfterAStopOnRequest(exitCode: Int32, requeues: Int) throws {
    let fixture = try slurmFixture()
    try fixture.stub("mpirun", "exit \(exitCode)")
    let output = try fixture.run("slurm.sbatch", environment: Self.slurm)
    #expect(output.exitCode == exitCode)
    let calls = fixture.calls.filter { $0.hasPrefix("scontrol") }
    #expect(calls == [String](repeating: "scontrol requeue 77", count: requeues))
  }

  @Test func slurmForwardsTheSignalAndRequeuesOnce() throws {
    let fixture = try slurmFixture()
    try fixture.stub("mpirun", ScriptFixture.stoppable)
    let output = try fixture.run("slurm.sbatch", environment: Self.slurm) {
      try fixture.send(SIGUSR1, to: $0)
    }
    #expect(output.exitCode == 75, "\(output.standardError)")
    #expect(fixture.calls.filter { $0 == "mpirun got USR1" }.count == 1)
    #expect(fixture.calls.filter { $0 == "scontrol requeue 77" }.count == 1)
  }

  @Test func aSpooledCopyFindsTheRepository() throws {
    let fixture = try slurmFixture()
    let spool = try TemporaryDirectory()
    try spool.writeScript("slurm_script", fixture.read("launch/slurm.sbatch"))
    let script = "../../../../../../../../\(spool.path)/slurm_script"
    let lost = try fixture.run(script, environment: Self.slurm)
    #expect(lost.exitCode == 69)
    #expect(lost.standardError.contains("submit from within it or set WRN_ROOT"))
    for variable in ["SLURM_SUBMIT_DIR", "WRN_ROOT"] {
      let found = try fixture.run(
        script, environment: Self.slurm.merging([variable: fixture.path]) { $1 })
      #expect(found.exitCode == 0, "\(found.standardError)")
    }
    let below = ["SLURM_SUBMIT_DIR": "\(fixture.path)/launch"]
    #expect(try fixture.run(script, environment: Self.slurm.merging(below) { $1 }).exitCode == 0)
  }

  @Test func pbsWritesTheHostFileAndStarts() throws {
    let (fixture, environment) = try pbsFixture()
    let output = try fixture.run("pbs.sh", environment: environment)
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(fixture.read("runs/pbs-91.hosts") == "b slots=2\na slots=2\n")
    let command = try #require(fixture.calls.first { $0.hasPrefix("mpirun") })
    #expect(
      command.hasPrefix(
        "mpirun -np 4 --hostfile \(fixture.path)/runs/pbs-91.hosts --map-by slot:PE=4 "))
    #expect(
      command.hasSuffix("train --output-dir \(fixture.path)/runs/pbs-91 --resume auto --steps 9"))
    #expect(!fixture.calls.contains { $0.hasPrefix("qsub") })
  }

  @Test(arguments: [SIGUSR1, SIGTERM])
  func pbsRequestsAStopAndSubmitsTheRunAgain(signal: Int32) throws {
    let (fixture, environment) = try pbsFixture()
    try fixture.stub("mpirun", ScriptFixture.stoppable)
    let output = try fixture.run("pbs.sh", environment: environment) {
      try fixture.send(signal, to: $0)
    }
    #expect(output.exitCode == 75, "\(output.standardError)")
    #expect(fixture.calls.filter { $0 == "mpirun got USR1" }.count == 1)
    #expect(
      fixture.calls.filter { $0.hasPrefix("qsub") } == ["qsub -V \(fixture.path)/launch/pbs.sh"])
    #expect(fixture.calls.last == "run 91, flags --steps 9")
  }

  @Test func batchScriptsHaveTheirDirectives() throws {
    let fixture = try ScriptFixture()
    let slurm = fixture.read("launch/slurm.sbatch")
    for directive in ["--signal=B:USR1@180", "--requeue", "--open-mode=append"] {
      #expect(slurm.contains("\n#SBATCH \(directive)\n"))
    }
    // sbatch ignores directives after the first line that is neither a comment nor blank.
    #expect(
      slurm.range(of: "set -euo")!.lowerBound > slurm.range(of: "#SBATCH --output")!.lowerBound)
    #expect(fixture.read("launch/pbs.sh").contains("\n#PBS -r y\n"))
  }
}
