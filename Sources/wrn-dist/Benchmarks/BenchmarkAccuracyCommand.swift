import ArgumentParser
import Foundation
import KernelDiagnostics
import Models
import Training

/// Measures the rounding errors of every convolution shape of a model.
struct BenchmarkAccuracyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "accuracy",
    abstract: "Measures the rounding errors of each convolution shape against float64, beside naive fp32 loops.",
    discussion: """
      Prints a Markdown table. For the output and both gradients it has two errors: the Euclidean norm of the errors over \
      that of the float64 results (relative L2), and the maximum error over their root mean square (max).
      """)

  @Option(help: "\(HelpText.architecture)") var architecture = WideResNetConfiguration.Architecture.trax
  @Option(help: "\(HelpText.depth)") var depth = 22
  @Option(help: "k, or all: 1, 2, 4 and 10.") var widenFactor = WidenFactors.one
  @Option(help: "Images per microbatch.") var images = 8
  @Option(help: "\(HelpText.engine).") var engine = TrainingConfiguration.Engine.native
  @Flag(help: "\(HelpText.json)") var json = false

  func run() throws {
    guard (1...64).contains(images) else {
      throw UsageError("--images \(images) must lie between 1 and 64.")
    }
    let models = try widenFactor.factors.map {
      try WideResNetConfiguration(architecture: architecture, depth: depth, widenFactor: $0).graph()
    }
    let engine = try engine.make(environment: ProcessInfo.processInfo.environment)
    let name = "\(engine.name) (\(engine.instructions))"
    print("| model | shape | algorithm | operation | \(name) | naive fp32 | max, \(name) | max, naive |")
    print("|---|---|---|---|---|---|---|---|")
    var rows: [Row] = []
    for model in models {
      for (geometry, _) in model.distinctConvolutions {
        let study = AccuracyStudy(geometry, imageCount: images, engine: engine)
        let algorithm = (engine as? NativeConvolutionEngine)?.algorithm(geometry) ?? "im2col"
        for entry in study.entries {
          let row = Row(
            network: model.name, shape: geometry.summary, algorithm: algorithm,
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

  // Property names are those of `--json`.
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
