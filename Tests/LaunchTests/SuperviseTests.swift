import Foundation
import Glibc
import TestSupport
import Testing

/// `launch/train --restarts`: which failures lead to another start, on which hosts, and when it gives up.
@Suite struct SuperviseTests {
  private let fixture: ScriptFixture

  init() throws { fixture = try ScriptFixture() }

  private func run(
    _ restarts: Int, _ options: [String] = ["-np", "2"], whileRunning: (pid_t) throws -> Void = { _ in }
  ) throws -> ProcessRun.Output {
    try fixture.run(
      "train", ["--restarts", "\(restarts)"] + options + ["--", "--steps", "9", "--output-dir", run],
      whileRunning: whileRunning)
  }

  private var run: String { "\(fixture.path)/run" }
  private var starts: [String] { fixture.calls.filter { $0.hasPrefix("mpirun -np") } }

  /// The body of a stub of mpirun that fails in some starts, each of which trains further or writes a checkpoint.
  private func stub(_ body: String) throws {
    try fixture.stub(
      "mpirun",
      """
      mkdir -p '\(run)/checkpoints'
      start=$(grep -c '^mpirun -np' "$FIXTURE/log")
      \(body)
      """)
  }

  @Test(arguments: [69, 70, 74, 137, 139, 205, 1])
  func aFailureThatAnotherStartCanHeal(exitCode: Int) throws {
    try stub(#"echo "{\"step\":$start}" >'\#(run)/metrics.jsonl'; [ $start -eq 3 ] || exit \#(exitCode)"#)
    let output = try run(5)
    #expect(output.exitCode == 0, "\(output.standardError)")
    let command = "wrn-dist train --steps 9 --output-dir \(run)"
    #expect(starts.count == 3 && starts[0].hasSuffix(command), "\(starts)")
    #expect(starts.dropFirst().allSatisfy { $0.hasSuffix("\(command) --resume auto") })
  }

  @Test(arguments: [0, 64, 65, 73, 75, 76])
  func otherEndsAreFinal(exitCode: Int32) throws {
    try stub("exit \(exitCode)")
    #expect(try run(5).exitCode == exitCode)
    #expect(starts.count == 1)
  }

  /// A disk that is full when the run is started again; the first start had written to it.
  @Test func aLaterStartThatCannotWrite() throws {
    try stub(
      #"""
      echo '{"step":7}' >'\#(run)/metrics.jsonl'
      case $start in 1) exit 137 ;; 2 | 3 | 4 | 5) exit 73 ;; esac
      """#)
    let output = try run(10)
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(starts.count == 6)
  }

  @Test func theSameStepFailsThreeTimes() throws {
    try stub(#"echo '{"step":7}' >'\#(run)/metrics.jsonl'; exit 137"#)
    let output = try run(50)
    #expect(output.exitCode == 137)
    #expect(starts.count == 3)
    #expect(output.standardOutput.contains("The run fails repeatedly after step 7; it is not started again"))
  }

  @Test func progressRefillsTheBudget() throws {
    // The first seven starts write a checkpoint each and fail; the next ones fail at other steps without one.
    try stub(
      #"""
      echo "{\"step\":$start}" >'\#(run)/metrics.jsonl'
      [ $start -gt 7 ] || printf 'step-%08d\n' $start >'\#(run)/checkpoints/latest'
      exit 137
      """#)
    let output = try run(2)
    #expect(output.exitCode == 137)
    #expect(starts.count == 9, "two more after the last progress: \(starts.count)")
    #expect(output.standardOutput.contains("starting again from step 7"))
    #expect(output.standardOutput.contains("no restart is left of 2"))
  }

  /// A host that fails twice is left out, with as many ranks as the others have slots; the last host stays.
  @Test func aHostThatFailsTwiceIsLeftOut() throws {
    let hosts = try fixture.write("hosts", "a slots=2\nb slots=3 # newer\n")
    try stub(
      #"""
      echo "{\"step\":$start}" >'\#(run)/metrics.jsonl'
      while [ $# -gt 0 ]; do [ "$1" != --hostfile ] || cat "$2" >"$FIXTURE/hosts-$start"; shift; done
      echo "mpirun noticed that process rank 1 with PID 0 on node $([ $start -lt 3 ] && echo b || echo a) exited on signal 9" >&2
      [ $start -eq 6 ] || exit 137
      """#)
    let output = try run(9, ["--hostfile", hosts, "-np", "4"])
    #expect(output.exitCode == 0, "\(output.standardError)")
    let ranks = ["4", "4", "2", "2", "2", "2"]
    #expect(starts.map { $0.prefix(12) } == ranks.map { "mpirun -np \($0)"[...] })
    #expect(fixture.read("hosts-2").contains("b slots=3"))
    for start in 3...6 { #expect(fixture.read("hosts-\(start)") == "a slots=2\n") }
    #expect(output.standardOutput.contains("Leaving out the host b"))
  }

  @Test func anUnreachableHostIsLeftOut() throws {
    let hosts = try fixture.write("hosts", "a slots=2\nb slots=2\n")
    try fixture.replaceProgram(
      """
      #!/bin/bash
      grep -q ^b "$3" || exit 0
      echo "wrn-dist: error: the host file $3, line 2: the host b cannot be reached (ssh: timeout); does it work?" >&2
      exit 69

      """)
    let output = try run(3, ["--hostfile", hosts])
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(starts.count == 1 && starts[0].hasPrefix("mpirun -np 2 "), "\(starts)")
  }

  /// Several hosts that are lost together are found one by one, and none of these starts has trained a step.
  @Test func severalHostsAreLostAtTheSameStep() throws {
    let hosts = try fixture.write("hosts", "a slots=1\nb slots=1\nc slots=1\nd slots=1\n")
    try stub(#"echo '{"step":7}' >'\#(run)/metrics.jsonl'; [ $start -gt 1 ] || { : >"$FIXTURE/cut"; exit 205; }"#)
    try fixture.replaceProgram(
      """
      #!/bin/bash
      [ -e "$FIXTURE/cut" ] || exit 0
      for host in b c d; do
        grep -q "^$host" "$3" || continue
        echo "wrn-dist: error: the host file $3, line 2: the host $host cannot be reached (ssh: timeout)." >&2
        exit 69
      done

      """)
    let output = try run(9, ["--hostfile", hosts])
    #expect(output.exitCode == 0, "\(output.standardOutput)\(output.standardError)")
    #expect(starts.count == 2 && starts[1].hasPrefix("mpirun -np 1 "), "\(starts)")
  }

  @Test(arguments: [SIGINT, SIGTERM, SIGUSR1])
  func aSignalIsPassedOnAndEndsTheRun(signal: Int32) throws {
    try fixture.stub("mpirun", ScriptFixture.stoppable)
    let output = try run(5) { try fixture.send(signal, to: $0) }
    #expect(output.exitCode == 75, "\(output.standardError)")
    #expect(fixture.calls.filter { $0.hasPrefix("mpirun got") } == ["mpirun got USR1"])
    #expect(starts.count == 1)
  }

  /// Whatever the failure after a signal, no start follows.
  ///
  /// With 138, USR1 has ended a run that had not trapped it yet.
  @Test(arguments: [(137, 137), (138, 75)]) func noStartFollowsASignal(failure: Int, exitCode: Int32) throws {
    try fixture.stub("mpirun", ScriptFixture.stoppable.replacingOccurrences(of: "exit 75", with: "exit \(failure)"))
    let output = try run(5) { try fixture.send(SIGTERM, to: $0) }
    #expect(output.exitCode == exitCode, "\(output.standardError)")
    #expect(starts.count == 1)
  }

  /// A batch script resumes the run.
  @Test(arguments: [SIGINT, SIGTERM, SIGUSR1]) func aSignalBeforeTheStartPreventsIt(signal: Int32) throws {
    // Before a start the script reads the newest checkpoint's name.
    try fixture.stub("cat", ScriptFixture.blocked + #"exec "$FIXTURE/tools/cat" "$@""#)
    let output = try run(5) {
      try fixture.send(signal, to: $0)
      try fixture.write("sent", "")
    }
    #expect(output.exitCode == 75, "\(output.standardError)")
    #expect(starts.isEmpty)
  }

  @Test func anOutputDirectoryIsNeeded() throws {
    let output = try fixture.run("train", ["--restarts", "3", "-np", "2", "--", "--steps", "5"])
    #expect(output.exitCode == 64)
    #expect(output.standardError.contains("restarts need --output-dir after --"))
    #expect(starts.isEmpty)
  }
}
