import Clusters
import Foundation
import Models
import Tensors

/// How fast cores compute, from a line of `benchmark step --json`.
struct StepMeasurement {
  /// The network that was timed.
  let network: String
  /// The seconds that one core takes for one image.
  let coreSecondsPerImage: Double
  /// The multiply-adds of one image's forward pass.
  let multiplyAdds: Int
  /// What was measured, in words.
  let description: String

  private struct Line: Decodable {
    let network: String
    let widenFactor: Int
    let imagesPerSecond: Double
    let ranks: Int
    let threads: Int
    let engine: String
    let cpu: String
  }

  /// Reads a line; nil if it is none of `benchmark step --json`.
  init?(line: String) throws {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    guard let found = try? decoder.decode(Line.self, from: Data(line.utf8)), found.imagesPerSecond > 0,
      (1...1_000_000).contains(found.ranks), (1...1_000_000).contains(found.threads),
      let depth = found.network.split(separator: "-").dropFirst().first.flatMap({ Int($0) }),
      let configuration = try? WideResNetConfiguration(depth: depth, widenFactor: found.widenFactor)
    else { return nil }
    network = found.network
    coreSecondsPerImage = Double(found.ranks * found.threads) / found.imagesPerSecond
    multiplyAdds = TraxWideResNet.graph(configuration).multiplyAdds
    description =
      "\(found.network), \(found.ranks) rank\(found.ranks == 1 ? "" : "s") × \(found.threads) "
      + "thread\(found.threads == 1 ? "" : "s"), engine \(found.engine), \(found.cpu)"
  }

  /// Reads all such lines of a file.
  ///
  /// - Throws: ``UsageError`` if it cannot be read or has none.
  static func read(_ path: String) throws -> [StepMeasurement] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw UsageError("--from \(path) cannot be read; is the path right?")
    }
    let found = try text.split(whereSeparator: \.isNewline).compactMap { try StepMeasurement(line: String($0)) }
    guard !found.isEmpty else {
      throw UsageError("--from \(path) has no line of `wrn-dist benchmark step --json`; make one with --json >\(path).")
    }
    return found
  }

  /// Runs `benchmark step` in a process of its own.
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

  /// Chooses the measurement whose network has most nearly as much work.
  static func nearest(to cost: ModelCost, in all: [StepMeasurement]) -> StepMeasurement? {
    func distance(_ measured: StepMeasurement) -> Double {
      abs(log(Double(measured.multiplyAdds) / Double(cost.multiplyAdds)))
    }
    return all.min { distance($0) < distance($1) }
  }
}

extension ModelCost {
  /// Describes a Wide ResNet.
  init(_ network: ModelGraph, widenFactor: Int) {
    // Kernels stand in the layout in the order of the convolutions.
    var convolutions = network.convolutions[...]
    let tensors = network.parameterLayout.parameters.map { parameter in
      let isKernel = parameter.kind == .convolutionWeight
      return Tensor(
        elementCount: parameter.range.count,
        multiplyAdds: isKernel ? convolutions.removeFirst().multiplyAdds : 0,
        normalizedChannels: parameter.kind == .scale ? parameter.range.count : 0)
    }
    self.init(
      name: network.name, widenFactor: widenFactor, tensors: tensors.reversed(),
      activationByteCount: network.trainingByteCountPerImage)
  }
}
