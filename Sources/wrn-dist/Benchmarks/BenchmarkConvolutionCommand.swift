import ArgumentParser
import DataParallel
import Foundation
import KernelDiagnostics
import Models
import Support
import Tensors
import Training

/// Times every convolution shape of a model by itself.
struct BenchmarkConvolutionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convolution",
    abstract: "Times the forward and backward pass of each convolution shape, and prints its algorithm.",
    discussion: """
      Medians for one thread and a whole batch in microbatches, with the adjacent batch norms fused. GFLOP/s count 2 \
      operations per multiply-add of the direct convolution, so an algorithm with fewer may exceed the peak. The same run \
      measures the peaks of multiply-adds and of memory. Backward computes both gradients.

      With --phases, the native kernels' time is divided into phases, each beside its bound: the peak of multiply-adds, or \
      the bytes that it must move through the L2 cache or memory. Where a cache holds the batch, memory is no bound. The \
      cost of a parallel loop is that of one item per thread, all of which wait for each other.
      """)

  @Option(help: "\(HelpText.architecture)") var architecture = WideResNetConfiguration.Architecture.trax
  @Option(help: "\(HelpText.depth)") var depth = 22
  @Option(help: "k, or all: 1, 2, 4 and 10.") var widenFactor = WidenFactors.one
  @Option(help: "Images per batch.") var batchSize = 64
  @Option(help: "\(HelpText.microbatches).") var microbatches = 8
  @Option(help: "native (with blas for comparison) or blas.") var engine = TrainingConfiguration.Engine.native
  @Option(help: "Timed batches, after one for warm-up.") var repetitions = 7
  @Flag(help: "Divide the time into phases.") var phases = false
  @Option(help: "With --phases: also times this number of threads at once, each with a batch.") var threads = 1
  @Option(help: "With --phases: the work items are those of a rank with this number of threads.") var itemsFor = 1
  @Flag(help: "\(HelpText.json)") var json = false

  func run() throws {
    guard repetitions > 0 else { throw UsageError("--repetitions must be at least 1.") }
    guard (1...1024).contains(threads) else { throw UsageError("--threads must lie between 1 and 1024.") }
    guard threads == 1 || phases else { throw UsageError("--threads is only for --phases.") }
    guard (1...1024).contains(itemsFor) else { throw UsageError("--items-for must lie between 1 and 1024.") }
    guard itemsFor == 1 || phases else { throw UsageError("--items-for is only for --phases.") }
    _ = try MicrobatchPlan(
      globalBatchSize: batchSize, microbatchCount: microbatches, rank: 0, worldSize: 1)
    let models = try widenFactor.factors.map {
      try WideResNetConfiguration(architecture: architecture, depth: depth, widenFactor: $0).graph()
    }
    let environment = ProcessInfo.processInfo.environment
    let selected = try engine.make(environment: environment)
    let engines = selected.name == "native" ? [selected, BLASConvolutionEngine()] : [selected]
    // The loops that measure the peaks are native kernels as well.
    let set = try InstructionSet.select(requested: environment["WRN_ISA"])
    if phases {
      guard let set, engine == .native else {
        throw UsageError("--phases are those of the native kernels, which this CPU or --engine excludes.")
      }
      try printPhases(models, set)
      return
    }
    let peak = set.map { MachineRoofline($0.peakKernels) }
    let report = ConvolutionReport(
      batchSize: batchSize, microbatches: microbatches, repetitions: repetitions,
      engines: engines, instructionSet: set, peak: peak)
    for line in report.heading { print(line) }
    var layers: [ConvolutionReport.Layer] = []
    for model in models {
      print("\n\(model.name)\n\(report.tableHeading)")
      for (geometry, count) in model.distinctConvolutions {
        let layer = report.measure(geometry, count: count, model: model)
        layers.append(layer)
        for line in report.lines(layer) { print(line) }
      }
    }
    if json { print(try report.json(layers)) }
  }

  private func printPhases(_ models: [ModelGraph], _ set: InstructionSet) throws {
    let limits = try Set([1, threads]).sorted().map { count in
      let pool = try WorkerPool(workerCount: count)
      return ConvolutionPhaseReport.Threads(
        pool: pool, roofline: MachineRoofline.mean(set.peakKernels, over: pool), dispatch: DispatchTiming(pool))
    }
    for model in models {
      let report = ConvolutionPhaseReport(
        batchSize: batchSize, microbatches: microbatches, repetitions: repetitions, instructionSet: set, model: model,
        itemsFor: itemsFor, threads: limits)
      for line in report.heading { print(line) }
      let phases = report.measure()
      for line in report.lines(phases) { print(line) }
      if json { print(try report.json(phases)) }
    }
  }
}

/// The report of `benchmark convolution`.
struct ConvolutionReport {
  let batchSize: Int
  let microbatches: Int
  let repetitions: Int
  let engines: [any ConvolutionEngine]
  let instructionSet: InstructionSet?
  let peak: MachineRoofline?

  // Property names of the following structures are those of `--json`.

