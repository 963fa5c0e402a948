import ArgumentParser
import DataParallel
import Foundation
import KernelDiagnostics
import Models
import Training

/// Times every convolution of a network by itself.
struct BenchmarkConvolutionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convolution",
    abstract: "Times each shape of convolution, forward and backward, and says how it is computed.",
    discussion: """
      One thread, a whole batch in microbatches, with the batch normalisations before and behind; medians. GFLOP/s count \
      2 operations for every multiply-add of the direct convolution, so that an algorithm with fewer may exceed the peak. \
      The peaks of multiply-adds and of memory are measured in the same run. Backward is both gradients together.
      """)

  @Option(help: "Nominal depth.") var depth = 22
  @Option(help: "k, or all: 1, 2, 4 and 10.") var widenFactor = WidenFactors.one
  @Option(help: "Images of a batch.") var batchSize = 64
  @Option(help: "Equal parts of a batch.") var microbatches = 8
  @Option(help: "native, beside blas; or blas alone.") var engine = TrainingConfiguration.Engine.native
  @Option(help: "Batches that are timed, after one that is not.") var repetitions = 7
  @Flag(help: "Print one JSON object as the last line.") var json = false

  func run() throws {
    guard repetitions > 0 else { throw UsageError("--repetitions must be at least 1.") }
    _ = try MicrobatchPlan(
      globalBatchSize: batchSize, microbatchCount: microbatches, rank: 0, worldSize: 1)
    let networks = try widenFactor.factors.map {
      WideResNet(try WideResNet.Configuration(depth: depth, widenFactor: $0))
    }
    let environment = ProcessInfo.processInfo.environment
    let chosen = try engine.make(environment: environment)
    let engines = chosen.name == "native" ? [chosen, BLASConvolutionEngine()] : [chosen]
    // Where no native kernels run there are no loops to measure the peaks with either.
    let set = try InstructionSet.choose(asked: environment["WRN_ISA"])
    let peak = set.map { MachinePeak($0.peakKernels) }
    let report = ConvolutionReport(
      batchSize: batchSize, microbatches: microbatches, repetitions: repetitions,
      engines: engines, instructionSet: set, peak: peak)
    for line in report.heading { print(line) }
    var layers: [ConvolutionReport.Layer] = []
    for network in networks {
      print("\n\(network.configuration.name)\n\(report.tableHeading)")
      for (geometry, count) in network.distinctConvolutions {
        let layer = report.measure(geometry, count: count, network: network)
        layers.append(layer)
        for line in report.lines(layer) { print(line) }
      }
    }
    if json { print(try report.json(layers)) }
  }
}

extension WidenFactors {
  /// k = 1.
  static let one = WidenFactors(factors: [1])

  init(factors: [Int]) { self.factors = factors }
}
