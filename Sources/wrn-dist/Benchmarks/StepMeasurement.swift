import Clusters
import Foundation
import Models
import Tensors

/// The compute speed of a core, from a line of `benchmark step --json`.
struct StepMeasurement {
  /// The name of the model.
  let modelName: String
  /// The seconds that one core computes per image.
  let coreSecondsPerImage: Double
  /// The multiply-adds per image of the forward pass.
  let multiplyAdds: Int
  /// The model, ranks, threads, engine and CPU.
  let description: String

  // Property names are those of `benchmark step --json`.
  private struct Line: Decodable {
    let network: String
    let architecture: WideResNetConfiguration.Architecture?
    let imageSize: Int?
    let widenFactor: Int
    let imagesPerSecond: Double
    let ranks: Int
    let threads: Int
    let engine: String
    let cpu: String
  }

  /// Reads a line; `nil` if `benchmark step --json` did not write it.
  init?(line: String) throws {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    guard let found = try? decoder.decode(Line.self, from: Data(line.utf8)), found.imagesPerSecond > 0,
      (1...1_000_000).contains(found.ranks), (1...1_000_000).contains(found.threads),
      let depth = found.network.split(separator: "-").dropFirst().first.flatMap({ Int($0) }),
      let configuration = try? WideResNetConfiguration(
        architecture: found.architecture ?? .trax, depth: depth, widenFactor: found.widenFactor)
    else { return nil }
    modelName = found.network
    coreSecondsPerImage = Double(found.ranks * found.threads) / found.imagesPerSecond
    multiplyAdds = configuration.graph(imageSize: found.imageSize ?? 32).multiplyAdds
    description =
      "\(found.network), \(found.ranks) rank\(found.ranks == 1 ? "" : "s") × \(found.threads) "
      + "thread\(found.threads == 1 ? "" : "s"), engine \(found.engine), \(found.cpu)"
  }

  /// Reads all such lines of a file.
  ///
  /// - Throws: ``UsageError`` if the file cannot be read or has none.
  static func read(_ path: String) throws -> [StepMeasurement] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw UsageError("--from \(path) cannot be read; is the path right?")
    }
    let found = try text.split(whereSeparator: \.isNewline).compactMap { try StepMeasurement(line: String($0)) }
    guard !found.isEmpty else {
      throw UsageError(
        "--from \(path) has no line of `wrn-dist benchmark step --json`; write one with `--json >\(path)`.")
    }
    return found
  }

  /// Runs `benchmark step` in another process.
  ///
  /// - Throws: ``UsageError`` if it fails.
  static func run(_ flags: [String]) throws -> StepMeasurement {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    process.arguments = ["benchmark", "step", "--json"] + flags
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    let last = text.split(whereSeparator: \.isNewline).last.map(String.init) ?? ""
    guard process.terminationStatus == 0, let found = try StepMeasurement(line: last) else {
      throw UsageError(
        "`wrn-dist benchmark step \(flags.joined(separator: " "))` failed; see above, or give --from FILE.")
    }
    return found
  }

  /// Returns the measurement whose model has the most similar number of multiply-adds.
  static func nearest(to cost: ModelCost, in all: [StepMeasurement]) -> StepMeasurement? {
    func distance(_ measured: StepMeasurement) -> Double {
      abs(log(Double(measured.multiplyAdds) / Double(cost.multiplyAdds)))
    }
    return all.min { distance($0) < distance($1) }
  }
}

extension ModelCost {
  /// Creates the cost of a Wide ResNet.
  init(_ network: ModelGraph, widenFactor: Int) {
    // Weights are in the layout in the order of the convolutions.
    var convolutions = network.convolutions[...]
    let tensors = network.parameterLayout.parameters.map { parameter in
      let isWeight = parameter.kind == .convolutionWeight
      return Tensor(
        elementCount: parameter.range.count,
        multiplyAdds: isWeight ? convolutions.removeFirst().multiplyAdds : 0,
        normalizedChannels: parameter.kind == .scale ? parameter.range.count : 0)
    }
    self.init(
      name: network.name, widenFactor: widenFactor, tensors: tensors.reversed(),
      activationByteCount: network.trainingByteCountPerImage)
  }
}