  /// One pass of one engine over one shape.
  struct Pass: Encodable {
    let engine: String
    let isa: String
    let pass: String
    let milliseconds: Double
    let gflops: Double
    /// The share of the multiply-add peak, 0 …; `nil` if the peak was not measured.
    let fmaPeakShare: Double?
    /// The share of the memory bandwidth, for the minimum of bytes that the pass moves.
    let bandwidthShare: Double?
  }

  /// One shape.
  struct Layer: Encodable {
    let network: String
    let shape: String
    let occurrences: Int
    let algorithm: String
    let passes: [Pass]
  }

  private struct Object: Encodable {
    let batchSize: Int
    let microbatches: Int
    let n: Int
    let threads = 1
    let cpu: String
    let isa: String?
    let fmaPeakGflops: Double?
    let memoryGigabytesPerSecond: Double?
    let layers: [Layer]
  }

  /// Times one shape with all engines.
  func measure(_ geometry: ConvolutionGeometry, count: Int, model: ModelGraph) -> Layer {
    let timing = ConvolutionTiming(geometry, batchSize: batchSize, microbatches: microbatches)
    let times = timing.measure(engines, repetitions: repetitions)
    let passes = zip(engines, times).flatMap { engine, times in
      [
        pass(engine, "forward", times.forward, timing.multiplyAdds, timing.forwardByteCount),
        pass(
          engine, "backward", times.backward, timing.backwardMultiplyAdds,
          timing.backwardByteCount),
      ]
    }
    let native = engines.first as? NativeConvolutionEngine
    return Layer(
      network: model.name, shape: geometry.summary, occurrences: count,
      algorithm: native?.algorithm(geometry) ?? "im2col", passes: passes)
  }

  private func pass(
    _ engine: any ConvolutionEngine, _ name: String, _ seconds: Double, _ multiplyAdds: Int,
    _ byteCount: Int
  ) -> Pass {
    let rate = 2 * Double(multiplyAdds) / seconds
    return Pass(
      engine: engine.name, isa: engine.instructions, pass: name, milliseconds: seconds * 1e3,
      gflops: rate / 1e9, fmaPeakShare: peak.map { rate / $0.flops },
      bandwidthShare: peak.map { Double(byteCount) / seconds / $0.bytesPerSecond })
  }

  /// The CPU, the engines, the sizes and the machine's peaks.
  var heading: [String] {
    let names = engines.map { "\($0.name) (\($0.instructions))" }.joined(separator: ", ")
    let peaks = peak.map {
      "peak \(decimal($0.flops / 1e9)) GFLOP/s of multiply-adds (\(instructionSet?.rawValue ?? "")), "
        + "memory \(decimal($0.bytesPerSecond / 1e9)) GB/s"
    }
    return [
      "\(HostInfo.cpuModel), one thread, engines \(names)",
      "batch \(batchSize) in \(microbatches) microbatches, medians of n = \(repetitions); "
        + (peaks ?? "peaks not measured: no native kernels on this CPU"),
    ]
  }

  /// The names of the columns.
  var tableHeading: String {
    let engineColumns = engines.map { "\($0.name.leftAligned(7))    ms  GFLOP/s  of FMA  of mem." }
    return "shape".leftAligned(26) + "  × " + "algorithm".leftAligned(10) + "pass".leftAligned(9)
      + engineColumns.joined(separator: "  ") + (engines.count > 1 ? "  times blas" : "")
  }

  /// One line per pass.
  func lines(_ layer: Layer) -> [String] {
    ["forward", "backward"].map { name in
      let passes = layer.passes.filter { $0.pass == name }
      let columns = passes.map {
        right($0.milliseconds, 13) + right($0.gflops, 9) + percent($0.fmaPeakShare)
          + percent($0.bandwidthShare)
      }
      let ratio =
        passes.count > 1
        ? String(format: "%12.2f", passes[1].milliseconds / passes[0].milliseconds) : ""
      return (name == "forward" ? layer.shape : "").leftAligned(26)
        + (name == "forward" ? String(format: "%3d ", layer.occurrences) : "    ")
        + (name == "forward" ? layer.algorithm : "").leftAligned(10) + name.leftAligned(9)
        + columns.joined(separator: "  ") + ratio
    }
  }

  /// The machine-readable report.
  ///
  /// - Throws: `EncodingError` for a number that JSON lacks.
  func json(_ layers: [Layer]) throws -> String {
    try JSONLine.render(
      Object(
        batchSize: batchSize, microbatches: microbatches, n: repetitions, cpu: HostInfo.cpuModel,
        isa: instructionSet?.rawValue, fmaPeakGflops: peak.map { $0.flops / 1e9 },
        memoryGigabytesPerSecond: peak.map { $0.bytesPerSecond / 1e9 }, layers: layers))
  }

  private func decimal(_ value: Double) -> String { String(format: "%.1f", value) }
  private func right(_ value: Double, _ width: Int) -> String {
    String(format: "%\(width).2f", value)
  }
  private func percent(_ share: Double?) -> String {
    share.map { String(format: "%6.0f %%", $0 * 100) } ?? "       ?"
  }
}
