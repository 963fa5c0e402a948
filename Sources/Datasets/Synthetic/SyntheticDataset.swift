import Foundation

/// Synthetic datasets in the formats of CIFAR-10 and CIFAR-100, for runs and tests without the real ones.
///
/// In place of CIFAR-10 there are ten classes of shapes. In place of CIFAR-100, a shape is drawn in one of two textures
/// and five colors: shape and texture are the 20 coarse classes, and all three the 100 fine classes.
public enum SyntheticDataset {
  /// The number of images of the training set.
  public static let trainingCount = 10_000
  /// The number of images of the test set.
  public static let testCount = 2_000

  /// Returns the embedded dataset, whose images are generated when they are read.
  ///
  /// - Parameters:
  ///   - kind: The format and the classes.
  ///   - seed: The seed, which determines every byte.
  /// - Returns: The dataset.
  public static func dataset(_ kind: DatasetKind = .cifar10, seed: UInt64 = 0) -> ImageDataset {
    let (training, test) = splits(kind, seed)
    return ImageDataset(
      kind: kind, training: ImageDataset.Split(synthetic: training), test: ImageDataset.Split(synthetic: test),
      classNames: classNames(kind), coarseClassNames: coarseClassNames(kind))
  }

  private static func splits(_ kind: DatasetKind, _ seed: UInt64) -> (training: SyntheticSplit, test: SyntheticSplit) {
    (
      SyntheticSplit(kind: kind, seed: seed, split: "training", count: trainingCount),
      SyntheticSplit(kind: kind, seed: seed, split: "test", count: testCount)
    )
  }

  /// Returns the class names, in the order of the labels.
  public static func classNames(_ kind: DatasetKind = .cifar10) -> [String] {
    switch kind {
    case .cifar10: Figure.names
    case .cifar100:
      Figure.names.flatMap { shape in
        Texture.allCases.flatMap { texture in Tint.allCases.map { "\($0) \(texture) \(shape)" } }
      }
    }
  }

  /// Returns the coarse class names, in the order of the coarse labels; empty without coarse classes.
  public static func coarseClassNames(_ kind: DatasetKind) -> [String] {
    switch kind {
    case .cifar10: []
    case .cifar100: Figure.names.flatMap { shape in Texture.allCases.map { "\($0) \(shape)" } }
    }
  }

  /// Writes the dataset in the official layout: training and test files, and the class names.
  ///
  /// The directory appears complete or not at all.
  ///
  /// - Parameters:
  ///   - directory: A directory that does not exist yet or is empty.
  ///   - kind: The format and the classes.
  ///   - seed: The seed, which determines every byte.
  /// - Throws: ``DatasetError`` if the directory is not empty or cannot be written.
  public static func write(to directory: String, kind: DatasetKind = .cifar10, seed: UInt64 = 0) throws {
    let manager = FileManager.default
    if let entries = try? manager.contentsOfDirectory(atPath: directory), !entries.isEmpty {
      throw DatasetError(
        "\(directory) is not empty; choose a directory that does not exist yet.", kind: .cannotCreate)
    }
    let temporary = directory + ".tmp-\(ProcessInfo.processInfo.processIdentifier)"
    do {
      try manager.createDirectory(atPath: temporary, withIntermediateDirectories: true)
      try writeFiles(kind, seed, to: temporary)
      if manager.fileExists(atPath: directory) { try manager.removeItem(atPath: directory) }
      try manager.moveItem(atPath: temporary, toPath: directory)
    } catch {
      try? manager.removeItem(atPath: temporary)
      throw DatasetError(
        "\(directory) cannot be written; check free space and permissions.",
        kind: .cannotCreate)
    }
  }

  private static func writeFiles(_ kind: DatasetKind, _ seed: UInt64, to directory: String) throws {
    func write(_ data: Data, _ name: String) throws { try data.write(to: URL(fileURLWithPath: "\(directory)/\(name)")) }
    let (training, test) = splits(kind, seed)
    switch kind {
    case .cifar10:
      let recordsPerFile = trainingCount / 5
      for f in 0..<5 {
        try write(
          training.records(f * recordsPerFile..<(f + 1) * recordsPerFile), "data_batch_\(f + 1).bin")
      }
    case .cifar100: try write(training.records(0..<trainingCount), kind.trainingFiles)
    }
    try write(test.records(0..<testCount), kind.testFile)
    try write(Data((classNames(kind).joined(separator: "\n") + "\n").utf8), kind.classNamesFile)
    if let file = kind.coarseClassNamesFile {
      try write(Data((coarseClassNames(kind).joined(separator: "\n") + "\n").utf8), file)
    }
  }
}
