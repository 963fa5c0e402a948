import Foundation
import TestSupport
import Testing

/// A desynchronized rank is found and reported, and its state is never saved.
@Suite struct DesyncTests {
  private func job(
    _ folder: TemporaryDirectory, ranks: Int?, fault: String, allowed: String? = "1", _ flags: [String]
  ) -> Job {
    var job = Job.training(folder, ranks: ranks, output: "run", flags)
    job.environment = ["WRN_FAULT": fault]
    job.environment["WRN_ALLOW_FAULTS"] = allowed
    return job
  }

  @Test func aFlippedBitIsFoundBeforeTheCheckpoint() throws {
    let folder = try TemporaryDirectory()
    let output = try job(
      folder, ranks: 3, fault: "bitflip:rank=2,step=6,tensor=groups.1.blocks.0.conv2.weight,element=5",
      ["--steps", "8", "--checkpoint-every", "3"]
    ).run()
    #expect(output.exitCode == 70, "\(output.standardError)")
    #expect(output.errorLines.count == 1, "\(output.standardError)")
    #expect(
      output.errorLines.first?.contains(
        "after step 6 groups.1.blocks.0.conv2.weight of rank 2 ") == true,
      "\(output.standardError)")
    #expect(folder.names("run/checkpoints") == ["latest", "step-00000003"], "the one before stays")
    try Job.training(folder, ranks: 2, output: "run", ["--steps", "8", "--checkpoint-every", "3"]).succeed()
    try Job.training(folder, output: "whole", ["--steps", "8"]).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"), "the restarted run has the same result")
  }

  /// Within one step, at a step that is no checkpoint, with the rank: also one of two, and one alone.
  @Test(
    arguments: [
      (2, 1, "norm.running_var"), (nil, 0, "v.stem.weight"), (nil, 0, "head.weight"),
    ] as [(Int?, Int, String)])
  func damageIsFoundInTheNextStep(ranks: Int?, rank: Int, tensor: String) throws {
    let folder = try TemporaryDirectory()
    let output = try job(
      folder, ranks: ranks, fault: "bitflip:rank=\(rank),step=7,tensor=\(tensor),bit=3",
      ["--steps", "100", "--checkpoint-every", "0"]
    ).run()
    #expect(output.exitCode == 70, "\(output.standardError)")
    #expect(
      output.errorLines.first?.contains("after step 7 \(tensor) of rank \(rank) has changed since it was written")
        == true,
      "\(output.standardError)")
    #expect(folder.metrics("run").count == 7)
    #expect(folder.names("run/checkpoints").isEmpty)
  }

  @Test func faultsMustBeAllowed() throws {
    let folder = try TemporaryDirectory()
    for (fault, allowed, words) in [
      ("bitflip:rank=0,step=1,tensor=head.bias", nil, "WRN_ALLOW_FAULTS=1"),
      ("bitflip:rank=0,step=1,tensor=head.bias", "yes", "WRN_ALLOW_FAULTS=1"),
      ("explode:rank=0", "1", "is not understood"), ("bitflip:rank=0", "1", "is not understood"),
      ("bitflip:rank=x,step=1,tensor=head.bias", "1", "is not understood"),
      ("bitflip:rank=0,step=1,tensor=head.bias,bit=32", "1", "is not understood"),
      ("rank=0,step=1", "1", "is not understood"), ("rank=0,step=1,act=bitflip", "1", "is not understood"),
      ("rank=0,step=1,act=kill,phase=lunch", "1", "is not understood"),
      ("rank=0,step=1,act=kill", nil, "WRN_ALLOW_FAULTS=1"),
    ] {
      let output = try job(folder, ranks: nil, fault: fault, allowed: allowed, ["--steps", "1"]).run()
      #expect(output.exitCode == 64, "\(output.standardError)")
      #expect(output.errorLines.count == 1 && output.standardError.contains(words), "\(output.standardError)")
      #expect(folder.names("run").isEmpty)
    }
  }
}
