import Foundation
import Training

/// A benchmark of the training step as it is printed.
struct StepReport {
  let options: TrainingConfiguration
  let times: StepBenchmark.Times
  let engine: ChosenEngine
  let worldSize: Int

  private var median: Double { StepBenchmark.Times.median(times.steps) }
  private var exposed: Double { StepBenchmark.Times.median(times.waits) }
  private var slowest: Double { times.steps[times.steps.count - 1] }
  private var rate: Double { Double(options.batchSize) / median }
  private var evaluationRate: Double {
    Double(options.batchSize) / StepBenchmark.Times.median(times.evaluations)
  }
  private var gflops: Double { 6 * Double(times.network.multiplyAdds) * rate / 1e9 }

  /// Several lines for people.
  var text: String {
    """
    \(times.network.configuration.name), batch \(options.batchSize), \(worldSize) rank(s) × \(times.threads) thread(s), \
    engine \(engine.description), n = \(times.steps.count)
    median \(format(median * 1e3)) ms a step (fastest \(format(times.steps[0] * 1e3)), \
    slowest \(format(slowest * 1e3))): \(format(rate)) img/s, \(format(gflops)) GFLOP/s
    exposed communication \(format(exposed * 1e3)) ms a step; rank 0 sends \(kibibytes(times.sentByteCount)) KiB, its \
    host \(kibibytes(times.sentToOtherHostsByteCount)) KiB to others
    evaluation \(format(evaluationRate)) img/s, \(format(evaluationRate / rate)) times the training rate
    first step done \(format(times.first)) s after the start; planned memory \
    \(times.plannedByteCount >> 20) MiB (\(times.keptByteCount >> 20) MiB of activations), peak of rank 0 \
    \(times.peakByteCount >> 20) MiB
    """
  }

  /// One line for programs.
  ///
  /// - Throws: Nothing that occurs: all members can be encoded.
  func json() throws -> String {
    try JSONLine.render(
      Line(
        network: times.network.configuration.name, widenFactor: options.widenFactor,
        batchSize: options.batchSize, microbatches: options.microbatches, ranks: worldSize,
        threads: times.threads, engine: engine.engine.name, isa: engine.engine.instructions,
        imagesPerSecond: rate, stepMilliseconds: median * 1e3,
        stepMillisecondsMinimum: times.steps[0] * 1e3, stepMillisecondsMaximum: slowest * 1e3,
        n: times.steps.count, gflops: gflops, evaluationImagesPerSecond: evaluationRate,
        wire: options.wire.rawValue, exposedCommunicationMilliseconds: exposed * 1e3,
        bytesSentPerRank: times.sentByteCount, bytesSentToOtherHosts: times.sentToOtherHostsByteCount,
        plannedMemoryBytes: times.plannedByteCount, keptActivationBytes: times.keptByteCount,
        peakMemoryBytes: times.peakByteCount, firstStepSeconds: times.first, cpu: Machine.cpuModel))
  }

  private struct Line: Encodable {
    let network: String
    let widenFactor: Int
    let batchSize: Int
    let microbatches: Int
    let ranks: Int
    let threads: Int
    let engine: String
    let isa: String
    let imagesPerSecond: Double
    let stepMilliseconds: Double
    let stepMillisecondsMinimum: Double
    let stepMillisecondsMaximum: Double
    let n: Int
    let gflops: Double
    let evaluationImagesPerSecond: Double
    let wire: String
    let exposedCommunicationMilliseconds: Double
    let bytesSentPerRank: Int
    let bytesSentToOtherHosts: Int
    let plannedMemoryBytes: Int
    let keptActivationBytes: Int
    let peakMemoryBytes: Int
    let firstStepSeconds: Double
    let cpu: String
  }

  private func kibibytes(_ count: Int) -> Int { (count + 512) >> 10 }
  private func format(_ value: Double) -> String { String(format: "%.3f", value) }
}
