import Foundation
import Glibc
import TestSupport
import Testing

/// The output of a run and its files.
@Suite struct OutputTests {
  @Test func reportLinesHaveTraxsFormat() throws {
    let folder = try TemporaryDirectory()
    let output = try Job.training(
      folder, ranks: 2, output: "run", ["--steps", "4", "--eval-every", "2", "--eval-batches", "2"]
    ).succeed()
    let expected: [Regex<Substring>] = [
      /^data: embedded synthetic set \(--data synthetic\), 10000 training and 2000 test images$/,
      /^WRN-10-1, 4 steps of 16 images \(0\.0 epochs\) in 8 microbatches$/,
      /^2 rank\(s\) × [0-9]+ thread\(s\), engine (?:native \((?:avx512|avx2|neon)\)|blas \(.+\)), [0-9]+ MiB planned per rank$/,
      /^output in run$/,
      /^Step      1: Total number of trainable weights: 100986$/,
      /^Step      1: Ran 1 train steps in [0-9]+\.[0-9]{2} secs$/,
      /^Step      1: train CrossEntropyLoss \|  [0-9]\.[0-9]{8}$/,
      /^Step      1: eval  CrossEntropyLoss \|  [0-9]\.[0-9]{8}$/,
      /^Step      1: eval          Accuracy \|  0\.[0-9]{8}$/,
      /^Step      2: Ran 1 train steps in [0-9]+\.[0-9]{2} secs$/,
    ]
    for (line, form) in zip(output.lines, expected) { #expect(line.firstMatch(of: form) != nil, "\(line)") }
    #expect(output.lines.count == 19)
    #expect(output.lines[13].hasPrefix("Step      4: Ran 2 train steps in "))
    #expect(output.lines.last == "results are in run")
    #expect(!output.standardOutput.contains("\r"), "a live line needs a terminal")
  }

  @Test func outputDirectoryAndMetrics() throws {
    struct Line: Decodable {
      let kind: String
      let step: Int
      let loss: Float
      let learningRate: Float?
      let imagesPerSecond: Float?
      let gradientNorm: Float?
      let computeSeconds: Double?
      let communicationSeconds: Double?
      let dataSeconds: Double?
      let accuracy: Double?
      let examples: Int?
    }
    let folder = try TemporaryDirectory()
    try Job.training(
      folder, output: "run",
      [
        "--steps", "3", "--eval-every", "2", "--eval-batches", "all", "--checkpoint-every", "1", "--keep-checkpoints",
        "2",
      ]
    ).succeed()
    #expect(
      folder.names("run") == [
        "checkpoints", "config.yaml", "eval", "metrics.jsonl", "predictions.json", "run.json", "train",
      ])
    #expect(folder.names("run/checkpoints") == ["latest", "step-00000002", "step-00000003"])
    #expect(folder.read("run/checkpoints/latest") == "step-00000003\n")
    #expect(
      folder.names("run/checkpoints/step-00000003")
        == ["model.safetensors", "optimizer.safetensors", "state.json"])
    let lines = try folder.read("run/metrics.jsonl").split(separator: "\n").map {
      try JSONDecoder.snakeCase.decode(Line.self, from: Data($0.utf8))
    }
    #expect(lines.map(\.kind) == ["train", "eval", "train", "eval", "train", "eval"])
    #expect(lines.map(\.step) == [1, 1, 2, 2, 3, 3])
    for line in lines where line.kind == "train" {
      #expect(line.learningRate == 0.01)
      #expect((line.imagesPerSecond ?? 0) > 0 && (line.gradientNorm ?? 0) > 0)
      // A single rank waits for no other.
      #expect((line.computeSeconds ?? 0) > 0 && (line.communicationSeconds ?? 1) < 1e-3)
      #expect((line.dataSeconds ?? -1) >= 0)
    }
    for line in lines where line.kind == "eval" {
      #expect(line.examples == 2000)
      let correct = (line.accuracy ?? -1) * 2000
      #expect(abs(correct - correct.rounded()) < 1e-3, "accuracy is a count of 2000 images")
    }
    // The settings in the output directory start the same run again.
    try Job(folder, ["train", "--config", "run/config.yaml", "--output-dir", "again"]).succeed()
    #expect(try folder.digest("again") == folder.digest("run"))
  }

  @Test func theTimesOfAStepAddUp() throws {
    struct Line: Decodable {
      let imagesPerSecond, computeSeconds, communicationSeconds, dataSeconds: Double
    }
    let folder = try TemporaryDirectory()
    try Job.training(folder, ranks: 2, output: "run", ["--steps", "4", "--eval-every", "0"])
      .succeed()
    let lines = try folder.read("run/metrics.jsonl").split(separator: "\n").map {
      try JSONDecoder.snakeCase.decode(Line.self, from: Data($0.utf8))
    }
    #expect(lines.count == 4)
    for line in lines {
      #expect(line.communicationSeconds > 0 && line.dataSeconds >= 0)
      let parts = line.computeSeconds + line.communicationSeconds + line.dataSeconds
      #expect(line.computeSeconds > 0 && parts <= 16 / line.imagesPerSecond * (1 + 1e-4) + 1e-6)
    }
  }

  @Test func flagsOverrideTheSettingsFile() throws {
    let folder = try TemporaryDirectory()
    try folder.write("small.yaml", "depth: 10\nbatch_size: 16\nsteps: 7\ndata: synthetic\nevalEvery: 0\n")
    let output = try Job(
      folder, ["--config", "small.yaml", "--steps", "2", "--output-dir", "run"]
    ).succeed()
    #expect(output.standardOutput.contains("WRN-10-1, 2 steps of 16 images"))
  }

  @Test func epochsAreCountedInImages() throws {
    let folder = try TemporaryDirectory()
    let job = Job.training(folder, output: "run", ["--epochs", "3"])
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    let output = try job.run { child in
      try waitForLines(1, in: log)
      kill(child, SIGTERM)
    }
    #expect(output.standardOutput.contains("1875 steps of 16 images (3.0 epochs)"))
  }

  /// `mpirun -np 4 wrn-dist` starts Trax's run on the data set that it finds, in a new directory.
  @Test func noFlagsAtAll() throws {
    let folder = try TemporaryDirectory()
    let runs = folder.url.appendingPathComponent("runs").path
    let job = Job(folder, ranks: 4, [])
    let output = try job.run { mpirun in
      for _ in 0..<3000 where folder.names("runs").isEmpty { usleep(10_000) }
      let run = try #require(folder.names("runs").first)
      try waitForLines(3, in: "\(runs)/\(run)/metrics.jsonl")
      kill(mpirun, SIGUSR1)
    }
    #expect(output.exitCode == 75, "\(output.standardError)")
    #expect(output.standardOutput.contains("data: embedded synthetic set (no $CIFAR10_DIR and no data/"))
    #expect(output.standardOutput.contains("WRN-22-1, 5000 steps of 64 images"))
    #expect(
      output.standardOutput.contains("4 rank(s) × 1 thread(s)") || ProcessInfo.processInfo.activeProcessorCount > 7)
    #expect(output.standardOutput.contains("Step      1: eval          Accuracy |"))
    let run = try #require(folder.names("runs").first)
    #expect(run.firstMatch(of: /^[0-9]{8}-[0-9]{6}-WRN-22-1$/) != nil)
    #expect(folder.names("runs/\(run)/checkpoints").count == 2)
  }
}
