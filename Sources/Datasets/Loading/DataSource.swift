import Foundation

/// The dataset that `--data` selects.
public struct DataSource: Sendable, CustomStringConvertible {
  /// The training and test images.
  public let dataset: ImageDataset
  /// One line for the report: the source, the reason for it, and the sizes.
  public let description: String

  /// Resolves `--data` and validates all labels.
  ///
  /// `auto` selects the directory in `$CIFAR10_DIR`, else `data/cifar-10-batches-bin` if it exists, else the embedded
  /// synthetic set.
  ///
  /// - Parameters:
  ///   - choice: `auto`, `synthetic` or a directory.
  ///   - environment: The environment variables, of which `CIFAR10_DIR` is read.
  /// - Throws: ``DatasetError`` if the selected directory cannot be used, or a label is above 9.
  public init(
    _ choice: String, environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws {
    let defaultDirectory = "data/cifar-10-batches-bin"
    let reason: String
    let directory: String?
    if choice != "auto" {
      directory = choice == "synthetic" ? nil : choice
      reason = "--data \(choice)"
    } else if let named = environment["CIFAR10_DIR"], !named.isEmpty {
      directory = named
      reason = "$CIFAR10_DIR"
    } else if FileManager.default.fileExists(atPath: defaultDirectory) {
      directory = defaultDirectory
      reason = "found there"
    } else {
      directory = nil
      reason = "no $CIFAR10_DIR and no \(defaultDirectory); launch/fetch-cifar10 gets the real set"
    }
    dataset = try directory.map { try ImageDataset(directory: $0) } ?? SyntheticCIFAR10.dataset()
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
