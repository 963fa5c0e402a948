import Foundation
import Tensors
import Testing

/// The deterministic batch of four images, and what an independent implementation computes from it in float64.
///
/// NumPy computes Trax's networks and the plain one (`Fixtures/generate.py`), PyTorch the paper's
/// (`Fixtures/generate_paper.py`).
struct ModelVectors {
  /// A gradient's norm and some of its elements.
  struct Gradient {
    let elementCount: Int
    let norm: Double
    let samples: [(index: Int, value: Double)]
  }

  private(set) var parameterCount = 0
  /// The network's depth; 0 where the name of the file has it.
  private(set) var depth = 0
  /// Rows and columns of the images.
  private(set) var imageSize = 32
  /// The index that the formula gives the first parameter.
  private(set) var parameterOffset = 0
  private(set) var logits: [Double] = []
  private(set) var gradientNorm = 0.0
  private(set) var parameterNorm = 0.0
  /// The gradients in flat order.
  private(set) var gradients: [Gradient] = []
  /// The first channels of the running statistics after one step, by batch normalization.
  private(set) var runningMeans: [[Double]] = []
  private(set) var runningVariances: [[Double]] = []
  /// The loss at the start and after each of five updates.
  private(set) var losses: [Double] = []

  /// Reads the vectors of a model and verifies the file's checksum.
  init(model: String = "wrn-22", widenFactor: Int) throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    let file = folder.appendingPathComponent("Fixtures/\(model)-\(widenFactor).txt")
    let text = try String(contentsOf: file, encoding: .utf8)
    var lines = text.split(separator: "\n")
    try #require(lines.first == "wrn-dist-vectors 1 widen-factor \(widenFactor)")
    let last = lines.removeLast()
    var checksum: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in text.utf8.dropLast(last.utf8.count + 1) {
      checksum = (checksum ^ UInt64(byte)) &* 0x100_0000_01b3
    }
    try #require(last == "checksum " + String(format: "%016lx", UInt(checksum)))
    for line in lines.dropFirst() { try read(line.split(separator: " ")) }
  }

  private mutating func read(_ words: [Substring]) throws {
    let numbers = words.dropFirst().compactMap { Double($0) }
    switch words[0] {
    case "parameters": parameterCount = Int(numbers[0])
    case "depth": depth = Int(numbers[0])
    case "image-size": imageSize = Int(numbers[0])
    case "parameter-offset": parameterOffset = Int(numbers[0])
    case "logits": logits = numbers
    case "gradient-norm": gradientNorm = numbers[0]
    case "parameter-norm": parameterNorm = numbers[0]
    case "losses": losses = numbers
    case "running-mean": runningMeans.append(Array(numbers.dropFirst()))
    case "running-variance": runningVariances.append(Array(numbers.dropFirst()))
    case "gradient":
      let samples = try words.dropFirst(6).map { word in
        let pair = word.split(separator: ":")
        return (try #require(Int(pair[0])), try #require(Double(pair[1])))
      }
      gradients.append(
        Gradient(elementCount: Int(numbers[1]), norm: numbers[2], samples: samples))
    default: Issue.record("unknown line \(words[0])")
    }
  }

  /// The number of images.
  static let imageCount = 4
  /// The images of 32×32 pixels, `NHWC`.
  static let images = images(size: 32)
  /// The upper left corners of the images: pixel[n,h,w,c] = (37h + 61w + 17c + 101n + h·w·(n + 3)) mod 256.
  static func images(size: Int) -> [Float] {
    (0..<imageCount * size * size * 3).map { i in
      let (n, h, w, c) = (i / (3 * size * size), i / (3 * size) % size, i / 3 % size, i % 3)
      return Float((37 * h + 61 * w + 17 * c + 101 * n + h * w * (n + 3)) % 256)
    }
  }
  /// label n = (3n + 1) mod 10.
  static let labels: [UInt8] = (0..<imageCount).map { UInt8((3 * $0 + 1) % 10) }

  /// Fills parameters by formula: element j of array i is u = ((2654435761·j + 40503·i + 12345) mod 65536)/32768 − 1,
  /// scaled by kind.
  ///
  /// The arrays are counted from `offset`.
  static func fill(_ parameters: ParameterStore, offset: Int = 0) {
    for (i, parameter) in parameters.layout.parameters.enumerated() {
      let values = parameters[parameter]
      for j in values.indices {
        let u = Double((2_654_435_761 * j + 40503 * (i + offset) + 12345) % 65536) / 32768 - 1
        values[j] = Float(scaled(u, parameter))
      }
    }
  }

  private static func scaled(_ u: Double, _ parameter: Parameter) -> Double {
    let shape = parameter.shape
    return switch parameter.kind {
    case .convolutionWeight: u * (6 / Double(shape[2] + shape[3])).squareRoot()
    case .denseWeight: u * (6 / Double(shape[0] + shape[1])).squareRoot()
    case .scale: 1 + 0.1 * u
    default: 0.01 * u
    }
  }
}
