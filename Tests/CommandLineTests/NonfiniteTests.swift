import Foundation
import TestSupport
import Testing

/// Steps whose numbers are not finite: the report, and what a run does about them.
@Suite struct NonfiniteTests {
  private func job(
    _ folder: TemporaryDirectory, ranks: Int?, output: String = "run", fault: String, _ flags: [String]
  ) -> Job {
    var job = Job.training(folder, ranks: ranks, output: output, flags)
    job.environment = ["WRN_FAULT": "\(fault),act=nan", "WRN_ALLOW_FAULTS": "1"]
    return job
  }

  /// In 8 microbatches of 2 images the last rank has 8, 4, 3 or 2 microbatches.
  @Test(arguments: [(nil, 0, 0), (2, 1, 8), (3, 2, 10), (4, 3, 12)] as [(Int?, Int, Int)])
  func theReportNamesRankMicrobatchLayerAndImages(ranks: Int?, rank: Int, first: Int) throws {
    let folder = try TemporaryDirectory()
    let output = try job(
      folder, ranks: ranks, fault: "rank=\(rank),step=3,image=3", ["--steps", "9", "--shuffle", "none"]
    ).run()
    #expect(output.exitCode == 76, "\(output.standardError)")
    #expect(output.errorLines.count == 1)
    let image = first + 3
    let words =
      "loss or gradient of step 3 is not finite, first in the images for image \(image) of the batch (training image "
      + "\(32 + image)), microbatch \(image / 2) of rank \(rank); the parameters of step 3 are not saved"
    #expect(output.standardError.contains(words), "\(output.standardError)")
    #expect(folder.names("run/checkpoints").isEmpty)
  }

