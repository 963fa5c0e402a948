import Foundation
import Testing

/// What PyTorch computes in float64, written by `Fixtures/generate.py`.
struct PyTorchFixture {
  /// The words of every line but comments.
  let lines: [[String]]

  /// Reads a file of `Fixtures`.
  init(_ name: String) throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    let text = try String(contentsOf: folder.appendingPathComponent("Fixtures/\(name)"), encoding: .utf8)
    lines = text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { line in
      line.split(separator: " ").map(String.init)
    }
  }

  /// The numbers of a line from a word on.
  static func numbers(_ words: [String], from first: Int) throws -> [Double] {
    try words[first...].map { try #require(Double($0)) }
  }

  /// The elements of a bias, which come first.
  static let biasCount = 7
  /// The elements of a bias and a weight.
  static let count = 19

  /// Array i of the formula: multiples of 1/32768 in [−1, 1), exact in fp32.
  static func array(_ i: Int) -> [Float] {
    (0..<count).map { j in Float((2_654_435_761 * j + 40503 * i + 12345) % 65536) / 32768 - 1 }
  }
}
