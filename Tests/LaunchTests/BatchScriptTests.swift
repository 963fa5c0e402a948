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
    try fixture.stub("qstat", "exit 1")
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

  /// USR1 ends mpirun or a rank that has not trapped it yet.
  @Test(arguments: ["0", "10"]) func aRunThatTheSignalEndsIsRequeued(restarts: String) throws {
    let fixture = try slurmFixture()
    try fixture.stub("mpirun", ScriptFixture.stoppable.replacing("exit 75", with: "exit 138"))
    let output = try fixture.run("slurm.sbatch", environment: Self.slurm.merging(["WRN_RESTARTS": restarts]) { $1 }) {
      try fixture.send(SIGUSR1, to: $0)
    }
    #expect(output.exitCode == 75, "\(output.standardError)")
    #expect(fixture.calls.filter { $0 == "scontrol requeue 77" }.count == 1)
  }

  /// Copies a script to a spool directory, as batch systems do, and returns its path from `launch`.
  private func spool(_ script: String, of fixture: ScriptFixture, in folder: TemporaryDirectory) throws -> String {
    try folder.writeScript("slurm_script", fixture.read("launch/\(script)"))
    return "../../../../../../../../\(folder.path)/slurm_script"
  }

  @Test func aSpooledCopyFindsTheRepository() throws {
    let fixture = try slurmFixture()
    let folder = try TemporaryDirectory()
    let script = try spool("slurm.sbatch", of: fixture, in: folder)
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

  /// PBS runs the copy in the home directory, which is then the working directory of the next job's qsub.
  @Test func theNextPBSJobFindsTheRepository() throws {
    let (fixture, environment) = try pbsFixture()
    let folder = try TemporaryDirectory()
    let script = try spool("pbs.sh", of: fixture, in: folder)
    try fixture.stub("mpirun", "exit 75")
    try fixture.stub("qsub", #"[[ ,$2, == *,WRN_ROOT,* ]] && echo "$WRN_ROOT" >"$FIXTURE/root""#)
    let submitted = ["PBS_O_WORKDIR": "\(fixture.path)/launch"]
    let first = try fixture.run(script, environment: environment.merging(submitted) { $1 })
    #expect(first.exitCode == 75, "\(first.standardError)")
    #expect(fixture.read("root") == "\(fixture.path)\n")
    let home = ["PBS_O_WORKDIR": "/"]
    let lost = try fixture.run(script, environment: environment.merging(home) { $1 })
    #expect(lost.exitCode == 69 && lost.standardError.contains("the repository is not found"))
    let next = ["PBS_O_WORKDIR": "/", "WRN_ROOT": fixture.path]
    let second = try fixture.run(script, environment: environment.merging(next) { $1 })
    #expect(second.exitCode == 75, "\(second.standardError)")
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
      fixture.calls.filter { $0.hasPrefix("qsub") } == [
        "qsub -v WRN_RUN,WRN_FLAGS,WRN_ROOT \(fixture.path)/launch/pbs.sh"
      ])
    #expect(fixture.calls.last == "run 91, flags --steps 9")
  }

  /// The next job gets what the user asked for, not the directives of the script, and no other variable.
  @Test func pbsSubmitsTheRunAgainWithItsResources() throws {
    let (fixture, environment) = try pbsFixture()
    try fixture.stub("mpirun", #"echo "$WRN_END_TIME" >"$FIXTURE/end"; exit 75"#)
    // Lines as qstat -f prints and wraps them.
    try fixture.write(
      "qstat.txt",
      """
      Job Id: 91.server
          Job_Name = my-run
          Account_Name = physics
          queue = workq
          Resource_List.ncpus = 64
          Resource_List.place = scatter:excl
          Resource_List.select = 4:ncpus=16:mpiprocs=4:mem=64gb:host=a-very-long-nam
      \te-that-is-wrapped
          Resource_List.walltime = 48:00:00
          project = _pbs_project_default
          resources_used.walltime = 00:10:00
          Variable_List = SECRET=1,PBS_O_HOME=/home/x = y

      """)
    try fixture.stub("qstat", #"[ "$*" = "-f 91.server" ] && cat "$FIXTURE/qstat.txt""#)
    let variables = ["SECRET": "1", "CIFAR10_DIR": "/data", "WRN_ISA": "avx2", "WRN_LEARNING_RATE": "0.1"]
    let output = try fixture.run("pbs.sh", environment: environment.merging(variables) { $1 })
    #expect(output.exitCode == 75, "\(output.standardError)")
    let end = try #require(Int(fixture.read("end").split(separator: "\n").first ?? ""))
    #expect((47 * 3600...48 * 3600).contains(end - Int(time(nil))), "the walltime that is left")
    #expect(
      fixture.calls.filter { $0.hasPrefix("qsub") } == [
        "qsub -v WRN_RUN,WRN_FLAGS,WRN_ROOT,CIFAR10_DIR,WRN_ISA,WRN_LEARNING_RATE -N my-run -A physics -q workq "
          + "-l place=scatter:excl -l select=4:ncpus=16:mpiprocs=4:mem=64gb:host=a-very-long-name-that-is-wrapped -l walltime=48:00:00 "
          + "\(fixture.path)/launch/pbs.sh"
      ])
  }

  /// A run that stops without a new checkpoint is started again three times in a row, then no more.
  @Test(arguments: ["slurm.sbatch", "pbs.sh"])
  func aRunWithoutProgressIsNotStartedForever(script: String) throws {
    let isSlurm = script == "slurm.sbatch"
    let (fixture, environment) = isSlurm ? (try slurmFixture(), Self.slurm) : try pbsFixture()
    let run = isSlurm ? "runs/slurm-77" : "runs/pbs-91"
    try fixture.stub("mpirun", "exit 75")
    func restarts(after starts: Int) throws -> Int {
      for _ in 0..<starts {
        #expect(try fixture.run(script, environment: environment).exitCode == 75)
      }
      return fixture.calls.count { $0.hasPrefix("scontrol requeue") || $0.hasPrefix("qsub") }
    }
    try fixture.write("\(run)/checkpoints/latest", "step-00000001\n")
    #expect(try restarts(after: 3) == 3)
    // Progress: this start writes another checkpoint.
    try fixture.stub("mpirun", "echo step-00000002 >'\(fixture.path)/\(run)/checkpoints/latest'; exit 75")
    #expect(try restarts(after: 1) == 4)
    try fixture.stub("mpirun", "exit 75")
    #expect(try restarts(after: 5) == 7)
    let last = try fixture.run(script, environment: environment)
    #expect(last.standardOutput.contains("has made no progress in 6 starts"))
  }

  private static let array = slurm.merging(["SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "2"]) { $1 }

  /// A stub of wrn-dist that lists the task's run, or starts the launcher as a sweep does.
  private func sweepFixture() throws -> ScriptFixture {
    let fixture = try slurmFixture()
    try fixture.replaceProgram(
      """
      #!/bin/bash
      echo "wrn-dist $*" >>"$FIXTURE/log"
      case " $* " in
        *" --list "*) printf '2\t%s\tcommand\n' "$FIXTURE/runs/d/seed=2" ;;
        *) exec "$FIXTURE/stubs/sweep" ;;
      esac
      """)
    try fixture.stub("sweep", "exit 0")
    return fixture
  }

  @Test func aTaskOfAnArrayTrainsOneRun() throws {
    let fixture = try sweepFixture()
    let output = try fixture.run(
      "slurm-sweep.sbatch", ["grid.yaml", "--output-dir", "runs/d"],
      environment: Self.array.merging(["WRN_INTERFACE": "eth0"]) { $1 })
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(
      fixture.calls.last { $0.hasPrefix("wrn-dist") }
        == "wrn-dist sweep grid.yaml --output-dir runs/d --index 2 --launcher \(fixture.path)/launch/train -np 4 "
        + "--cores-per-rank 4 --interface eth0 --restarts 10 --")
    #expect(!fixture.calls.contains { $0.hasPrefix("scontrol") })
    #expect(try fixture.run("slurm-sweep.sbatch", environment: Self.slurm).exitCode != 0)
  }

  @Test(arguments: [(75, 1), (76, 0)]) func aTaskThatStopsIsRequeued(exitCode: Int32, requeues: Int) throws {
    let fixture = try sweepFixture()
    try fixture.stub("sweep", "exit \(exitCode)")
    let output = try fixture.run("slurm-sweep.sbatch", ["--output-dir", "d"], environment: Self.array)
    #expect(output.exitCode == exitCode, "\(output.standardError)")
    #expect(fixture.calls.filter { $0 == "scontrol requeue 70_2" }.count == requeues)
  }

  @Test func aTaskForwardsTheStopRequest() throws {
    let fixture = try sweepFixture()
    try fixture.stub("sweep", ScriptFixture.stoppable)
    let output = try fixture.run("slurm-sweep.sbatch", ["--output-dir", "d"], environment: Self.array) {
      try fixture.send(SIGUSR1, to: $0)
    }
    #expect(output.exitCode == 75, "\(output.standardError)")
    #expect(fixture.calls.contains("mpirun got USR1"))
  }

  @Test func aSpooledTaskFindsAnInstallation() throws {
    let fixture = try sweepFixture()
    let prefix = try TemporaryDirectory()
    let folder = try TemporaryDirectory()
    try prefix.writeScript("bin/wrn-dist", fixture.read(".build/release/wrn-dist"))
    try prefix.write("share/wrn-dist/launch/common.sh", fixture.read("launch/common.sh"))
    let script = try spool("slurm-sweep.sbatch", of: fixture, in: folder)
    let path = ["PATH": "\(prefix.path)/bin:\(fixture.path)/stubs:\(fixture.path)/tools"]
    let output = try fixture.run(script, ["--output-dir", "d"], environment: Self.array.merging(path) { $1 })
    #expect(output.exitCode == 0, "\(output.standardError)")
    let call = try #require(fixture.calls.last { $0.hasPrefix("wrn-dist sweep") })
    #expect(call.contains(" --launcher \(prefix.path)/share/wrn-dist/launch/train -np 4 "), "\(call)")
  }

  /// Slurm before version 23 gives the end of a job to squeue alone.
  ///
  /// Every task of an array has its end.
  @Test(arguments: [
    ("slurm.sbatch", "2099-01-01T00:00:00", "4070908800"), ("slurm.sbatch", "N/A", ""),
    ("slurm-sweep.sbatch", "2099-01-01T00:00:00", "4070908800"), ("slurm-sweep.sbatch", "N/A", ""),
  ])
  func theEndOfTheJobIsThatOfSqueue(script: String, listed: String, exported: String) throws {
    let fixture = try sweepFixture()
    for name in ["mpirun", "sweep"] { try fixture.stub(name, #"echo "${WRN_END_TIME:-}" >"$FIXTURE/end""#) }
    try fixture.stub(
      "squeue",
      #"""
      [ "$*" = "--noheader --jobs 77 --format %A %e" ] || exit 1
      printf '%s\n' '76 2098-01-01T00:00:00' '77 \#(listed)'
      """#)
    let output = try fixture.run(
      script, ["--output-dir", "\(fixture.path)/d"], environment: Self.array.merging(["TZ": "UTC"]) { $1 })
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(fixture.read("end") == "\(exported)\n")
  }

  @Test func batchScriptsHaveTheirDirectives() throws {
    let fixture = try ScriptFixture()
    for name in ["slurm.sbatch", "slurm-sweep.sbatch"] {
      let slurm = fixture.read("launch/\(name)")
      for directive in ["--signal=B:USR1@180", "--requeue", "--open-mode=append"] {
        #expect(slurm.contains("\n#SBATCH \(directive)\n"))
      }
      // sbatch ignores directives after the first line that is neither a comment nor blank.
      #expect(
        slurm.range(of: "set -euo")!.lowerBound > slurm.range(of: "#SBATCH --output")!.lowerBound)
    }
    #expect(fixture.read("launch/pbs.sh").contains("\n#PBS -r y\n"))
    #expect(!fixture.read("launch/pbs.sh").contains("qsub -V"), "it would export the whole environment")
  }
}
