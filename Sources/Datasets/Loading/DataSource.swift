import Foundation

/// The dataset that `--data` selects.
public struct DataSource: Sendable, CustomStringConvertible {
  /// The training and test images.
  public let dataset: ImageDataset
  /// The directory of the files; `nil` for the embedded synthetic set.
  public let directory: String?
  /// One line for the report: the source, the reason for it, and the sizes.
  public let description: String

  /// Resolves `--data` and validates all labels.
  ///
  /// `auto` selects the directory in `$CIFAR10_DIR` or `$CIFAR100_DIR`, else `data/cifar-10-batches-bin` or
  /// `data/cifar-100-binary` if it exists, else the embedded synthetic set.
  ///
  /// - Parameters:
  ///   - choice: `auto`, `synthetic` or a directory.
  ///   - kind: The dataset that `--dataset` selects.
  ///   - environment: The environment variables, of which ``DatasetKind/environmentVariable`` is read.
  /// - Throws: ``DatasetError`` if the selected directory cannot be used, or a label is invalid.
  public init(
    _ choice: String, kind: DatasetKind = .cifar10,
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws {
    let defaultDirectory = "data/\(kind.archiveDirectory)"
    let reason: String
    let directory: String?
    if choice != "auto" {
      directory = choice == "synthetic" ? nil : choice
      reason = "--data \(choice)"
    } else if let named = environment[kind.environmentVariable], !named.isEmpty {
      directory = named
      reason = "$\(kind.environmentVariable)"
    } else if FileManager.default.fileExists(atPath: defaultDirectory) {
      directory = defaultDirectory
      reason = "found there"
    } else {
      directory = nil
      reason =
        "no $\(kind.environmentVariable) and no \(defaultDirectory); \(kind.fetchCommand) gets the real set"
    }
    self.directory = directory
    dataset =
      try directory.map { try ImageDataset(directory: $0, kind: kind) } ?? SyntheticDataset.dataset(kind)
    try dataset.training.validateLabels()
    try dataset.test.validateLabels()
    let sizes = "\(dataset.training.count) training and \(dataset.test.count) test images"
    description =
      directory.map { "data: \($0) (\(reason)), \(sizes)" }
      ?? "data: embedded synthetic set (\(reason)), \(sizes)"
  }
}

/// A dataset that is missing or invalid, or that cannot be written.
public struct DatasetError: Error, CustomStringConvertible, Sendable {
  /// The category of the error, which decides the exit code.
  public enum Kind: Sendable {
    /// The dataset is missing or invalid.
    case bad
    /// The dataset cannot be written.
    case cannotCreate
  }

  /// The category of the error.
  public let kind: Kind
  /// One sentence: the file, the defect, and how to fix it.
  public let description: String

  /// Creates an error from its sentence.
  public init(_ description: String, kind: Kind = .bad) {
    self.kind = kind
    self.description = description
  }
}
