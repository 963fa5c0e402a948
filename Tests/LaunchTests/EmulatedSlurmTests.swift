import Foundation
import TestSupport
import Testing

/// The shipped batch script under a real Slurm, whose two nodes are emulated on this machine.
@Suite(.serialized) struct EmulatedSlurmTests {
  /// The reason why Slurm cannot run here, if any.
  private static let obstacle: String? = {
    guard geteuid() == 0 else { return "Slurm's daemons need root" }
    for tool in ["munged", "slurmctld", "slurmd", "sbatch", "mpirun"]
    where (try? BuiltProducts.installed(tool)) == nil {
      return "\(tool) is not installed; run launch/setup --test"
    }
    return nil
  }()

  /// Runs a Bash script with Slurm's commands at hand.
  private func run(_ folder: TemporaryDirectory, _ script: String) throws -> ProcessRun.Output {
    try folder.writeScript("scenario", "#!/bin/bash\nset -eu\n\(Self.functions)\n" + script)
    return try ProcessRun(
      ScriptFixture.repository.path + "/launch/emulate-slurm", ["--", "\(folder.path)/scenario"],
      environment: MPIRun.environment(adding: [
        "OUT": folder.path, "WRN_ROOT": ScriptFixture.repository.path,
        "SCRIPT": ScriptFixture.repository.path + "/launch/slurm.sbatch",
      ]), workingFolder: folder.path, limit: .seconds(900)
    ).run()
  }

  // Nothing waits for a job that has ended.
  private static let functions = """
    wait_until() {
      until "${@:2}"; do
        squeue --noheader --jobs "$1" 2>/dev/null | grep -q . || { echo "job $1 has ended" >&2; exit 1; }
        sleep 0.05
      done
    }
    """

  // Large batches: the scheduler needs seconds to preempt a job that should not end before.
  private static let training = "--data synthetic --depth 10 --batch-size 256 --eval-every 0"

  /// A requeue by the administrator, then a preemption by a job of higher priority: the parameters are those of a run that
  /// nothing happened to, and no step is reported twice.
  @Test(.enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? "")))
  func aRequeuedAndPreemptedJobEndsInTheSameBits() throws {
    let folder = try TemporaryDirectory()
    let output = try run(
      folder,
      """
      lines() { cat "$OUT/run/metrics.jsonl" 2>/dev/null | wc -l; }
      has_lines() { [ "$(lines)" -ge "$1" ]; }
      job=$(sbatch --parsable --ntasks-per-node=1 --cpus-per-task=1 --output="$OUT/log" "$SCRIPT" \
        \(Self.training) --steps 120 --output-dir "$OUT/run")
      wait_until "$job" has_lines 5
      scontrol requeue "$job"
      wait_until "$job" grep -q "restart 1" "$OUT/log"
      wait_until "$job" has_lines $(($(lines) + 5))
      sbatch --wait --partition=urgent --nodes=2 --ntasks-per-node=4 --output=/dev/null --wrap="true"
      while squeue --noheader --jobs "$job" | grep -q .; do sleep 0.2; done
      scontrol show job "$job" | grep -oE "JobState=[A-Z]*|Restarts=[0-9]*"
      """)
    let log = folder.read("log")
    #expect(output.exitCode == 0, "\(output.standardError)\n\(log)")
    #expect(output.lines.suffix(2) == ["JobState=COMPLETED", "Restarts=2"], "\(output.standardOutput)\n\(log)")
    #expect(log.contains("USR1: requesting a stop after a checkpoint"), "the notice of the preemption")
    #expect(log.contains("restart 2") && log.components(separatedBy: "resuming after step").count == 3, "\(log)")

    let steps = folder.read("run/metrics.jsonl").split(separator: "\n").compactMap { line in
      line.contains("\"train\"") ? line.firstMatch(of: /"step":(\d+)/).flatMap { Int($0.1) } : nil
    }
    #expect(steps == Array(1...120))
    let program = ScriptFixture.repository.path + "/.build/release/wrn-dist"
    let alone = try ProcessRun(
      program, Self.training.split(separator: " ").map(String.init) + ["--steps", "120", "--output-dir", "alone"],
      environment: MPIRun.environment(adding: [:]), workingFolder: folder.path
    ).run()
    #expect(alone.exitCode == 0, "\(alone.standardError)")
    let digests = try ["alone", "run"].map { run in
      try ProcessRun(program, ["inspect", "--digest", run], workingFolder: folder.path).run().standardOutput
    }
    #expect(digests[0] == digests[1] && digests[0].count == 65)
  }

  /// A job stops by itself before its time limit, and is requeued.
  ///
  /// Both jobs of an array train in directories of their own.
  @Test(.enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? "")))
  func theTimeLimitRequeuesAndAnArrayTrains() throws {
    let folder = try TemporaryDirectory()
    let output = try run(
      folder,
      """
      WRN_ROOT="$OUT/root"
      mkdir -p "$WRN_ROOT/.build"
      ln -s "$(dirname "$SCRIPT")" "$WRN_ROOT/launch"
      ln -s "$(dirname "$SCRIPT")/../.build/release" "$WRN_ROOT/.build/release"
      export WRN_ROOT
      one="--nodes=1 --ntasks-per-node=1 --cpus-per-task=1"
      limited=$(sbatch --parsable $one --time=1 --signal=B:URG@1 --output="$OUT/limited" "$SCRIPT" \
        \(Self.training) --threads 1 --steps 10000000 --output-dir "$OUT/limited-run")
      sbatch --wait --array=0-1 $one --output="$OUT/array-%a" "$SCRIPT" \(Self.training) --threads 1 --steps 3
      wait_until "$limited" grep -q "resuming after step" "$OUT/limited"
      scancel "$limited"
      ls "$WRN_ROOT/runs"
      """)
    let log = folder.read("limited")
    #expect(output.exitCode == 0, "\(output.standardError)\n\(log)")
    #expect(!log.contains("USR1: requesting"), "the run stops without a signal")
    #expect(
      log.contains("stopped on request") && log.contains("Requeueing job") && log.contains("resuming after step"),
      "\(log)")
    let runs = output.lines.filter { $0.hasPrefix("slurm-") }
    #expect(runs.count == 2)
    for run in runs { #expect(folder.read("root/runs/\(run)/checkpoints/latest").hasPrefix("step-00000003")) }
  }

  @Test func mistakesAreRefused() throws {
    for (arguments, words) in [
      ([], "no command is given after --"), (["--cores", "0", "--", "true"], "--cores must be a positive number"),
      (["--grace"], "needs a value"), (["--frobnicate"], "unknown argument"),
    ] {
      let output = try ProcessRun(ScriptFixture.repository.path + "/launch/emulate-slurm", arguments).run()
      #expect(output.exitCode == 64 && output.standardError.contains(words), "\(output.standardError)")
      #expect(output.standardError.split(separator: "\n").count == 1)
    }
  }

  @Test func withoutRootItReportsTheReason() throws {
    let fixture = try ScriptFixture()
    try fixture.stub("id", "echo 1000")
    let output = try fixture.run("emulate-slurm", ["--", "true"])
    #expect(output.exitCode == 69)
    #expect(output.standardError.contains("need root") && output.standardError.split(separator: "\n").count == 1)
  }
}
