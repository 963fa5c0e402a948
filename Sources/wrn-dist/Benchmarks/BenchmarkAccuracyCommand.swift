import ArgumentParser
import Foundation
import KernelDiagnostics
import Models
import Training

/// Measures the rounding errors of every convolution of a network.
struct BenchmarkAccuracyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "accuracy",
    abstract: "Measures each shape of convolution against double precision, beside plain fp32 loops.",
    discussion: """
      Prints a Markdown table: for the output and both gradients, the Euclidean norm of the errors over that of the exact \
      numbers (relative L2), and the largest error over their root mean square (worst).
      """)

  @Option(help: "Nominal depth.") var depth = 22
  @Option(help: "k, or all: 1, 2, 4 and 10.") var widenFactor = WidenFactors.one
  @Option(help: "Images of a microbatch.") var images = 8
  @Option(help: "What computes convolutions.") var engine = TrainingConfiguration.Engine.native
  @Flag(help: "Print one JSON object as the last line.") var json = false

  func run() throws {
    guard (1...64).contains(images) else {
      throw UsageError("--images \(images) must lie between 1 and 64.")
    }
    let networks = try widenFactor.factors.map {
      TraxWideResNet.graph(try WideResNetConfiguration(depth: depth, widenFactor: $0))
    }
    let engine = try engine.make(environment: ProcessInfo.processInfo.environment)
    let name = "\(engine.name) (\(engine.instructions))"
    print("| network | shape | algorithm | operation | \(name) | plain fp32 | worst, \(name) | worst, plain |")
    print("|---|---|---|---|---|---|---|---|")
    var rows: [Row] = []
    for network in networks {
      for (geometry, _) in network.distinctConvolutions {
        let study = AccuracyStudy(geometry, imageCount: images, engine: engine)
        let algorithm = (engine as? NativeConvolutionEngine)?.algorithm(geometry) ?? "im2col"
        for entry in study.entries {
          let row = Row(
            network: network.name, shape: geometry.summary, algorithm: algorithm,
            operation: entry.operation.rawValue, relativeL2: entry.engine.relativeL2,
            plainRelativeL2: entry.naive.relativeL2, worst: entry.engine.maxOverRMS,
            plainWorst: entry.naive.maxOverRMS)
          print(row.markdown)
          rows.append(row)
        }
      }
    }
    if json {
      print(
        try JSONLine.render(
          Object(engine: engine.name, isa: engine.instructions, images: images, rows: rows)))
    }
  }

  private struct Object: Encodable {
    let engine: String
    let isa: String
    let images: Int
    let rows: [Row]
  }

  private struct Row: Encodable {
    let network: String
    let shape: String
    let algorithm: String
    let operation: String
    let relativeL2: Double
    let plainRelativeL2: Double
    let worst: Double
    let plainWorst: Double

    var markdown: String {
      let errors = [relativeL2, plainRelativeL2, worst, plainWorst]
        .map { String(format: "%.1e", $0) }
      return "| " + ([network, shape, algorithm, operation] + errors).joined(separator: " | ") + " |"
    }
  }
}
