import Foundation

/// A data set as the user chose it, and how it was found.
public struct DataSource: Sendable, CustomStringConvertible {
  /// The images.
  public let dataset: CIFAR10
  /// One line for the report: what is used and why.
  public let description: String

  /// Resolves `--data`.
  ///
  /// `auto` takes the folder that `$CIFAR10_DIR` names, else `data/cifar-10-batches-bin` if it exists, else the embedded synthetic
  /// set.
  ///
  /// - Parameters:
  ///   - choice: `auto`, `synthetic` or a folder.
  ///   - environment: Where `CIFAR10_DIR` is looked up.
  /// - Throws: ``DatasetError`` if the folder chosen cannot be used, or a record has no class.
  public init(
    _ choice: String, environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws {
    let usual = "data/cifar-10-batches-bin"
    let reason: String
    let folder: String?
    if choice != "auto" {
      folder = choice == "synthetic" ? nil : choice
      reason = "--data \(choice)"
    } else if let named = environment["CIFAR10_DIR"], !named.isEmpty {
      folder = named
      reason = "$CIFAR10_DIR"
    } else if FileManager.default.fileExists(atPath: usual) {
      folder = usual
      reason = "found there"
    } else {
      folder = nil
      reason = "no $CIFAR10_DIR and no \(usual); launch/fetch-cifar10 gets the real set"
    }
    dataset = try folder.map { try CIFAR10(directory: $0) } ?? SyntheticCIFAR10.dataset()
    try dataset.training.validateLabels()
    try dataset.test.validateLabels()
    let sizes = "\(dataset.training.count) training and \(dataset.test.count) test images"
    description =
      folder.map { "data: \($0) (\(reason)), \(sizes)" }
      ?? "data: embedded synthetic set (\(reason)), \(sizes)"
  }
}

/// A data set that is missing or bad, or one that cannot be written.
public struct DatasetError: Error, CustomStringConvertible, Sendable {
  /// What went wrong, which decides the exit code.
  public enum Kind: Sendable {
    /// The data set is missing or bad.
    case bad
    /// A data set cannot be written.
    case cannotCreate
  }

  /// What went wrong.
  public let kind: Kind
  /// One sentence: which file, what is wrong, how to mend it.
  public let description: String

  /// Makes an error from its sentence.
  public init(_ description: String, kind: Kind = .bad) {
    self.kind = kind
    self.description = description
  }
}
