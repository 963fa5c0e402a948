import Collectives
import Datasets
import Foundation
import Models
import TestSupport
import Testing
import Training

/// The events of a run, and its files that cannot be written.
@Suite struct RunLoggerTests {
  /// A console that keeps the events, with progress in every step.
  private final class EventList: Console {
    private(set) var events: [RunEvent] = []
    let isLive = false
    let progressInterval: Double? = 0

    func write(_ line: String) {}
    func showLive(_ line: String) {}
    func report(_ event: RunEvent) { events.append(event) }

    /// The fields of the last event with a name.
    func fields(_ name: String) -> [String: RunEvent.Value] {
      let fields = events.last { $0.name == name }?.fields ?? []
      return Dictionary(uniqueKeysWithValues: fields.map { ($0.name, $0.value) })
    }
  }

  private struct Failure: Error {}
  private static func ignored() {}

  private let folder: TemporaryDirectory
  private let console = EventList()
  private var configuration = TrainingConfiguration()

  init() throws {
    folder = try TemporaryDirectory()
    configuration.depth = 10
    configuration.batchSize = 16
    configuration.steps = 10
  }

  private func makeLogger(skippedSteps: Int = 0, _ extra: ExtraOutputs = ExtraOutputs()) throws -> RunLogger {
    try RunLogger(
      configuration, networkName: "WRN-10-1", output: OutputDirectory(creating: folder.path + "/run"),
      completedSteps: 0, trainingCount: 1000, dataFingerprint: "", skippedSteps: skippedSteps, extra: extra,
      console: console)
  }

  private func result(slowRank: Int? = nil, isSkipped: Bool = false) -> TrainingStep.Result {
    TrainingStep.Result(
      loss: 0.5, learningRate: 0.01, gradientNorm: 1.5, communicationSeconds: 0.25, stepSeconds: 0.75,
      isSkipped: isSkipped,
      straggler: slowRank.map { ComputeTimes.Straggler(rank: $0, seconds: 3, medianSeconds: 1) })
  }

  @Test func eventsNameSlowRanksAndSkippedSteps() throws {
    let expected: [String: RunEvent.Value] = [
      "slow_rank": .integer(2), "slow_ratio": .number(3), "skipped_steps": .integer(1),
      "skipped_steps_total": .integer(6),
    ]
    let logger = try makeLogger(skippedSteps: 5)
    let model = ModelState(try configuration.modelGraph())
    try logger.record(result(), step: 1, dataSeconds: 0)
    try logger.reportTraining(step: 1, model: model)
    #expect(console.fields("train")["steps_since_report"] != nil)
    #expect(console.fields("train").keys.allSatisfy { expected[$0] == nil }, "only where there is something to tell")
    #expect(console.fields("progress")["step"] != nil && console.fields("progress")["slow_rank"] == nil)

    for step in 2...5 { try logger.record(result(slowRank: 2, isSkipped: step == 3), step: step, dataSeconds: 0) }
    try logger.reportTraining(step: 5, model: model)
    #expect(console.fields("train").filter { expected[$0.key] != nil } == expected)
    #expect(console.fields("progress")["slow_rank"] == expected["slow_rank"])
  }

  @Test func progressHasTheAccuracyOfTheLastEvaluation() throws {
    var configuration = configuration
    configuration.steps = 2
    configuration.evalEvery = 1
    configuration.evalBatches = .next(1)
    let model = ModelState(try configuration.modelGraph(), optimizerStates: ["m", "v"])
    model.graph.initialize(model.parameters, model.runningStatistics, seed: 0)
    let trainer = try Trainer(
      configuration, model: model, completedSteps: 0, dataset: SyntheticDataset.dataset(),
      engine: configuration.engine.make(environment: [:]), pool: try WorkerPool(workerCount: 1),
      communicator: SingleProcessCommunicator(), logger: try makeLogger(), stop: StopRequest())
    try trainer.run()
    let evaluation = try #require(console.events.first { $0.name == "evaluation" })
    let accuracy = try #require(evaluation.fields.first { $0.name == "accuracy" })
    #expect(console.fields("progress")["accuracy"] == accuracy.value)
  }

  /// A write that fails at once says nothing about the time that the next one takes.
  @Test func onlyCompleteCheckpointsAreMeasured() throws {
    let logger = try makeLogger()
    let writer = CheckpointWriter()
    func fail(step: Int) {
      writer.write(step: step, inBackground: false, progress: Self.ignored) { _ in throw Failure() }
      logger.settleCheckpoint(writer.wait())
    }
    fail(step: 1)
    #expect(logger.checkpointSeconds == nil)
    writer.write(step: 2, inBackground: false, progress: Self.ignored) { _ in }
    let complete = try #require(writer.wait())
    logger.settleCheckpoint(complete)
    fail(step: 3)
    #expect(logger.checkpointSeconds == complete.seconds)
  }

  /// The table is made again from the log, so a rollback needs nothing of it.
  @Test func aTableThatCannotBeWrittenStopsNoRollback() throws {
    try folder.write("run/config.yaml", "")
    // A device that refuses every byte.
    try FileManager.default.createSymbolicLink(
      atPath: folder.path + "/run/metrics.csv", withDestinationPath: "/dev/full")
    var extra = ExtraOutputs()
    extra.metricTable = true
    let logger = try makeLogger(extra)
    for step in 1...3 { try logger.record(result(), step: step, dataSeconds: 0) }
    try logger.rollBack(
      to: Checkpoint.State(
        step: 2, streamPosition: 32, seed: 0, network: "WRN-10-1", dataFingerprint: "", configuration: [:]))
    #expect(folder.read("run/metrics.jsonl").split(separator: "\n").count == 2)
  }

  /// The end of the run rewrites the gauges, but the time remains that of the last step.
  @Test func gaugesHaveTheTimeOfTheLastStep() throws {
    var extra = ExtraOutputs()
    extra.prometheusTextfile = folder.path + "/wrn.prom"
    let logger = try makeLogger(extra)
    try logger.record(result(), step: 1, dataSeconds: 0)
    let gauges = folder.read("wrn.prom")
    #expect(gauges.contains("wrn_dist_last_step_timestamp_seconds{"))
    logger.reportEnd()
    #expect(folder.read("wrn.prom") == gauges)
  }

  @Test func gaugesThatCannotBeWrittenAreRefusedAtTheStart() throws {
    var extra = ExtraOutputs()
    extra.prometheusTextfile = folder.path + "/wrn.prom"
    try folder.write("wrn.prom.tmp/file", "")
    let error = #expect(throws: CheckpointError.self) { try makeLogger(extra) }
    #expect(error?.description.contains("wrn.prom.tmp cannot be created") == true, "\(String(describing: error))")
  }
}