  /// The gradient of one rank, beside finite losses.
  @Test(
    arguments: [(nil, 0, ""), (2, 1, ", microbatches 4 to 7 of rank 1"), (4, 2, ", microbatches 4, 5 of rank 2")]
      as [(Int?, Int, String)])
  func theGradientIsNamedAsWell(ranks: Int?, rank: Int, place: String) throws {
    let folder = try TemporaryDirectory()
    // Rank 0 owns the first elements, so another rank's gradient is still its own.
    let output = try job(
      folder, ranks: ranks, fault: "rank=\(rank),step=2,phase=backward,element=7", ["--steps", "4"]
    ).run()
    #expect(output.exitCode == 76, "\(output.standardError)")
    #expect(
      output.standardError.contains("first in the gradient of stem.weight\(place)"), "\(output.standardError)")
  }

  /// Weights that are too large give numbers that are not finite in every image.
  @Test(arguments: [nil, 3])
  func aRateThatIsTooHigh(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    for policy in ["stop", "skip", "rollback"] {
      let output = try Job.training(
        folder, ranks: ranks, output: policy,
        ["--steps", "50", "--learning-rate", "1e30", "--checkpoint-every", "1", "--on-nonfinite", policy]
      ).run()
      #expect(output.exitCode == 76, "\(output.standardError)")
      #expect(output.errorLines.count == 1)
      #expect(
        output.standardError.contains(
          #/not finite, first in (the output of|the logits|the gradient of|[a-z.0-9]+, which)/#),
        "\(output.standardError)")
      if policy == "skip" { #expect(output.standardError.contains("the 10 steps before it had no update either")) }
    }
  }

  /// The step has no update: the state after it is that before it, for every number of ranks, and by either policy.
  @Test(arguments: [
    (["--optimizer-state", "sharded"], "forward"), (["--optimizer-state", "replicated"], "backward"),
    (["--batch-norm", "microbatch", "--wire", "bf16"], "forward"),
    (["--average-decay", "0.9", "--average-every", "5", "--clip-norm", "1"], "backward"),
  ])
  func skippingGivesTheSameForAnyRanksAndPolicy(flags: [String], phase: String) throws {
    let folder = try TemporaryDirectory()
    let flags = flags + ["--steps", "9", "--checkpoint-every", "1", "--keep-checkpoints", "0"]
    for (ranks, policy) in [(nil, "skip"), (2, "skip"), (3, "skip"), (4, "skip"), (nil, "rollback"), (3, "rollback")]
      as [(Int?, String)]
    {
      let name = "\(policy)-\(ranks ?? 1)"
      let output = try job(
        folder, ranks: ranks, output: name, fault: "rank=0,step=5,until=6,phase=\(phase)",
        flags + ["--on-nonfinite", policy]
      ).run()
      #expect(output.exitCode == 0, "\(output.standardError)")
      #expect(output.standardOutput.contains("of step 5 is not finite, first in "), "\(output.standardOutput)")
      #expect(try folder.digest(name) == folder.digest("skip-1"))
      #expect(folder.metrics(name) == folder.metrics("skip-1"))
      func digest(_ step: Int) throws -> String { try folder.digest("\(name)/checkpoints/step-0000000\(step)") }
      if flags.contains("--average-decay") {
        // The average begins with step 5, although that has no update.
        #expect(try digest(5) == digest(6) && digest(4) != digest(5))
      } else {
        #expect(try digest(4) == digest(5) && digest(5) == digest(6) && digest(6) != digest(7))
      }
      #expect(folder.read("\(name)/checkpoints/step-00000009/state.json").contains("\"skippedSteps\" : 2"))
    }
    let lines = folder.metrics("skip-1")
    #expect(lines.count == 9)
    for (i, line) in lines.enumerated() {
      let isSkipped = [4, 5].contains(i)
      #expect(line.contains(#""skipped":true"#) == isSkipped && line.contains(#""loss":null"#) == isSkipped)
    }
  }

  /// Without such a step the policies give the same.
  @Test(arguments: [nil, 2])
  func withoutSuchAStepThePolicyHasNoEffect(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    for policy in ["stop", "skip", "rollback"] {
      try Job.training(folder, ranks: ranks, output: policy, ["--steps", "5", "--on-nonfinite", policy]).succeed()
      #expect(try folder.digest(policy) == folder.digest("stop"))
    }
  }

  /// The run returns over several steps, and its logs with it; it is killed meanwhile, and resumes.
  @Test(arguments: [nil, 3])
  func rollingBackRepeatsTheSteps(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    let flags = [
      "--steps", "12", "--checkpoint-every", "4", "--eval-every", "3", "--eval-batches", "2", "--metrics-csv",
    ]
    let rolled = try job(
      folder, ranks: ranks, output: "rolled", fault: "rank=0,step=7", flags + ["--on-nonfinite", "rollback"]
    ).succeed()
    #expect(
      rolled.standardOutput.contains("warning: the run returns to step 4, and step 7 will have no update."),
      "\(rolled.standardOutput)")
    try job(folder, ranks: 2, output: "skipped", fault: "rank=1,step=7", flags + ["--on-nonfinite", "skip"]).succeed()
    #expect(try folder.digest("rolled") == folder.digest("skipped"))
    #expect(folder.metrics("rolled") == folder.metrics("skipped"), "one line per step and evaluation")
    for name in ["rolled", "skipped"] {
      #expect(folder.read("\(name)/metrics.csv").split(separator: "\n").count == 1 + folder.metrics(name).count)
    }
    #expect(rolled.standardOutput.contains("1 step(s) without an update (1 in all)"))
  }

  @Test(arguments: [nil, 2])
  func rollingBackGivesUp(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "12", "--on-nonfinite", "rollback", "--checkpoint-every"]
    let endless = try job(folder, ranks: ranks, fault: "rank=0,step=5,until=8", flags + ["4"]).run()
    #expect(endless.exitCode == 76, "\(endless.standardError)")
    #expect(endless.errorLines.count == 1)
    #expect(endless.standardError.contains("the run has returned to step 4 3 times"), "\(endless.standardError)")
    #expect(folder.names("run/checkpoints") == ["latest", "step-00000004"])

    let groundless = try job(folder, ranks: ranks, output: "other", fault: "rank=0,step=3", flags + ["4"]).run()
    #expect(groundless.exitCode == 76, "\(groundless.standardError)")
    #expect(groundless.standardError.contains("there is no checkpoint to go back to"), "\(groundless.standardError)")
  }
}
