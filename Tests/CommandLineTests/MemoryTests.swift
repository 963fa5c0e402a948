import TestSupport
import Testing

/// A run that needs too much memory is refused before it allocates any.
@Suite struct MemoryTests {
  @Test(arguments: [nil, 3])
  func aRunThatDoesNotFit(ranks: Int?) throws {
    // 5 TB, more than any machine has today.
    let flags = ["--widen-factor", "64", "--batch-size", "65536"]
    for command in [
      ["train", "--data", "synthetic", "--output-dir", "out"], ["benchmark", "step", "--shared-cores", "compute"],
    ] {
      let folder = try TemporaryDirectory()
      let output = try Job(folder, ranks: ranks, command + flags).run()
      #expect(output.exitCode == 69, "\(output.standardError)")
      #expect(output.errorLines.count == 1, "\(output.standardError)")
      let sentence = try #require(output.errorLines.first)
      #expect(sentence.contains(/[0-9.]+ GiB of memory but only [0-9.]+ GiB are/), "\(sentence)")
      #expect(
        sentence.contains("\(ranks ?? 1) rank(s) on ") && sentence.contains("lower --batch-size or --widen-factor"))
      #expect(sentence.contains("start fewer ranks per host") == (ranks == 3))
      #expect(folder.names("out").isEmpty)
    }
  }

  @Test func anEvaluationThatDoesNotFit() throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "run", ["--steps", "1", "--batch-size", "8", "--widen-factor", "16"]).succeed()
    // A quarter of a TB.
    let flags = ["--checkpoint", "run", "--data", "synthetic", "--batch-size", "65536"]
    let output = try Job(folder, ["evaluate"] + flags).run()
    #expect(output.exitCode == 69)
    #expect(
      output.errorLines.count == 1 && output.errorLines[0].contains("lower --batch-size"), "\(output.standardError)")
  }

  /// Foundation's `Thread` reports no thread that could not be started; a rank that waits for one would hang.
  @Test(.disabled(if: Sanitizer.isActive, "the shadow memory of a sanitizer exceeds every limit of addresses"))
  func aThreadThatCannotStartEndsTheRun() throws {
    let folder = try TemporaryDirectory()
    let program = try BuiltProducts.executable("wrn-dist")
    // 2.4 GiB of addresses are enough for the program, but not for 512 stacks of 8 MiB.
    let script = "ulimit -v 2500000; exec \(program) train --data synthetic --depth 10 --threads 512 --output-dir out"
    let output = try ProcessRun(
      "/bin/bash", ["-c", script], environment: MPIRun.environment(adding: [:]), workingFolder: folder.path,
      limit: .seconds(120)
    ).run()
    #expect(output.exitCode == 69 && !output.timedOut, "\(output.standardError)")
    let sentence = try #require(output.errorLines.first)
    #expect(
      sentence.contains(/the thread wrn-worker-[0-9]+ could not be started .* use fewer --threads/), "\(sentence)")
  }
}
