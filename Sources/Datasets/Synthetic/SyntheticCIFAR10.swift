import Foundation
import Tensors

/// A synthetic split in CIFAR-10's format, for runs and tests without the real dataset: ten classes of shapes.
///
/// Only the shape depends on the class. Position, size, rotation, colors, background, clutter, an occluding bar and noise
/// are random. Each image is a pure function of (seed, split, index), computed with IEEE 754 basic operations and square
/// roots only, so one seed gives the same bytes on every machine.
public struct SyntheticCIFAR10: Sendable {
  /// The number of images of the training set.
  public static let trainingCount = 10_000
  /// The number of images of the test set.
  public static let testCount = 2_000
  /// The class names, in the order of the labels.
  public static let classNames = [
    "disc", "ring", "square", "triangle", "cross", "stripes", "checkerboard", "dots", "target",
    "half-moon",
  ]

  /// The number of images of this split.
  let count: Int
  private let seed: UInt64
  private let purpose: String

  /// Creates a split of `count` images, `training` or `test`.
  init(seed: UInt64, split: String, count: Int) {
    self.seed = seed
    self.count = count
    purpose = "synthetic \(split) image"
  }

  /// The identity of the split, for example `synthetic training image, seed 0`.
  var name: String { "\(purpose), seed \(seed)" }

  /// Returns the embedded dataset, whose images are generated when they are read.
  public static func dataset(seed: UInt64 = 0) -> ImageDataset {
    ImageDataset(
      training: ImageDataset.Split(
        synthetic: SyntheticCIFAR10(seed: seed, split: "training", count: trainingCount)),
      test: ImageDataset.Split(synthetic: SyntheticCIFAR10(seed: seed, split: "test", count: testCount)),
      classNames: classNames)
  }

  /// Generates record `index`: the label, then red, green and blue planes of 32×32 bytes.
  func generate(_ index: Int, into record: UnsafeMutableRawBufferPointer) {
    var random = RandomCursor(RandomStream(seed: seed, purpose: purpose, step: UInt64(index)))
    let label = random.integer(below: 10)
    let background = ColorGradient(&random)
    let clutter: InlineArray<3, Spot> = [Spot(&random), Spot(&random), Spot(&random)]
    let figure = Figure(label, &random)
    let bar = Bar(&random)
    let noise = 6 + random.integer(below: 44)
    record[0] = UInt8(label)
    for y in 0..<32 {
      for x in 0..<32 {
        let (px, py) = (Double(x), Double(y))
        var color = background.color(px, py)
        for i in clutter.indices where clutter[i].covers(px, py) { color = clutter[i].color }
        if figure.covers(px, py) { color = figure.color }
        if bar.covers(px, py) { color = bar.color }
        for c in 0..<3 {
          let value = color[c] + Double(random.integer(below: 2 * noise + 1) - noise)
          record[1 + 1024 * c + 32 * y + x] = UInt8(max(0, min(255, value)))
        }
      }
    }
  }
}

extension SyntheticCIFAR10 {
  /// Writes the dataset in the official layout: five training files, one test file, and the class names.
  ///
  /// The directory appears complete or not at all.
  ///
  /// - Parameters:
  ///   - directory: A directory that does not exist yet or is empty.
  ///   - seed: The seed, which determines every byte.
  /// - Throws: ``DatasetError`` if the directory is not empty or cannot be written.
  public static func write(to directory: String, seed: UInt64 = 0) throws {
    let manager = FileManager.default
    if let entries = try? manager.contentsOfDirectory(atPath: directory), !entries.isEmpty {
      throw DatasetError(
        "\(directory) is not empty; choose a directory that does not exist yet.", kind: .cannotCreate)
    }
    let temporary = directory + ".tmp-\(ProcessInfo.processInfo.processIdentifier)"
    do {
      try manager.createDirectory(atPath: temporary, withIntermediateDirectories: true)
      let training = SyntheticCIFAR10(seed: seed, split: "training", count: trainingCount)
      let recordsPerFile = trainingCount / 5
      for f in 0..<5 {
        try training.records(f * recordsPerFile..<(f + 1) * recordsPerFile).write(
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
        "\(directory) cannot be written; check free space and permissions.",
        kind: .cannotCreate)
    }
  }

  /// Returns a range of records, concatenated.
  private func records(_ range: Range<Int>) -> Data {
    var data = Data(count: range.count * ImageDataset.recordByteCount)
    data.withUnsafeMutableBytes { bytes in
      for (i, index) in range.enumerated() {
        let start = i * ImageDataset.recordByteCount
        generate(
          index,
          into: UnsafeMutableRawBufferPointer(
            rebasing: bytes[start..<start + ImageDataset.recordByteCount]))
      }
    }
    return data
  }
}
