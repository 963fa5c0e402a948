import Datasets
import Foundation
import Models
import Reports
import TestSupport
import Training

/// The directory of a run, written as `train` writes it, with values that tests know.
struct RunFixture {
  /// The directory that holds the run's.
  let folder: TemporaryDirectory
  /// The run's name within it.
  let name: String
  /// Settings that differ from Trax's with 400 steps.
  var settings: [String: String] = [:]
  /// The number of steps in the log.
  var steps = 400
  /// The evaluations: step, loss, accuracy.
  var evaluations: [(step: Int, loss: Double, accuracy: Double)] = [
    (1, 2.3, 0.125), (200, 1.5, 0.4375), (400, 1.25, 0.53125),
  ]

  /// The run's directory.
  var path: String { "\(folder.path)/\(name)" }

  /// The loss of a step: falling, with noise and one spike.
  static func loss(_ step: Int) -> Float {
    let noise = Float((step &* 7919) % 101) / 400
    return step == 123 ? 5.5 : 2.4 - 1.2 * Float(step) / (Float(step) + 100) + noise
  }

  /// The images per second of a step.
  static func rate(_ step: Int) -> Float { step == 1 ? 20 : 200 + Float(step % 7) }

  /// All settings of Trax's recipe, changed.
  var configuration: String {
    var configuration = TrainingConfiguration()
    configuration.steps = 400
    configuration.evalEvery = 200
    configuration.outputDirectory = path
    configuration.data = "synthetic"
    return configuration.settings.map { "\($0.name): '\(settings[$0.name] ?? $0.value)'\n" }.joined()
  }

  /// The log's lines.
  var metrics: [String] {
    (1...max(steps, 1)).flatMap { step -> [String] in
      let train =
        #"{"kind":"train","step":\#(step),"loss":\#(Self.loss(step)),"learning_rate":0.01,"#
        + #""images_per_second":\#(Self.rate(step)),"gradient_norm":1.5,"compute_seconds":0.2,"#
        + #""communication_seconds":0.05,"data_seconds":0.001}"#
      let evaluation = evaluations.filter { $0.step == step }.map {
        #"{"kind":"eval","step":\#(step),"loss":\#(Float($0.loss)),"accuracy":\#(Float($0.accuracy)),"#
          + #""examples":1280,"statistics":"batch"}"#
      }
      return [train] + evaluation
    }
  }

  /// Writes settings and log.
  func write() throws {
    try folder.write("\(name)/config.yaml", configuration)
    try folder.write("\(name)/metrics.jsonl", metrics.map { $0 + "\n" }.joined())
  }

  /// Writes `run.json` and a checkpoint with the weights of a seed.
  ///
  /// - Parameter command: The recorded command.
  /// - Throws: The file system's error if it cannot be written.
  func writeDescription(command: [String] = ["wrn-dist", "train", "--widen-factor", "1"]) throws {
    let dataset = try DataSource("synthetic").dataset
    let digest = dataset.manifest().map { "\($0.name): \($0.value)" }.joined(separator: "; ")
    let session = RunDescription.Session(
      version: "9.8.7", command: command, directory: folder.path, started: "2026-11-28T09:00:00Z", firstStep: 1,
      engine: "native (avx2)",
      hosts: [
        RunDescription.Host(name: "node-1", cpu: "Some CPU", ranks: 2, threads: [4, 4]),
        RunDescription.Host(name: "node-2", cpu: "Other CPU", ranks: 1, threads: [3]),
      ])
    let description = RunDescription(
      network: "WRN-22-1", parameterCount: 295_866, data: "embedded synthetic set",
      trainingCount: dataset.training.count,
      testCount: dataset.test.count, classNames: dataset.classNames, dataDigest: digest, sessions: [session])
    try description.write(to: try OutputDirectory(creating: path))
  }

  /// Writes predictions for the first test images: right, except that image i is wrong if `i` is a multiple of five.
  ///
  /// - Parameter count: The number of images.
  /// - Throws: The file system's error if it cannot be written.
  func writePredictions(count: Int = 100) throws {
    let dataset = try DataSource("synthetic").dataset
    var logits = [Float](repeating: 0, count: 10 * count)
    for i in 0..<count {
      let label = try Int(dataset.test.withImage(at: i) { label, _ in label })
      logits[10 * i + (i % 5 == 0 ? (label + 1) % 10 : label)] = 1 + Float(i) / 10
    }
    let predictions = try logits.withUnsafeBufferPointer {
      try Predictions(
        logits: $0, images: Array(0..<count), split: dataset.test, step: 400, weights: .raw, statistics: "batch")
    }
    try folder.write("\(name)/predictions.json", try predictions.json())
  }

  /// Makes a report of runs.
  static func report(_ paths: [String], _ format: ReportFormat = .html) throws -> String {
    String(
      decoding: try Report(paths, version: "1.2.3", date: Date(timeIntervalSince1970: 0)).render(format), as: UTF8.self)
  }
}
