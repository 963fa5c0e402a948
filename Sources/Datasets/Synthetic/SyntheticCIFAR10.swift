import Foundation
import Tensors

/// Ten classes of drawn shapes and textures in CIFAR-10's format, for runs and tests without the real data.
///
/// Class is decided by form alone: position, size, rotation, colours, background, clutter, an occluding bar and noise are random. Each
/// image is a pure function of (seed, split, index), computed with IEEE operations only, so one seed gives the same bytes on every
/// machine.
public struct SyntheticCIFAR10: Sendable {
  /// Images of the embedded training set.
  public static let trainingCount = 10_000
  /// Images of the embedded test set.
  public static let testCount = 2_000
  /// The names of classes 0…9.
  public static let classNames = [
    "disc", "ring", "square", "triangle", "cross", "stripes", "checkerboard", "dots", "target",
    "half-moon",
  ]

  /// The number of images.
  let count: Int
  private let seed: UInt64
  private let purpose: String

  /// Describes the images of a split, `training` or `test`.
  init(seed: UInt64, split: String, count: Int) {
    self.seed = seed
    self.count = count
    purpose = "synthetic \(split) image"
  }

  /// Tells this set from others: `synthetic training image, seed 0`.
  var name: String { "\(purpose), seed \(seed)" }

  /// Makes the embedded data set, whose images are drawn when they are read.
  public static func dataset(seed: UInt64 = 0) -> CIFAR10 {
    CIFAR10(
      training: CIFAR10.Split(
        synthetic: SyntheticCIFAR10(seed: seed, split: "training", count: trainingCount)),
      test: CIFAR10.Split(synthetic: SyntheticCIFAR10(seed: seed, split: "test", count: testCount)),
      classNames: classNames)
  }

  /// RandomCursor a record: label, then red, green and blue planes of 32×32 bytes.
  func draw(_ index: Int, into record: UnsafeMutableRawBufferPointer) {
    var source = RandomCursor(RandomStream(seed: seed, purpose: purpose, step: UInt64(index)))
    let label = source.integer(below: 10)
    let background = Gradient(&source)
    let clutter: InlineArray<3, Spot> = [Spot(&source), Spot(&source), Spot(&source)]
    let figure = Figure(label, &source)
    let bar = Bar(&source)
    let noise = 6 + source.integer(below: 44)
    record[0] = UInt8(label)
    for y in 0..<32 {
      for x in 0..<32 {
        let (px, py) = (Double(x), Double(y))
        var color = background.color(px, py)
        for i in clutter.indices where clutter[i].covers(px, py) { color = clutter[i].color }
        if figure.covers(px, py) { color = figure.color }
        if bar.covers(px, py) { color = bar.color }
        for c in 0..<3 {
          let value = color[c] + Double(source.integer(below: 2 * noise + 1) - noise)
          record[1 + 1024 * c + 32 * y + x] = UInt8(max(0, min(255, value)))
        }
      }
    }
  }
}

/// Successive numbers of a stream.
struct RandomCursor {
  private let stream: RandomStream
  private var index: UInt64 = 0

  init(_ stream: RandomStream) { self.stream = stream }

  /// A whole number below `bound`.
  mutating func integer(below bound: Int) -> Int {
    defer { index += 1 }
    return stream.integer(index, below: bound)
  }

  /// A number in [low, high).
  mutating func number(_ low: Double, _ high: Double) -> Double {
    defer { index += 1 }
    return low + (high - low) * stream.uniform(index)
  }

  /// A colour, each channel whole.
  mutating func color() -> SIMD4<Double> {
    let (r, g, b) = (integer(below: 256), integer(below: 256), integer(below: 256))
    return SIMD4(Double(r), Double(g), Double(b), 0)
  }

  /// A direction, by rejection: a point of the unit disc brought to its edge.
  mutating func direction() -> (x: Double, y: Double) {
    while true {
      let (x, y) = (number(-1, 1), number(-1, 1))
      let square = x * x + y * y
      if square > 0.01 && square <= 1 {
        let length = square.squareRoot()
        return (x / length, y / length)
      }
    }
  }
}

extension SyntheticCIFAR10 {
  /// Writes the set as the files of the official layout: five training files, one test file, the class names.
  ///
  /// The folder appears complete or not at all.
  ///
  /// - Parameters:
  ///   - directory: A folder that does not exist yet or is empty.
  ///   - seed: Decides every byte.
  /// - Throws: ``DatasetError`` if the folder holds something already or cannot be written.
  public static func write(to directory: String, seed: UInt64 = 0) throws {
    let manager = FileManager.default
    if let held = try? manager.contentsOfDirectory(atPath: directory), !held.isEmpty {
      throw DatasetError(
        "\(directory) is not empty; give a folder that does not exist yet.", kind: .cannotCreate)
    }
    let temporary = directory + ".tmp-\(ProcessInfo.processInfo.processIdentifier)"
    do {
      try manager.createDirectory(atPath: temporary, withIntermediateDirectories: true)
      let training = SyntheticCIFAR10(seed: seed, split: "training", count: trainingCount)
      let perFile = trainingCount / 5
      for f in 0..<5 {
        try training.records(f * perFile..<(f + 1) * perFile).write(
          to: URL(fileURLWithPath: "\(temporary)/data_batch_\(f + 1).bin"))
      }
      let test = SyntheticCIFAR10(seed: seed, split: "test", count: testCount)
      try test.records(0..<testCount).write(
        to: URL(fileURLWithPath: "\(temporary)/test_batch.bin"))
      try Data((classNames.joined(separator: "\n") + "\n").utf8).write(
        to: URL(fileURLWithPath: "\(temporary)/batches.meta.txt"))
      if manager.fileExists(atPath: directory) { try manager.removeItem(atPath: directory) }
      try manager.moveItem(atPath: temporary, toPath: directory)
    } catch {
      try? manager.removeItem(atPath: temporary)
      throw DatasetError(
        "\(directory) cannot be written; is the disk full or the folder protected?",
        kind: .cannotCreate)
    }
  }

  private func records(_ range: Range<Int>) -> Data {
    var data = Data(count: range.count * CIFAR10.recordByteCount)
    data.withUnsafeMutableBytes { bytes in
      for (i, index) in range.enumerated() {
        let start = i * CIFAR10.recordByteCount
        draw(
          index,
          into: UnsafeMutableRawBufferPointer(
            rebasing: bytes[start..<start + CIFAR10.recordByteCount]))
      }
    }
    return data
  }
}
