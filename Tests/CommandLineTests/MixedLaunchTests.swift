import Foundation
import TestSupport
import Testing

/// Ranks with different flags, data or builds are refused before the first step; the error names the difference.
@Suite struct MixedLaunchTests {
  /// Starts two ranks with different commands (`mpirun -np 1 … : -np 1 …`).
  private func refuse(
    _ folder: TemporaryDirectory, _ first: [String], _ second: [String], program: String? = nil, code: Int32,
    _ sentence: String
  ) throws {
    let usual = try BuiltProducts.executable("wrn-dist")
    let common = ["train", "--depth", "10", "--batch-size", "16", "--steps", "2", "--output-dir", "out"]
    let rest = [":", "-np", "1", program ?? usual] + common + second
    var job = MPIRun(ranks: 1, usual, common + first + rest)
    job.workingFolder = folder.path
    let output = try job.run()
    #expect(output.exitCode == code, "\(output.standardError)")
    #expect(output.errorLines.count == 1, "\(output.standardError)")
    #expect(output.errorLines.first?.contains(sentence) == true, "\(output.standardError)")
    #expect(folder.names("out").isEmpty)
  }

  private static let synthetic = ["--data", "synthetic"]

  @Test(arguments: [
    (
      ["--learning-rate", "0.01"], ["--learning-rate", "0.02"], "--learning-rate is 0.01 on rank 0 but 0.02 on rank 1"
    ),
    ([], ["--batch-norm", "microbatch"], "--batch-norm is global on rank 0 but microbatch on rank 1"),
    (["--seed", "3"], [], "--seed is 3 on rank 0 but 0 on rank 1"),
    ([], ["--microbatches", "4"], "--microbatches is 8 on rank 0 but 4 on rank 1"),
    ([], ["--trace", "t.json"], "--trace is not set on rank 0 but t.json on rank 1"),
  ])
  func differentFlags(first: [String], second: [String], sentence: String) throws {
    try refuse(TemporaryDirectory(), Self.synthetic + first, Self.synthetic + second, code: 64, sentence)
  }

  @Test func differentDataSets() throws {
    let folder = try TemporaryDirectory()
    for (name, seed) in [("a", "0"), ("b", "1")] {
      try Job(folder, ["data", "synthesize", name, "--seed", seed]).succeed()
    }
    try refuse(folder, ["--data", "a"], ["--data", "b"], code: 65, "the training set is SHA-256 ")
    try refuse(
      folder, ["--data", "a"], Self.synthetic, code: 65, "on rank 0 but synthetic training image, seed 0 on rank 1")
    // One byte in the middle, which a comparison of a few images would not find.
    let file = folder.url.appendingPathComponent("b/test_batch.bin")
    try FileManager.default.removeItem(at: folder.url.appendingPathComponent("b"))
    try FileManager.default.copyItem(
      at: folder.url.appendingPathComponent("a"), to: folder.url.appendingPathComponent("b"))
    var bytes = try Data(contentsOf: file)
    bytes[3073 * 700 + 55] ^= 1
    try bytes.write(to: file)
    try refuse(folder, ["--data", "a"], ["--data", "b"], code: 65, "the test set is SHA-256 ")
  }

  @Test func differentBuilds() throws {
    let folder = try TemporaryDirectory()
    let program = try BuiltProducts.executable("wrn-dist")
    // A byte after the end of an executable does not affect it.
    let copy = folder.path + "/wrn-dist"
    let output = try ProcessRun("/bin/sh", ["-c", "cp '\(program)' '\(copy)' && printf x >>'\(copy)'"]).run()
    #expect(output.exitCode == 0)
    try refuse(
      folder, Self.synthetic, Self.synthetic, program: copy, code: 70, "the build of wrn-dist is ")
  }

  @Test func aFlagThatIsInvalidOnOneRank() throws {
    try refuse(
      TemporaryDirectory(), Self.synthetic, Self.synthetic + ["--learning-rate", "nan"], code: 64, "--learning-rate nan"
    )
  }
}
